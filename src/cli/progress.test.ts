import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DeliveryEvent, DeliverySummary } from "#deliver";
import { parseDigest } from "#oci";
import { createManualClock } from "#test-support/clock";
import { createDeliverySite } from "#test-support/delivery-site";
import { createProgress, formatSummary, jsonEvents, renderBlock } from "./progress.ts";
import { applyEvent, createProgressState, sampleRate } from "./progress-state.ts";

const MIB = 1024 * 1024;
const DIGEST = parseDigest(`sha256:${"a".repeat(64)}`);
const OTHER = parseDigest(`sha256:${"b".repeat(64)}`);
const OS = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const APP = "docker.io/library/busybox:latest";

type Untimed = DeliveryEvent extends infer E ? (E extends unknown ? Omit<E, "at"> : never) : never;

function sized(image: string, bytesTotal: number, bytesHere: number, overall: number): Untimed {
  return {
    type: "image-sized",
    image,
    digest: DIGEST,
    bytesTotal,
    bytesHere,
    overall: { bytesTotal: overall, bytesHere, images: 1 },
  };
}

const STARTED: readonly Untimed[] = [
  {
    type: "plan-started",
    stages: [
      { name: "provider", images: 1 },
      { name: "application", images: 1 },
    ],
  },
  { type: "stage-started", stage: "provider", images: 1 },
  { type: "image-started", stage: "provider", image: OS, source: OS },
];

function bytes(image: string, mebibytes: number): Untimed {
  return { type: "bytes", image, digest: DIGEST, bytes: mebibytes * MIB };
}

const DONE: Untimed = {
  type: "image-done",
  stage: "provider",
  image: OS,
  outcome: "delivered",
  digest: DIGEST,
  bytesMoved: 80 * MIB,
  ms: 41_000,
};

const FAILURE = {
  image: APP,
  source: "10.0.0.1:5000/lib/busybox:latest",
  registry: "10.0.0.1:5000",
  code: "registry-denied",
  message: "Cannot fetch it: registry 10.0.0.1:5000 answered 403, expected 200",
  hint: "Give the account pull on lib",
};

const FAILED: Untimed = {
  type: "image-done",
  stage: "application",
  image: APP,
  outcome: "failed",
  digest: null,
  bytesMoved: 0,
  ms: 10,
  failure: FAILURE,
};

/** State after events that come `stepMs` apart, and the time then. */
function stateAfter(events: readonly Untimed[], stepMs = 1_000) {
  const state = createProgressState();
  let nowMs = 0;
  for (const event of events) {
    nowMs += stepMs;
    applyEvent(state, { at: nowMs, ...event });
    sampleRate(state, nowMs);
  }
  return { state, nowMs };
}

