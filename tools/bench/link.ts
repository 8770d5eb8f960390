import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startProxy } from "./proxy.ts";

/** A line between the site and the registry. */
export type LinkShape =
  /** Loopback as it is. */
  | { readonly kind: "clean" }
  /** A slow line: delay one way, in milliseconds; loss in percent of the frames of each direction. */
  | {
      readonly kind: "shaped";
      readonly delayMs: number;
      readonly lossPercent: number;
      readonly megabitsPerSecond: number;
      /** What the registry's machine sends by. Most registries of the field run on `cubic`. */
      readonly congestion: "cubic" | "bbr";
    }
  /** Each connection is reset once so many bytes came. */
  | { readonly kind: "reset"; readonly afterBytes: number };

/** A line that is up. */
export interface Link extends AsyncDisposable {
  /** Where the registry is for somebody at the site: `host:port`. */
  readonly address: string;
  /** What to put before a command so that it runs at the site. */
  readonly enter: readonly string[];
  /** What crossed the line to the site so far; undefined where only the registry can tell. */
  bytesMoved(): Promise<number | undefined>;
  /** How the line is made, for the report. */
  readonly made: string;
}

/** Whether this user may make network namespaces and devices, and has the compiler for ours. */
const mayShape = process.getuid?.() === 0 && Bun.which("gcc") !== null && Bun.which("ip") !== null;

/** Puts a line of this shape between the site and the registry at `target`. */
export async function openLink(shape: LinkShape, target: string): Promise<Link> {
  switch (shape.kind) {
    case "clean":
      return {
        address: target,
        enter: [],
        bytesMoved: async () => undefined,
        made: "loopback",
        [Symbol.asyncDispose]: async () => {},
      };
    case "reset":
      return await openProxied({ resetAfterBytes: shape.afterBytes }, target);
    case "shaped": {
      if (mayShape) return await openShaped(shape, target);
      const bytesPerSecond = (shape.megabitsPerSecond * 1e6) / 8;
      return await openProxied({ delayMs: shape.delayMs, bytesPerSecond }, target);
    }
  }
}

async function openProxied(
  options: Partial<Parameters<typeof startProxy>[0]>,
  target: string,
): Promise<Link> {
  const proxy = await startProxy({ ...options, hostname: "127.0.0.1", target });
  return {
    address: proxy.address,
    enter: [],
    bytesMoved: async () => proxy.bytesMoved,
    made: "a TCP proxy on loopback; it cannot lose packets",
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

/** The site is a network namespace of its own, and `link.c` is its only line to this machine. */
async function openShaped(
  shape: Extract<LinkShape, { kind: "shaped" }>,
  target: string,
): Promise<Link> {
  await using undo = new AsyncDisposableStack();
  // Several benchmarks may run on a machine: the names and the network are of this process.
  const name = `dray${process.pid}`;
  const [here, there] = [1, 2].map((host) => `10.213.${process.pid % 256}.${host}`);
  const program = await compileLink(undo);
  await run("ip", "netns", "add", name);
  undo.defer(async () => {
    await run("ip", "netns", "del", name);
  });
  const { delayMs, lossPercent, megabitsPerSecond, congestion } = shape;
  const numbers = [delayMs, lossPercent, megabitsPerSecond, 1].map(String);
  const line = Bun.spawn([program, "-", name, name, ...numbers], { stdout: "pipe" });
  undo.defer(async () => {
    line.kill("SIGKILL");
    await line.exited;
  });
  const { done } = await line.stdout.getReader().read();
  if (done) throw new Error("the link ended before it was ready");
  const enter = ["ip", "netns", "exec", name];
  const [hereHardware, thereHardware] = [
    await setUp([], name, `${here}/30`),
    await setUp(enter, name, `${there}/30`),
  ];
  // No long line is crossed to find out who is at its other end; here a lost question would take a second.
  const neighbour = ["dev", name, "nud", "permanent", "lladdr"];
  await run("ip", "neighbour", "replace", `${there}`, ...neighbour, thereHardware);
  await run(...enter, "ip", "neighbour", "replace", `${here}`, ...neighbour, hereHardware);
  const network = `10.213.${process.pid % 256}.0/30`;
  // By route, because the machine's own setting is for everybody on it.
  const route = ["dev", name, "proto", "kernel", "scope", "link", "src", `${here}`];
  await run("ip", "route", "change", network, ...route, "congctl", congestion);
  const proxy = undo.use(await startProxy({ hostname: `${here}`, target }));
  const counter = `/sys/class/net/${name}/statistics/tx_bytes`;
  const stack = undo.move();
  return {
    address: proxy.address,
    enter,
    bytesMoved: async () => Number(await readFile(counter, "utf8")),
    made: `a network namespace behind tools/bench/link.c, the registry's side sending by ${congestion}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function compileLink(undo: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "dray-link-"));
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const program = join(folder, "link");
  await run("gcc", "-O2", "-o", program, join(import.meta.dir, "link.c"));
  return program;
}

/** Gives the device its address, and gives its hardware's. */
async function setUp(enter: readonly string[], device: string, address: string): Promise<string> {
  await run(...enter, "ip", "address", "add", address, "dev", device);
  await run(...enter, "ip", "link", "set", device, "up");
  return (await run(...enter, "cat", `/sys/class/net/${device}/address`)).trim();
}

async function run(...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, error] = await Promise.all(
    [child.stdout, child.stderr].map((stream) => new Response(stream).text()),
  );
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${error?.trim()}`);
  return output ?? "";
}
