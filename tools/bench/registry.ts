import { rm } from "node:fs/promises";
import { startDockerRegistry } from "#test-support/docker-registry";
import { DRAY, drayage, emptyFolder } from "./contender.ts";
import { type FilledSet, fill, PROJECT } from "./fill.ts";
import type { ImageShape } from "./image-set.ts";

/** Who serves the images. */
export type RegistryKind = "docker-registry" | "embedded";

/** A registry that holds a set. */
export interface BenchRegistry extends AsyncDisposable {
  readonly address: string;
  /** The path that all images are under. */
  readonly project: string;
  /** The bytes of all answers so far, as its access log has them. */
  bytesSent(): Promise<number>;
}

/** A registry that was filled here. */
export interface FilledRegistry extends BenchRegistry {
  readonly set: FilledSet;
}

/** Debian's registry, filled. */
export async function startFilled(images: readonly ImageShape[]): Promise<FilledRegistry> {
  await using undo = new AsyncDisposableStack();
  const registry = undo.use(await startDockerRegistry());
  const set = await fill(registry.address, images);
  const stack = undo.move();
  return {
    address: registry.address,
    project: PROJECT,
    set,
    async bytesSent() {
      const sizes = (await registry.accessLog()).map((line) => / 20[06] (\d+) /.exec(line)?.[1]);
      return sizes.reduce((sum, size) => sum + Number(size ?? 0), 0);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The embedded registry over a store that drayage filled from another registry. */
export async function startEmbedded(
  { address: sourceAddress, project, set }: FilledRegistry,
  folder: string,
): Promise<BenchRegistry> {
  const target = await emptyFolder(`${folder}/embedded`);
  const inputs = await emptyFolder(`${folder}/embedded-inputs`);
  const delivery = await drayage.prepare({ address: sourceAddress, project, set, target, inputs });
  const filling = Bun.spawn(["sh", "-c", delivery], { stdio: ["ignore", "ignore", "inherit"] });
  if ((await filling.exited) !== 0) throw new Error("the embedded registry could not be filled");
  const serve = [DRAY, "registry", "serve", "--data-dir", target, "--listen", "127.0.0.1:0"];
  const server = Bun.spawn([...serve, "--access-log"], { stdio: ["ignore", "pipe", "pipe"] });
  let bytesSent = 0;
  void eachLine(server.stdout, (line) => {
    bytesSent += Number(/"bytes":(\d+)/.exec(line)?.[1] ?? 0);
  });
  const { promise: address, resolve } = Promise.withResolvers<string>();
  void eachLine(server.stderr, (line) => {
    const [, found] = / on http:\/\/(\S+)/.exec(line) ?? [];
    if (found !== undefined) resolve(found);
  });
  return {
    address: await address,
    // What was delivered keeps its name: the registry that it came from is a part of it.
    project: `${sourceAddress.replace(":", "_")}/${project}`,
    bytesSent: async () => bytesSent,
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
      await rm(target, { recursive: true, force: true });
    },
  };
}

async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  }
}
