import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testCertificates } from "./certificates.ts";
import { freePort } from "./docker-registry.ts";

/** Zot, running until it is disposed of: https, and Basic for everything. */
export interface Zot extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** The authority to trust. */
  readonly caFile: string;
}

/** Whether the machine has it. `.ci/run` does not bring it: a `zot` on the PATH is taken. */
export const hasZot: boolean = Bun.which("zot") !== null;

/** Starts zot with an empty store of its own on a free port. */
export async function startZot(user: {
  readonly username: string;
  readonly password: string;
}): Promise<Zot> {
  const folder = await mkdtemp(join(tmpdir(), "drayage-zot-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const { server, caPath } = testCertificates();
  const port = await freePort();
  const htpasswd = join(folder, "htpasswd");
  const hash = await Bun.password.hash(user.password, { algorithm: "bcrypt", cost: 4 });
  await writeFile(htpasswd, `${user.username}:${hash}\n`);
  const config = {
    distSpecVersion: "1.1.1",
    storage: { rootDirectory: join(folder, "store"), gc: false, dedupe: false },
    http: {
      address: "127.0.0.1",
      port: String(port),
      auth: { htpasswd: { path: htpasswd } },
      tls: { cert: server.certificatePath, key: server.keyPath },
    },
    log: { level: "warn" },
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const log = join(folder, "log");
  const words = ["-c", `exec zot serve "$0" > "$1" 2>&1`, join(folder, "config.json"), log];
  const child = spawn("sh", words);
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  undo.defer(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  let isOver = false;
  void ended.then(() => (isOver = true));
  while (!(await isAnswering(`https://127.0.0.1:${port}/v2/`))) {
    if (isOver) throw new Error(`zot ended: ${await readFile(log, "utf8")}`);
    await Bun.sleep(20);
  }
  const stack = undo.move();
  return {
    address: `127.0.0.1:${port}`,
    caFile: caPath,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function isAnswering(url: string): Promise<boolean> {
  try {
    await fetch(url, { tls: { rejectUnauthorized: false } });
    return true;
  } catch {
    return false;
  }
}
