import { PAGE_POLICY, pageAssets } from "../../src/daemon/page/page.ts";
import type {
  ActionName,
  ImageState,
  JournalEntry,
  SiteState,
  UplinkSlice,
} from "../../src/daemon/state.ts";

/** What the scripted agent is asked, and what it answers. */
export interface PageScript {
  state: SiteState;
  images: { active: readonly ImageState[]; staged: readonly ImageState[] };
  /** Newest first. */
  journal: readonly JournalEntry[];
  uplink: readonly UplinkSlice[];
  /** Asked for before anything else, where it is given. */
  login?: { readonly user: string; readonly password: string };
  role?: "read" | "operate";
  /** Called for an action, e.g. to go on with the story; a text is the message of a refusal. */
  act?(action: ActionName): string | undefined;
}

/** An agent that answers the status page as it is scripted, on a free port of loopback. */
export interface PageFixture extends AsyncDisposable {
  readonly url: string;
  /** Actions that were asked for. */
  readonly actions: readonly ActionName[];
  /** Requests that no agent would have answered: unknown paths, unsafe ones without the header. */
  readonly refused: readonly string[];
  /** Tells all pages a new state. */
  tell(patch: Partial<SiteState>): void;
  /** Tells all pages of a new line of the journal. */
  log(entry: JournalEntry): void;
  /** Pages that follow. */
  followers(): number;
  /** Breaks all event streams; while `down`, no new one is answered. */
  cut(down: boolean): void;
}

const COOKIE = "session=open-sesame";

/** Serves the page from its sources, and the API that it reads from a script. */
export function servePage(script: PageScript): PageFixture {
  const streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  const actions: ActionName[] = [];
  const refused: string[] = [];
  const assets = new Map(pageAssets().map((asset) => [asset.path, asset]));
  let isDown = false;

  const send = (event: string, data: unknown) => {
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    for (const stream of streams) stream.enqueue(new TextEncoder().encode(text));
  };

  function events(): Response {
    if (isDown) return problem(503, "down", "The agent is restarting");
    let own: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        own = controller;
        streams.add(controller);
        const first = `event: state\ndata: ${JSON.stringify(script.state)}\n\n`;
        controller.enqueue(new TextEncoder().encode(first));
      },
      cancel: () => void streams.delete(own),
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  async function post(path: string, request: Request): Promise<Response> {
    const isOurs =
      request.headers.get("x-drayage") === "1" &&
      request.headers.get("content-type") === "application/json";
    if (!isOurs) {
      refused.push(`POST ${path}`);
      return problem(403, "cross-site", "The request does not come from the page");
    }
    if (path === "/login") {
      const { user, password } = (await request.json()) as { user: string; password: string };
      const isRight = user === script.login?.user && password === script.login?.password;
      if (!isRight) return problem(401, "login-failed", "User or password is wrong");
      return Response.json(
        {},
        { headers: { "set-cookie": `${COOKIE}; HttpOnly; SameSite=Strict` } },
      );
    }
    if (path === "/logout") {
      return Response.json({}, { headers: { "set-cookie": "session=; Max-Age=0" } });
    }
    const action = path.slice("/actions/".length) as ActionName;
    actions.push(action);
    const refusal = script.act?.(action);
    return refusal === undefined
      ? Response.json({}, { status: 202 })
      : problem(409, "action-refused", refusal);
  }

  function get(path: string, query: URLSearchParams): Response {
    const role = query.get("revision") === "staged" ? "staged" : "active";
    if (path === "/site") return Response.json(script.state);
    if (path === "/images") return Response.json(script.images[role]);
    if (path === "/images/explain") {
      const image = script.images[role].find(({ declared }) => declared === query.get("reference"));
      return image === undefined
        ? problem(404, "image-unknown", "It is not declared")
        : Response.json([explanationOf(image)]);
    }
    if (path === "/uplink") return Response.json(script.uplink);
    if (path === "/proof") return Response.json({});
    if (path === "/journal") {
      const before = Number(query.get("before") ?? Number.POSITIVE_INFINITY);
      const page = script.journal.filter(({ id }) => id < before);
      return Response.json(page.slice(0, Number(query.get("limit"))));
    }
    if (path === "/events") return events();
    refused.push(`GET ${path}`);
    return problem(404, "not-found", "There is nothing here");
  }

  function me(isIn: boolean) {
    const user = script.login !== undefined && isIn ? script.login.user : null;
    return { user, role: script.role ?? "operate", login: script.login ? "required" : "none" };
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: false,
    idleTimeout: 0,
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      const isIn = script.login === undefined || request.headers.get("cookie") === COOKIE;
      const asset = assets.get(pathname);
      if (asset !== undefined) {
        const words = { state: script.state, me: me(isIn) };
        const { contentType, body, etag } = (isIn && asset.telling?.(words)) || asset;
        const headers = { "content-type": contentType, etag };
        return new Response(body, {
          headers: { ...headers, "content-security-policy": PAGE_POLICY },
        });
      }
      const path = pathname.replace("/api/v1", "");
      if (path === "/me") return Response.json(me(isIn));
      if (!isIn && path !== "/login") return problem(401, "login-required", "Log in first");
      return request.method === "POST" ? await post(path, request) : get(path, searchParams);
    },
  });

  return {
    url: server.url.href,
    actions,
    refused,
    followers: () => streams.size,
    tell(patch) {
      const { revisionOfState } = script.state;
      script.state = { ...script.state, ...patch, revisionOfState: revisionOfState + 1 };
      send("state", script.state);
    },
    log(entry) {
      script.journal = [entry, ...script.journal];
      send("journal", entry);
    },
    cut(down) {
      isDown = down;
      for (const stream of streams) stream.close();
      streams.clear();
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

function problem(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message, hint: "" } }, { status });
}

function explanationOf(image: ImageState) {
  const { declared, source, stage, credential, local, because, packs } = image;
  const at = [{ file: "profile.yaml", line: 22, column: 13, path: "packs[0].content.images[0]" }];
  return { declared, source, stage, credential, local, because, packs, at };
}