describe("renderBlock()", () => {
  test("is nothing before the first stage", () => {
    expect(renderBlock(createProgressState(), 0, 80)).toEqual([]);
  });

  test("shows what is done of what is known, the rate, and the time left", () => {
    const events = [
      ...STARTED,
      sized(OS, 100 * MIB, 20 * MIB, 100 * MIB),
      sized(APP, 10 * MIB, 20 * MIB, 110 * MIB),
      ...[bytes(OS, 5), bytes(OS, 5), bytes(OS, 5)],
    ];
    const { state, nowMs } = stateAfter(events);
    expect(renderBlock(state, nowMs, 120)).toEqual([
      "provider  0/2 images  35.0 MiB of 110.0 MiB  2.1 MiB/s  35s left",
      `   35%  35.0 MiB of 100.0 MiB   ${OS}`,
    ]);
  });

  test("promises no time left while an image is not sized", () => {
    const { state, nowMs } = stateAfter([
      ...STARTED,
      sized(OS, 100 * MIB, 0, 100 * MIB),
      bytes(OS, 9),
    ]);
    expect(renderBlock(state, nowMs, 120)[0]).toBe(
      "provider  0/2 images  9.0 MiB of at least 100.0 MiB  2.3 MiB/s",
    );
  });

  test("says what an image waits for", () => {
    const retry: Untimed = {
      type: "retry",
      image: OS,
      digest: DIGEST,
      code: "registry-unreachable",
      message: "Cannot",
      attempt: 3,
      attemptsMax: 5,
      delayMs: 4_000,
    };
    const before = [...STARTED, sized(OS, 100 * MIB, 0, 100 * MIB), bytes(OS, 10)];
    const waiting = stateAfter([...before, retry]);
    expect(renderBlock(waiting.state, waiting.nowMs, 120)[1]).toBe(
      `   10%  10.0 MiB of 100.0 MiB   ${OS}  attempt 3 of 5 in 4.0s`,
    );
    const going = stateAfter([...before, retry, bytes(OS, 1)]);
    expect(renderBlock(going.state, going.nowMs, 120)[1]).toBe(
      `   11%  11.0 MiB of 100.0 MiB   ${OS}`,
    );
  });

  test("takes back what turned out to be of no use, and takes in what was found", () => {
    const recount: Untimed = {
      type: "recount",
      image: OS,
      digest: DIGEST,
      bytesMoved: -7 * MIB,
      bytesHere: 2 * MIB,
    };
    const before = [...STARTED, sized(OS, 100 * MIB, 0, 100 * MIB), bytes(OS, 10)];
    const { state, nowMs } = stateAfter([...before, recount]);
    const [all, image] = renderBlock(state, nowMs, 120);
    expect(all).toContain("5.0 MiB of at least 100.0 MiB");
    expect(image).toContain("  5%  5.0 MiB of 100.0 MiB");
  });

  test("says why nothing moves, and until when, for as long as nothing does", () => {
    const untilMs = new Date(2026, 0, 1, 22, 0).getTime();
    const pause: Untimed = { type: "waiting", reason: "no window is open", untilMs };
    const before = [...STARTED, sized(OS, 100 * MIB, 0, 100 * MIB), bytes(OS, 10)];
    const waiting = stateAfter([...before, pause]);
    expect(renderBlock(waiting.state, waiting.nowMs, 120)[1]).toBe(
      "  waiting until 22:00: no window is open",
    );
    const going = stateAfter([...before, pause, bytes(OS, 1)]);
    expect(renderBlock(going.state, going.nowMs, 120).join()).not.toContain("waiting");
  });

  test("shows that nothing comes any more", () => {
    const { state, nowMs } = stateAfter([
      ...STARTED,
      sized(OS, 100 * MIB, 0, 100 * MIB),
      bytes(OS, 10),
    ]);
    for (let later = nowMs; later <= nowMs + 11_000; later += 500) sampleRate(state, later);
    expect(renderBlock(state, nowMs + 11_000, 120)[0]).toContain("  0 B/s");
  });

  test("counts a blob that another image brought for both images, and once in all", () => {
    const shared: Untimed = {
      type: "blob-done",
      image: OS,
      digest: OTHER,
      size: 30 * MIB,
      bytesHere: 0,
      bytesMoved: 0,
    };
    const { state, nowMs } = stateAfter([...STARTED, sized(OS, 60 * MIB, 0, 60 * MIB), shared]);
    const [all, image] = renderBlock(state, nowMs, 120);
    expect(all).toContain("0 B of at least 60.0 MiB");
    expect(image).toContain(" 50%  30.0 MiB of 60.0 MiB");
  });

  test("keeps both ends of a name that is too long for the terminal", () => {
    const { state, nowMs } = stateAfter([...STARTED, sized(OS, 10 * MIB, 0, 10 * MIB)]);
    expect(renderBlock(state, nowMs, 60)[1]).toBe(
      "    0%  0 B of 10.0 MiB         quay.io/kai…:v1.25.2-rke2r1",
    );
  });

  test("never breaks the bounds of the terminal", () => {
    const property = fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 300 }), { maxLength: 30 }),
      fc.nat({ max: 300 }),
      fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      (images, columns, size) => {
        const events = images.flatMap((image): Untimed[] => [
          { type: "image-started", stage: "provider", image, source: image },
          sized(image, size, 0, size),
        ]);
        const { state, nowMs } = stateAfter([...STARTED, ...events]);
        const lines = renderBlock(state, nowMs, columns);
        expect(lines.length).toBeLessThanOrEqual(10);
        for (const line of lines) expect(line.length).toBeLessThan(Math.max(21, columns || 80));
      },
    );
    fc.assert(property, { numRuns: 1_000 });
  });
});

