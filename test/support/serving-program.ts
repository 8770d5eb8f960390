import { join } from "node:path";
import { startDray, temporaryFolder } from "./program.ts";

/** `dray registry serve`, running until it is disposed of. */
export interface ServingProgram extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** Of the process that serves. */
  readonly pid: number;
  /** All that it told on stderr so far. */
  told(): string;
  /** Resolves when it has told that. */
  untilTold(text: string): Promise<void>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
}

/** Serves a data folder on a free port of loopback, as a site does; it may not be there yet. */
export async function startRegistryProgram(
  dataDir: string,
  words: readonly string[] = [],
): Promise<ServingProgram> {
  const child = startDray([
    "registry",
    "serve",
    `--data-dir=${dataDir}`,
    "--listen=127.0.0.1:0",
    ...words,
  ]);
  let told = "";
  const looks = new Set<() => void>();
  const started = Promise.withResolvers<string>();
  const reading = (async () => {
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      told += chunk;
      for (const look of looks) look();
      const [, address] = /\bon https?:\/\/(\S+)\n/.exec(told) ?? [];
      if (address !== undefined) started.resolve(address);
    }
    started.reject(new Error(`dray registry serve ended: ${told}`));
  })();
  reading.catch(started.reject);
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await child.exited;
    await reading;
  };
  return {
    address: await started.promise,
    pid: child.pid,
    told: () => told,
    untilTold: (text) =>
      new Promise((resolve) => {
        const look = () => {
          if (told.includes(text)) resolve();
        };
        looks.add(look);
        look();
      }),
    kill: () => end("SIGKILL"),
    [Symbol.asyncDispose]: () => end("SIGTERM"),
  };
}

/** `dray registry serve` with nothing in it, in a folder of its own that is gone with it. */
export async function startEmptyRegistryProgram(): Promise<ServingProgram> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder());
  const program = undo.use(await startRegistryProgram(join(folder.path, "data")));
  const stack = undo.move();
  return { ...program, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
