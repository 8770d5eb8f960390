import { afterEach, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import type { SiteState } from "#daemon";
import { type AgentWorld, startAgent } from "#test-support/agent-world";
import { testCertificates } from "#test-support/certificates";
import { nothingCame, sketchOf } from "#test-support/memory-operations";
import { dray, PROGRAM, type ProgramRun, startDray, temporaryFolder } from "#test-support/program";
import { socketDoor } from "../../src/daemon/server/doors.ts";

/** What was opened by a test, the newest last. */
const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function folderPath(): Promise<string> {
  const folder = await temporaryFolder();
  opened.push(async () => await folder[Symbol.asyncDispose]());
  return folder.path;
}

interface Site {
  readonly world: AgentWorld;
  readonly dataDir: string;
  /** Runs a command for this site's data folder. */
  readonly run: (command: string, ...words: readonly string[]) => Promise<ProgramRun>;
  /** Closes its socket, as a stop of the agent does, and opens it again. */
  readonly close: () => Promise<void>;
  readonly open: () => Promise<void>;
}

/** A real agent on a site in memory, behind the real API on its socket. */
async function site(...apps: readonly string[]): Promise<Site> {
  const dataDir = await folderPath();
  const world = startAgent({ settings: { activation: "manual" } });
  let door: (() => Promise<void>) | undefined;
  const open = async () => {
    const end = new AbortController();
    const listening = Promise.withResolvers<void>();
    const part = socketDoor(join(dataDir, "agent.sock"), {
      ...{ control: world.agent, clock: systemClock },
      onError: (error) => console.error(error),
    });
    const running = part.run(end.signal, () => listening.resolve());
    running.catch(listening.reject);
    door = async () => {
      end.abort(new Error("stop"));
      await running.catch(() => undefined);
    };
    await listening.promise;
  };
  const close = async () => {
    await door?.();
    door = undefined;
  };
  await open();
  opened.push(async () => {
    await close();
    await world.stop();
  });
  world.site.want(sketchOf(...apps));
  return {
    ...{ world, dataDir, open, close },
    run: (command, ...words) => dray([command, "-d", dataDir, ...words]),
  };
}

const isStaged = (world: AgentWorld) => () => world.agent.state().staged !== null;
const isReady = (world: AgentWorld) => () => world.agent.state().verdict.level === "ready";

async function activated(...apps: readonly string[]): Promise<Site> {
  const at = await site(...apps);
  await at.world.until("it is staged", isStaged(at.world));
  expect((await at.run("activate")).exitCode).toBe(0);
  await at.world.until("it is ready", isReady(at.world));
  return at;
}

describe("dray status", () => {
  test("one screen: the sentence, what to do, and what it comes from", async () => {
    const at = await site("shop");
    await at.world.until("it is staged", isStaged(at.world));
    const { out, err, exitCode } = await at.run("status");
    expect({ err, exitCode }).toEqual({ err: "", exitCode: 0 });
    const state = at.world.agent.state();
    expect(out).toStartWith(`WAITING      ${state.verdict.sentence.slice(0, 40)}`);
    expect(out).toContain("do: Run `dray activate`\n");
    expect(out).toContain(`staged       ${state.staged?.id}  `);
    expect(out.split("\n").length).toBeLessThan(24);
  });

  test("-o json is the agent's document", async () => {
    const at = await activated("shop");
    const { out, exitCode } = await at.run("status", "-o", "json");
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toEqual(JSON.parse(JSON.stringify(at.world.agent.state())));
  });

  test("a site that wants something ends it with 3", async () => {
    const at = await activated("shop");
    const { site, agent } = at.world;
    site.script.stage = nothingCame;
    site.held.clear();
    await agent.act("stage", "test");
    await at.world.until("it is wanting", () => at.world.agent.state().verdict.level === "wanting");
    const { out, exitCode } = await at.run("status");
    expect(out).toStartWith("WANTING");
    expect(exitCode).toBe(3);
  });

  test("without an agent it says so, where it looked, and what to do", async () => {
    const dataDir = await folderPath();
    const { out, err, exitCode } = await dray(["status", "-d", dataDir]);
    expect({ out, exitCode }).toEqual({ out: "", exitCode: 1 });
    expect(err).toContain(`"${dataDir}/agent.sock"`);
    expect(err).toContain("none is running there [agent-missing]");
    expect(err).toContain("systemctl start drayage");
  });

  test("the site file says where the data folder is, also when the rest of it is wrong", async () => {
    const at = await activated("shop");
    const file = join(await folderPath(), "site.yaml");
    await writeFile(file, `dataDir: ${at.dataDir}\nprofils: [none.yaml]\n`);
    const { out, exitCode } = await dray(["status", "-s", file]);
    expect(out).toStartWith("READY");
    expect(exitCode).toBe(0);
    const missing = await dray(["status", "-s", `${file}.none`]);
    expect(missing.exitCode).toBe(2);
    expect(missing.err).toContain("it does not exist");
  });

  test("what answers and is no agent is told so", async () => {
    const dataDir = await folderPath();
    const other = Bun.serve({
      unix: join(dataDir, "agent.sock"),
      fetch: () => Response.json({ kind: "SiteState", apiVersion: "drayage/v9" }),
    });
    opened.push(() => other.stop(true));
    const { err, exitCode } = await dray(["status", "-d", dataDir]);
    expect(err).toContain("[agent-answer-invalid]");
    expect(exitCode).toBe(1);
  });

  test("--watch tells changes, waits for an agent that restarts, and ends with Ctrl-C", async () => {
    const at = await site("shop");
    await at.world.until("it is staged", isStaged(at.world));
    const watching = watch(["status", "--watch", "-d", at.dataDir]);
    await watching.until("WAITING  ");
    await at.close();
    await watching.until("Cannot ask the agent at");
    await at.open();
    await at.world.agent.act("activate", "test");
    await at.world.until("it is ready", isReady(at.world));
    await watching.until("READY  ");
    expect(await watching.interrupt()).toBe(130);
  });

  test("on a terminal --watch redraws one screen, and leaves the last state behind", async () => {
    const at = await site("shop");
    await at.world.until("it is staged", isStaged(at.world));
    const terminal = openTerminal(["status", "--watch", "-d", at.dataDir], { cols: 60, rows: 12 });
    await terminal.until("WAITING");
    await at.world.agent.act("pause", "test");
    await at.world.until("it is paused", () => at.world.agent.state().paused !== null);
    // The agent tells a state at most four times a second, by its own clock.
    await at.world.pass(1_000);
    await terminal.until("Paused by test");
    terminal.type("\x03");
    expect(await terminal.exited).toBe(130);
    const [, shown = "", after = ""] = terminal.told().split(SCREEN);
    // Each screen begins at home, and has fewer lines than the terminal.
    const screens = shown.split("\x1b[H").slice(1);
    expect(screens.length).toBeGreaterThan(1);
    for (const screen of screens) {
      const lines = screen.split("\r\n");
      expect(lines.length).toBeLessThanOrEqual(12);
      expect(lines.filter((line) => plain(line).length >= 60)).toEqual([]);
    }
    expect(shown).toContain("\x1b[33mWAITING\x1b[0m");
    expect(plain(after)).toContain("Paused by test");
  });

  test("--watch -o json tells every state and line of the journal, one a line", async () => {
    const at = await activated("shop");
    const watching = watch(["status", "--watch", "-o", "json", "-d", at.dataDir]);
    await watching.until('"type":"state"');
    await at.world.agent.act("pause", "test");
    await at.world.until("it is paused", () => at.world.agent.state().paused !== null);
    await watching.until('"type":"journal"');
    await watching.interrupt();
    const lines = watching.told().trimEnd().split("\n");
    const types = new Set(lines.map((line) => (JSON.parse(line) as { type: string }).type));
    expect(types).toEqual(new Set(["state", "journal"]));
  });
});

describe("an agent at an address", () => {
  /** Answers like an agent that wants a login. */
  function guarded(state: SiteState) {
    const { server } = testCertificates();
    const logins: (string | null)[] = [];
    const serving = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      tls: { cert: server.certificate, key: server.key },
      fetch(request) {
        const login = request.headers.get("authorization");
        logins.push(login);
        if (login === `Basic ${btoa("ops:open sesame")}`) return Response.json(state);
        const error = { code: "login-required", message: "Cannot answer", hint: "Log in" };
        return Response.json({ error }, { status: 401 });
      },
    });
    opened.push(() => serving.stop(true));
    return { url: serving.url.origin, logins };
  }

  test("is asked over TLS with a login, which is refused in words", async () => {
    const { world } = await activated("shop");
    const { url, logins } = guarded(world.agent.state());
    const password = join(await folderPath(), "password");
    await writeFile(password, "open sesame\n");
    const ask = (...words: readonly string[]) => dray(["status", "--agent", url, ...words]);
    const ca = ["--ca-file", testCertificates().caPath];
    const login = ["--user", "ops", "--password-file", password];
    expect((await ask(...ca, ...login)).out).toStartWith("READY");
    expect((await ask(...ca)).err).toContain(
      "error: Cannot answer [login-required]\n  hint: Log in",
    );
    logins.length = 0;
    expect((await ask(...login)).err).toContain("[agent-untrusted]");
    expect(logins).toEqual([]);
  });

  test("a password goes over no plain connection and into no URL, and needs a user", async () => {
    const password = join(await folderPath(), "password");
    await writeFile(password, "open sesame\n");
    const login = ["--user", "ops", "--password-file", password];
    const asks = [
      ["--agent", "http://10.0.0.5:8080", ...login],
      ["--agent", "https://ops:secret@10.0.0.5:8443"],
      ["--agent", "https://10.0.0.5:8443/path"],
      ["--agent", "https://10.0.0.5:8443", "--user", "ops"],
      ["--user", "ops", "--password-file", password],
    ];
    for (const words of asks) {
      const { err, exitCode } = await dray(["status", ...words]);
      expect([words, exitCode, err.includes("[usage]")]).toEqual([words, 2, true]);
      expect(err).not.toContain("secret@");
      expect(err).not.toContain("sesame");
    }
  });
});