/** A progress display whose output is kept, and the clock that it lives by. */
function shown(options: { isTerminal: boolean; color?: boolean; columns?: number }) {
  const clock = createManualClock();
  let text = "";
  const progress = createProgress({
    write: (part) => {
      text += part;
    },
    isTerminal: options.isTerminal,
    columns: () => options.columns ?? 100,
    color: options.color ?? false,
    clock,
  });
  return {
    clock,
    progress,
    text: () => text,
    hear(...events: readonly Untimed[]) {
      for (const event of events) progress.onEvent({ at: clock.now(), ...event });
    },
  };
}

/** What a terminal shows after this output: the two control sequences that are used, and lines. */
function screenOf(text: string): readonly string[] {
  let lines: string[] = [""];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  for (const [token] of text.matchAll(/\x1b\[\d*[A-Z]|\n|[^\x1b\n]+/g)) {
    if (token === "\n") lines.push("");
    else if (token.endsWith("A") && token.startsWith("\x1b")) {
      lines = lines.slice(0, lines.length - Number(token.slice(2, -1)));
    } else if (token === "\x1b[J") lines[lines.length - 1] = "";
    else lines[lines.length - 1] += token;
  }
  return lines;
}

describe("createProgress() on a terminal", () => {
  test("rewrites one block and keeps each finished image above it", () => {
    const { progress, clock, hear, text } = shown({ isTerminal: true });
    hear(...STARTED, sized(OS, 80 * MIB, 0, 80 * MIB));
    clock.advance(500);
    hear(bytes(OS, 40));
    clock.advance(500);
    progress.tick();
    expect(screenOf(text())).toEqual([
      "stage provider: 1 image",
      "provider  0/2 images  40.0 MiB of at least 80.0 MiB  40.0 MiB/s",
      `   50%  40.0 MiB of 80.0 MiB    ${OS}`,
      "",
    ]);
    hear(bytes(OS, 40), DONE, { type: "stage-started", stage: "application", images: 1 });
    progress.note("warning: the registry speaks plain http");
    hear(FAILED);
    progress.close();
    expect(screenOf(text())).toEqual([
      "stage provider: 1 image",
      `delivered  ${OS}, 80.0 MiB in 41s`,
      "stage application: 1 image",
      "warning: the registry speaks plain http",
      `failed     ${APP}: ${FAILURE.message}`,
      "",
    ]);
  });

  test("draws at most ten times a second, whatever arrives", () => {
    const { clock, hear, text } = shown({ isTerminal: true });
    hear(...STARTED, sized(OS, 80 * MIB, 0, 80 * MIB));
    const before = text().length;
    for (let i = 0; i < 99; i += 1) {
      clock.advance(1);
      hear(bytes(OS, 0.1));
    }
    expect(text().length).toBe(before);
    clock.advance(1);
    hear(bytes(OS, 0.1));
    expect(text().length).toBeGreaterThan(before);
  });

  test("says in words what it says in colours", () => {
    const plain = shown({ isTerminal: true });
    const painted = shown({ isTerminal: true, color: true });
    for (const { hear, progress } of [plain, painted]) {
      hear(...STARTED, DONE, FAILED, { type: "warning", image: APP, message: "Look out" });
      progress.close();
    }
    expect(painted.text()).toContain("\x1b[31mfailed");
    const bare = [31, 32, 33, 0].reduce(
      (text, code) => text.replaceAll(`\x1b[${code}m`, ""),
      painted.text(),
    );
    expect(bare).toBe(plain.text());
  });
});

describe("createProgress() elsewhere", () => {
  test("writes a line for what happens, without control characters", () => {
    const { progress, clock, hear, text } = shown({ isTerminal: false });
    hear(...STARTED, sized(OS, 80 * MIB, 0, 80 * MIB), bytes(OS, 40), {
      type: "retry",
      image: OS,
      digest: DIGEST,
      code: "registry-unreachable",
      message: "Cannot fetch it",
      attempt: 2,
      attemptsMax: 5,
      delayMs: 1_000,
    });
    clock.advance(9_999);
    progress.tick();
    hear(bytes(OS, 40));
    clock.advance(1);
    progress.tick();
    progress.tick();
    hear(DONE, { ...DONE, image: APP, outcome: "present", bytesMoved: 0 } as Untimed);
    progress.close();
    expect(text().split("\n")).toEqual([
      "stage provider: 1 image",
      `retry      ${OS}: attempt 2 of 5 in 1.0s. Cannot fetch it`,
      "provider, 0/2 images, 80.0 MiB of at least 80.0 MiB, 8.0 MiB/s",
      `delivered  ${OS}, 80.0 MiB in 41s`,
      `present    ${APP}`,
      "",
    ]);
  });
});

describe("jsonEvents()", () => {
  test("writes an event a line, and adds the bytes of a blob up without losing any", () => {
    const lines: string[] = [];
    const tell = jsonEvents((text) => lines.push(text));
    const startMs = Date.UTC(2026, 0, 1);
    for (let i = 0; i <= 24; i += 1) tell({ at: startMs + i * 100, ...bytes(OS, 1) });
    tell({ at: startMs + 2_500, ...DONE });
    expect(lines.every((line) => line.endsWith("\n"))).toBe(true);
    const events = lines.map((line) => JSON.parse(line));
    expect(events.map(({ type, at, bytes }) => [type, at, bytes])).toEqual([
      ["bytes", "2026-01-01T00:00:01.000Z", 11 * MIB],
      ["bytes", "2026-01-01T00:00:02.100Z", 11 * MIB],
      ["bytes", "2026-01-01T00:00:02.200Z", 3 * MIB],
      ["image-done", "2026-01-01T00:00:02.500Z", undefined],
    ]);
  });
});

const SUMMARY: DeliverySummary = {
  outcome: "done",
  stages: (["provider", "infrastructure", "application"] as const).map((name) => ({
    name,
    images: 4,
    delivered: 3,
    present: 1,
    stood: 0,
    failed: 0,
    skipped: 0,
  })),
  failures: [],
  warnings: [],
  bytesTotal: 2048 * MIB,
  bytesMoved: 1536 * MIB,
  bytesFetched: 1536 * MIB,
  bytesHere: 512 * MIB,
  elapsedMs: 38_000,
};

describe("formatSummary()", () => {
  test("says what there is and what it cost", () => {
    expect(formatSummary(SUMMARY)).toBe(
      "12 images, 2.0 GiB: 1.5 GiB moved, 512.0 MiB already here, 38s\n",
    );
    expect(formatSummary({ ...SUMMARY, bytesFetched: 1600 * MIB })).toContain(
      "1.5 GiB moved (1.6 GiB fetched), 512.0 MiB already here",
    );
  });

  test("gives each failure with what to do next", () => {
    const [provider, infrastructure, application] = SUMMARY.stages;
    if (!provider || !infrastructure || !application) throw new Error("three stages");
    const stages = [
      { ...provider, delivered: 2, stood: 1 },
      { ...infrastructure, delivered: 2, failed: 1 },
      { ...application, delivered: 0, skipped: 3 },
    ];
    expect(formatSummary({ ...SUMMARY, outcome: "interrupted", stages, failures: [FAILURE] })).toBe(
      [
        "interrupted: 12 images, 2.0 GiB: 1.5 GiB moved, 512.0 MiB already here, 38s",
        "1 image failed",
        "3 images not attempted",
        "1 image as last verified, their registry could not be reached",
        `error: ${APP} (from 10.0.0.1:5000/lib/busybox:latest): ${FAILURE.message}`,
        "hint:  Give the account pull on lib",
        "code:  registry-denied",
        "",
      ].join("\n"),
    );
  });
});

test("a whole delivery ends with all bytes shown and no block left", async () => {
  const site = createDeliverySite();
  site.world.push(OS, { layers: ["system ".repeat(500), "shared"] });
  site.world.push(APP, { layers: ["shop ".repeat(500), "shared"] });
  const state = createProgressState();
  const { progress, text } = shown({ isTerminal: true });
  const { summary } = await site.run(
    { provider: [OS], application: [APP] },
    {
      emit(event) {
        applyEvent(state, event);
        progress.onEvent(event);
      },
    },
  );
  progress.close();
  expect(state.bytesMoved).toBe(summary.bytesTotal);
  expect(state.imagesDone).toBe(2);
  const [first, ...lines] = screenOf(text());
  expect(first).toBe("stage provider: 1 image");
  expect(lines.length).toBe(4);
  expect(lines.at(-1)).toBe("");
});
