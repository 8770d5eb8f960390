import { type Clock, isFailure } from "#base";
import type { ActionName, JournalEntry, SiteState } from "#daemon";
import {
  answerFailure,
  connectionFailure,
  notAnAgent,
  placeName,
  SILENT,
} from "./agent-failure.ts";
import type { AgentPlace } from "./agent-place.ts";
import { EventStreamReader } from "./event-stream.ts";
import { isJournalEntry, isSiteState } from "./site-state-check.ts";

/** What an agent that is followed tells. */
export type AgentTelling =
  | { readonly type: "state"; readonly state: SiteState }
  | { readonly type: "journal"; readonly entry: JournalEntry };

/** What an {@link AgentClient} works with. */
export interface AgentClientOptions {
  readonly clock: Clock;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** The whole answer to a question has to be here in this time. */
const ANSWER_MS = 10_000;

/** An agent that is followed sends a comment every 15 s, so that silence means that it is gone. */
const SILENCE_MS = 45_000;

/** Bytes of an answer at most. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

/** One agent, seen from the command line. Every method may throw {@link connectionFailure}'s failures. */
export class AgentClient {
  readonly #place: AgentPlace;
  readonly #options: AgentClientOptions;

  /** Asks nothing yet. */
  constructor(place: AgentPlace, options: AgentClientOptions) {
    this.#place = place;
    this.#options = options;
  }

  /** How messages name it. */
  get name(): string {
    return placeName(this.#place);
  }

  /** @throws {Failure} `agent-missing` and its like, `agent-answer-invalid`, what the agent answers */
  async site(): Promise<SiteState> {
    const body = await this.#ask("site");
    if (isSiteState(body)) return body;
    throw notAnAgent(this.#place, "a document that is no SiteState of drayage/v1");
  }

  /** The newest first. @throws {Failure} as {@link site} */
  async journal({
    before,
    limit,
  }: {
    readonly before?: number | undefined;
    readonly limit: number;
  }): Promise<readonly JournalEntry[]> {
    const query = new URLSearchParams({ limit: `${limit}` });
    if (before !== undefined) query.set("before", `${before}`);
    const body = await this.#ask(`journal?${query}`);
    if (Array.isArray(body) && body.every(isJournalEntry)) return body;
    throw notAnAgent(this.#place, "a document that is no journal");
  }

  /** Asks for an action, which goes on after this resolves. @throws {Failure} as {@link site}, `action-refused` */
  async act(action: ActionName): Promise<void> {
    await this.#within(ANSWER_MS, async (signal) => {
      const request = { method: "POST", body: "{}" };
      await this.#read(await this.#fetch(`actions/${action}`, request, signal));
    });
  }

  /**
   * The state at once, then everything that happens, until the agent ends the stream.
   *
   * @throws {Failure} as {@link site}; `agent-silent` when nothing comes any more
   */
  async *follow(): AsyncGenerator<AgentTelling, void, undefined> {
    const reader = new EventStreamReader();
    const decoder = new TextDecoder();
    const end = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, end.signal]);
    try {
      const response = await this.#within(ANSWER_MS, (limit) =>
        this.#fetch("events", {}, AbortSignal.any([signal, limit])),
      );
      const body = response.body?.getReader();
      if (body === undefined) return;
      for (;;) {
        const { value, done } = await this.#within(SILENCE_MS, (limit) =>
          untilAborted(body.read(), limit),
        );
        if (done) return;
        for (const { event, data } of this.#events(
          reader,
          decoder.decode(value, { stream: true }),
        )) {
          const telling = this.#telling(event, data);
          if (telling !== undefined) yield telling;
        }
      }
    } finally {
      end.abort();
    }
  }

  #events(reader: EventStreamReader, text: string) {
    try {
      return reader.push(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw notAnAgent(this.#place, error.message);
    }
  }

  /** What else an agent tells is for others. */
  #telling(event: string, data: string): AgentTelling | undefined {
    if (event !== "state" && event !== "journal") return undefined;
    const body = parsed(data);
    if (event === "state" && isSiteState(body)) return { type: "state", state: body };
    if (event === "journal" && isJournalEntry(body)) return { type: "journal", entry: body };
    throw notAnAgent(this.#place, `an event ${event} that is no such thing`);
  }

  #ask(path: string, init: RequestInit = {}): Promise<unknown> {
    return this.#within(ANSWER_MS, async (signal) => {
      const response = await this.#fetch(path, init, signal);
      const body = parsed(await this.#read(response));
      if (body === undefined) throw notAnAgent(this.#place, "a body that is no JSON");
      return body;
    });
  }

  /** A response of success; the reason is thrown for any other. */
  async #fetch(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const place = this.#place;
    const isSocket = place.kind === "socket";
    const headers = new Headers({ "x-drayage": "1", "accept-encoding": "identity" });
    if (init.method === "POST") headers.set("content-type", "application/json");
    if (!isSocket && place.login !== undefined) {
      const { user, password } = place.login;
      const login = Buffer.from(`${user}:${password.reveal()}`).toString("base64");
      headers.set("authorization", `Basic ${login}`);
    }
    const response = await fetch(
      new URL(`/api/v1/${path}`, isSocket ? "http://localhost" : place.origin),
      {
        ...init,
        ...{ headers, signal },
        // A login goes to the agent that was named, and nowhere else.
        redirect: "manual",
        decompress: false,
        ...(isSocket ? { unix: place.path } : {}),
        ...(isSocket || place.ca === undefined ? {} : { tls: { ca: place.ca } }),
      },
    );
    if (response.ok) return response;
    throw answerFailure(place, response.status, parsed(await this.#read(response)));
  }

  async #read(response: Response): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) throw notAnAgent(this.#place, "an answer without an end");
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  /** Ends what takes longer; what the network does becomes a failure. */
  async #within<T>(ms: number, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, signal } = this.#options;
    const [limit, done] = [new AbortController(), new AbortController()];
    clock.sleep(ms, done.signal).then(
      () => limit.abort(SILENT),
      () => undefined,
    );
    try {
      return await run(AbortSignal.any([signal, limit.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (isFailure(error)) throw error;
      throw connectionFailure(this.#place, limit.signal.aborted ? SILENT : error);
    } finally {
      done.abort();
    }
  }
}

/** A read of a body knows no signal of its own. */
async function untilAborted<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([reading, aborted.promise]);
  } finally {
    // A site is followed for weeks, by many reads.
    signal.removeEventListener("abort", onAbort);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
