import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { freePort } from "#test-support/docker-registry";
import { DRAY } from "./contender.ts";

/** A registry whose cost is measured. */
export interface Server extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  /** User and system time so far, in milliseconds. The kernel counts it by hundredths of a second. */
  cpuMs(): Promise<number>;
  /** The most memory that was resident since the start, or since {@link forgetPeak}. */
  peakBytes(): Promise<number>;
  /** Begins the peak anew from what is resident now. */
  forgetPeak(): Promise<void>;
}

/** A program that can be a {@link Server}. */
export interface ServerProgram {
  readonly name: string;
  /** Undefined where the machine has it not. */
  readonly program: string | undefined;
  /** The words that make it tell its version. */
  readonly version: string;
  /** The words that start it. The folder is empty, or holds what an earlier start left. */
  words(folder: string, port: number): Promise<readonly string[]>;
}

/** The embedded registry, as a site runs it. */
export const embeddedRegistry: ServerProgram = {
  name: "drayage",
  program: DRAY,
  version: "--version",
  words: async (folder, port) => [
    ...["registry", "serve", `--data-dir=${folder}`, `--listen=127.0.0.1:${port}`],
  ],
};

/** Debian's registry, which is distribution 2.8, without its access log, as we have none by default. */
export const dockerRegistry: ServerProgram = {
  name: "docker-registry",
  program: find("docker-registry"),
  version: "--version",
  words: distributionWords,
};

/** The same project's next major version. */
const distribution3: ServerProgram = {
  name: "distribution 3",
  program: find("registry"),
  version: "--version",
  words: distributionWords,
};

const zot: ServerProgram = {
  name: "zot",
  program: find("zot"),
  version: "--version",
  async words(folder, port) {
    const config = {
      distSpecVersion: "1.1.1",
      storage: { rootDirectory: join(folder, "store"), gc: false, dedupe: false },
      http: { address: "127.0.0.1", port: String(port) },
      log: { level: "error" },
    };
    return ["serve", await writeConfig(folder, config)];
  },
};

/** Ours first. */
export const SERVERS: readonly ServerProgram[] = [
  embeddedRegistry,
  dockerRegistry,
  distribution3,
  zot,
];

/** Of the PATH, else of the folder where `.ci/run` puts what it builds. */
function find(name: string): string | undefined {
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const built = new Bun.Glob(`drayage-tools/${name}-*/${name}`);
  const found = Bun.which(name) ?? [...built.scanSync({ cwd: cache, absolute: true })].at(0);
  return found ?? undefined;
}

/** With the memory of descriptors that Debian's own configuration has. */
async function distributionWords(folder: string, port: number): Promise<readonly string[]> {
  const config = {
    version: "0.1",
    log: { level: "error", accesslog: { disabled: true } },
    storage: {
      cache: { blobdescriptor: "inmemory" },
      filesystem: { rootdirectory: join(folder, "store") },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}`, headers: { "X-Content-Type-Options": ["nosniff"] } },
  };
  return ["serve", await writeConfig(folder, config)];
}

/** JSON is YAML too. */
async function writeConfig(folder: string, config: object): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, "config.json");
  await writeFile(path, JSON.stringify(config));
  return path;
}

/**
 * Starts a registry on a folder, which goes with it.
 *
 * @throws what it says when it ends instead of answering
 */
export async function startServer(server: ServerProgram, folder: string): Promise<Server> {
  const { name, program = "" } = server;
  const port = await freePort();
  const words = await server.words(folder, port);
  const child = Bun.spawn([program, ...words], {
    stdio: ["ignore", "ignore", "pipe"],
    // A quiet server: distribution 3 would look for somebody to send its traces to.
    env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
  });
  const told = new Response(child.stderr).text();
  const died = child.exited.then(async () => {
    throw new Error(`${name} ended: ${(await told).slice(-2000)}`);
  });
  const address = `127.0.0.1:${port}`;
  await Promise.race([died, answering(address)]);
  died.catch(() => undefined);
  const proc = `/proc/${child.pid}`;
  return {
    address,
    port,
    async cpuMs() {
      // After the name, which may hold anything but ends with the last parenthesis.
      const [, rest = ""] = /\) (.*)$/s.exec(await readFile(`${proc}/stat`, "latin1")) ?? [];
      const [user, system] = rest.split(" ").slice(11, 13).map(Number);
      return ((user ?? 0) + (system ?? 0)) * TICK_MS;
    },
    async peakBytes() {
      const text = await readFile(`${proc}/status`, "latin1");
      return Number(/^VmHWM:\s*(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
    },
    forgetPeak: () => writeFile(`${proc}/clear_refs`, "5"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Of USER_HZ, which Linux shows to programs on every machine that we run on. */
const TICK_MS = 10;

async function answering(address: string): Promise<void> {
  for (;;) {
    try {
      await fetch(`http://${address}/v2/`);
      return;
    } catch {
      await Bun.sleep(10);
    }
  }
}