describe("telling the agent", () => {
  test("stage, activate, rollback, pause and resume do what they say, and are in the journal", async () => {
    const at = await activated("shop");
    at.world.site.want(sketchOf("shop", "till"));
    expect((await at.run("stage")).out).toContain("brings what is missing");
    await at.world.until("the next is staged", isStaged(at.world));
    const next = at.world.agent.state().staged?.id;
    expect((await at.run("activate")).exitCode).toBe(0);
    await at.world.until("it is active", () => at.world.agent.state().active?.id === next);
    await at.world.until("it is ready", isReady(at.world));
    expect((await at.run("rollback")).exitCode).toBe(0);
    await at.world.until("it is left", () => at.world.agent.state().active?.id !== next);
    expect(JSON.parse((await at.run("pause", "-o", "json")).out)).toMatchObject({
      ...{ kind: "Action", action: "pause", accepted: true },
    });
    expect(at.world.agent.state().paused?.by).toBe("socket");
    expect((await at.run("resume")).exitCode).toBe(0);
    expect(at.world.agent.state().paused).toBeNull();
  });

  test("what can't be done now is refused with the reason", async () => {
    const at = await activated("shop");
    const { err, exitCode } = await at.run("rollback");
    expect(exitCode).toBe(1);
    expect(err).toContain("[action-refused]");
    expect(err).toContain(at.world.agent.state().actions.rollback.why);
  });
});

