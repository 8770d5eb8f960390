import { IMAGE_SETS, type ImageGroup } from "./image-set.ts";
import type { LinkShape } from "./link.ts";
import type { RegistryKind } from "./registry.ts";

/** One comparison: the same images over the same link, by every contender in turn. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly set: readonly ImageGroup[];
  readonly registry: RegistryKind;
  readonly link: LinkShape;
  /** `cold`: all of the machine's page cache is dropped before each run, the registry's too. */
  readonly cache: "warm" | "cold";
  readonly rounds: number;
  /** A run that takes longer has failed. */
  readonly timeLimitMs: number;
}

const CLEAN = { registry: "docker-registry", link: { kind: "clean" }, cache: "warm" } as const;

const WAN = { kind: "shaped", delayMs: 50, lossPercent: 1, megabitsPerSecond: 20 } as const;

const MINUTE_MS = 60_000;

/** What a full run compares, in its order. */
export const FULL: readonly Scenario[] = [
  {
    ...CLEAN,
    name: "loopback",
    title: "20 images of 6 layers of 16 MB, 2 of them shared; loopback",
    set: IMAGE_SETS["20x6x16"],
    rounds: 5,
    timeLimitMs: 3 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "cold",
    title: "The same, nothing in the page cache",
    set: IMAGE_SETS["20x6x16"],
    cache: "cold",
    rounds: 3,
    timeLimitMs: 5 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "embedded",
    title: "The same, served by `dray registry serve`",
    set: IMAGE_SETS["20x6x16"],
    registry: "embedded",
    rounds: 3,
    timeLimitMs: 3 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "one-large",
    title: "One layer of 4 GB, and a small provider image; loopback",
    set: IMAGE_SETS["1x4000"],
    rounds: 3,
    timeLimitMs: 5 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "realistic",
    title:
      "47 images: many small ones over one base, some larger, one with 400 MB in a layer; loopback",
    set: IMAGE_SETS.realistic,
    rounds: 3,
    timeLimitMs: 3 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "wan-cubic",
    title:
      "2 images of 4 layers of 4 MB; 20 Mbit/s, 100 ms round trip, 1 % loss, registry on cubic",
    set: IMAGE_SETS["2x4x4"],
    link: { ...WAN, congestion: "cubic" },
    rounds: 3,
    timeLimitMs: 5 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "wan-bbr",
    title: "The same, registry on bbr",
    set: IMAGE_SETS["2x4x4"],
    link: { ...WAN, congestion: "bbr" },
    rounds: 3,
    timeLimitMs: 5 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "reset-10mb",
    title: "2 images of 3 layers of 16 MB, 1 of them shared; each connection is reset after 10 MB",
    set: IMAGE_SETS["2x3x16"],
    link: { kind: "reset", afterBytes: 10_000_000 },
    rounds: 2,
    timeLimitMs: 2 * MINUTE_MS,
  },
  {
    ...CLEAN,
    name: "reset-300kb",
    title: "One layer of 6 MB; each connection is reset after 300 KB",
    set: IMAGE_SETS["1x1x6"],
    link: { kind: "reset", afterBytes: 300_000 },
    rounds: 2,
    timeLimitMs: 2 * MINUTE_MS,
  },
];

/** What `--quick` does to a scenario: smaller, once or twice; undefined leaves it out. */
function quickened(scenario: Scenario): Scenario | undefined {
  const { name } = scenario;
  if (name === "loopback") {
    const title = "8 images of 6 layers of 8 MB, 2 of them shared; loopback";
    return { ...scenario, title, set: IMAGE_SETS["8x6x8"], rounds: 3 };
  }
  if (["wan-bbr", "reset-10mb", "reset-300kb"].includes(name)) {
    return { ...scenario, rounds: 1, timeLimitMs: 30_000 };
  }
  return undefined;
}

/** About two minutes' worth. */
export const QUICK: readonly Scenario[] = FULL.flatMap((scenario) => quickened(scenario) ?? []);