describe("dray journal", () => {
  test("comes from the agent that runs, by number, kind and page", async () => {
    const at = await activated("shop");
    const told = await at.world.agent.journal({ limit: 1_000 });
    const read = async (...words: readonly string[]) =>
      (JSON.parse((await at.run("journal", "-o", "json", ...words)).out) as Answer).entries;
    type Answer = { readonly entries: readonly { id: number; kind: string; text: string }[] };
    expect((await read()).map(({ id, text }) => [id, text])).toEqual(
      told.slice(0, 20).map(({ id, text }) => [id, text]),
    );
    const [newest, second] = told;
    expect(await read("-n", "1", "--before", `${newest?.id}`)).toMatchObject([{ id: second?.id }]);
    const started = await read("--kind", "agent-started");
    expect(started.map(({ kind }) => kind)).toEqual(["agent-started"]);
    const { out } = await at.run("journal", "-n", "1");
    expect(out).toContain(`${newest?.kind}  ${newest?.text}`);
  });

  test("--follow prints the last lines and what happens then, the newest last", async () => {
    const at = await activated("shop");
    const [newest] = await at.world.agent.journal({ limit: 1 });
    const watching = watch(["journal", "--follow", "-n", "1", "-d", at.dataDir]);
    await watching.until(`  ${newest?.text}`);
    await at.world.agent.act("pause", "test");
    await watching.until("by=test");
    expect(await watching.interrupt()).toBe(130);
  });
});

/** A command that goes on, and what it tells. */
function watch(words: readonly string[]) {
  const child = startDray(words);
  const streams = [child.stdout, child.stderr];
  let told = "";
  let look = () => {};
  const reading = Promise.all(
    streams.map(async (stream) => {
      for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
        told += chunk;
        look();
      }
    }),
  );
  const over = async () => {
    child.kill("SIGINT");
    const exitCode = await child.exited;
    await reading;
    return exitCode;
  };
  opened.push(async () => void (await over()));
  return {
    told: () => told,
    until: (text: string) =>
      new Promise<void>((resolve, reject) => {
        look = () => {
          if (told.includes(text)) resolve();
        };
        look();
        void child.exited.then(() => reject(new Error(`It ended: ${told}`)));
      }),
    interrupt: over,
  };
}

/** xterm: to the other screen, and back. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: such a code begins with one
const SCREEN = /\x1b\[\?1049[hl]/;

/** Text without codes of colours and of erasing. */
function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: such a code begins with one
  return text.replace(/\x1b\[[\d;?]*[A-Za-z]/g, "");
}

/** A command in a terminal of this size, as a person has it. */
function openTerminal(words: readonly string[], size: { cols: number; rows: number }) {
  let told = "";
  let look = () => {};
  const decoder = new TextDecoder();
  const child = Bun.spawn([PROGRAM, ...words], {
    env: { ...process.env, NO_COLOR: "", TERM: "xterm-256color" },
    terminal: {
      ...size,
      data(_, piece) {
        told += decoder.decode(piece, { stream: true });
        look();
      },
    },
  });
  opened.push(async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
  return {
    exited: child.exited,
    told: () => told,
    type: (text: string) => child.terminal?.write(text),
    until: (text: string) =>
      new Promise<void>((resolve) => {
        look = () => {
          if (told.includes(text)) resolve();
        };
        look();
      }),
  };
}
