import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DeliveryEvent, DeliverySummary, UploadSummary } from "#deliver";
import { parseDigest } from "#oci";
import { createManualClock } from "#test-support/clock";
import { createDeliverySite } from "#test-support/delivery-site";
import { createProgress, formatSummary, jsonEvents, renderBlock } from "./progress.ts";
import { applyEvent, createProgressState, sampleRate } from "./progress-state.ts";

const MB = 1e6;
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
    uploads: 0,
    stages: [
      { name: "provider", images: 1 },
      { name: "application", images: 1 },
    ],
  },
  { type: "stage-started", stage: "provider", images: 1 },
  { type: "image-started", stage: "provider", image: OS, source: OS },
];

function bytes(image: string, megabytes: number): Untimed {
  return { type: "bytes", image, digest: DIGEST, bytes: megabytes * MB };
}

const DONE: Untimed = {
  type: "image-done",
  stage: "provider",
  image: OS,
  outcome: "delivered",
  digest: DIGEST,
  bytesMoved: 80 * MB,
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
      sized(OS, 100 * MB, 20 * MB, 100 * MB),
      sized(APP, 10 * MB, 20 * MB, 110 * MB),
      ...[bytes(OS, 5), bytes(OS, 5), bytes(OS, 5)],
    ];
    const { state, nowMs } = stateAfter(events);
    expect(renderBlock(state, nowMs, 120)).toEqual([
      "provider  0/2 images  35.0 MB of 110.0 MB  2.1 MB/s  35s left",
      `   35%  35.0 MB of 100.0 MB   ${OS}`,
    ]);
  });

  test("grows with an image that turns out to need more, and counts what was here once", () => {
    const { state, nowMs } = stateAfter([
      ...STARTED,
      sized(OS, 100 * MB, 20 * MB, 100 * MB),
      bytes(OS, 30),
      sized(OS, 200 * MB, 20 * MB, 200 * MB),
    ]);
    expect(renderBlock(state, nowMs, 120)[1]).toBe(`   25%  50.0 MB of 200.0 MB   ${OS}`);
  });

  test("promises no time left while an image is not sized", () => {
    const { state, nowMs } = stateAfter([
      ...STARTED,
      sized(OS, 100 * MB, 0, 100 * MB),
      bytes(OS, 9),
    ]);
    expect(renderBlock(state, nowMs, 120)[0]).toBe(
      "provider  0/2 images  9.0 MB of at least 100.0 MB  2.3 MB/s",
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
    const before = [...STARTED, sized(OS, 100 * MB, 0, 100 * MB), bytes(OS, 10)];
    const waiting = stateAfter([...before, retry]);
    expect(renderBlock(waiting.state, waiting.nowMs, 120)[1]).toBe(
      `   10%  10.0 MB of 100.0 MB   ${OS}  attempt 3 of 5 in 4.0s`,
    );
    const going = stateAfter([...before, retry, bytes(OS, 1)]);
    expect(renderBlock(going.state, going.nowMs, 120)[1]).toBe(
      `   11%  11.0 MB of 100.0 MB   ${OS}`,
    );
  });

  test("takes back what turned out to be of no use, and takes in what was found", () => {
    const recount: Untimed = {
      type: "recount",
      image: OS,
      digest: DIGEST,
      bytesMoved: -7 * MB,
      bytesHere: 2 * MB,
    };
    const before = [...STARTED, sized(OS, 100 * MB, 0, 100 * MB), bytes(OS, 10)];
    const { state, nowMs } = stateAfter([...before, recount]);
    const [all, image] = renderBlock(state, nowMs, 120);
    expect(all).toContain("5.0 MB of at least 100.0 MB");
    expect(image).toContain("  5%  5.0 MB of 100.0 MB");
  });

  test("says why nothing moves, and until when, for as long as nothing does", () => {
    const untilMs = new Date(2026, 0, 1, 22, 0).getTime();
    const pause: Untimed = { type: "waiting", reason: "no window is open", untilMs };
    const before = [...STARTED, sized(OS, 100 * MB, 0, 100 * MB), bytes(OS, 10)];
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
      sized(OS, 100 * MB, 0, 100 * MB),
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
      size: 30 * MB,
      bytesHere: 0,
      bytesMoved: 0,
    };
    const { state, nowMs } = stateAfter([...STARTED, sized(OS, 60 * MB, 0, 60 * MB), shared]);
    const [all, image] = renderBlock(state, nowMs, 120);
    expect(all).toContain("0 B of at least 60.0 MB");
    expect(image).toContain(" 50%  30.0 MB of 60.0 MB");
  });

  test("keeps both ends of a name that is too long for the terminal", () => {
    const { state, nowMs } = stateAfter([...STARTED, sized(OS, 10 * MB, 0, 10 * MB)]);
    expect(renderBlock(state, nowMs, 60)[1]).toBe(
      "    0%  0 B of 10.0 MB        quay.io/kair…2:v1.25.2-rke2r1",
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
    hear(...STARTED, sized(OS, 80 * MB, 0, 80 * MB));
    clock.advance(500);
    hear(bytes(OS, 40));
    clock.advance(500);
    progress.tick();
    expect(screenOf(text())).toEqual([
      "stage provider: 1 image",
      "provider  0/2 images  40.0 MB of at least 80.0 MB  40.0 MB/s",
      `   50%  40.0 MB of 80.0 MB    ${OS}`,
      "",
    ]);
    hear(bytes(OS, 40), DONE, { type: "stage-started", stage: "application", images: 1 });
    progress.note("warning: the registry speaks plain http");
    hear(FAILED);
    progress.close();
    expect(screenOf(text())).toEqual([
      "stage provider: 1 image",
      `delivered  ${OS}, 80.0 MB in 41s`,
      "stage application: 1 image",
      "warning: the registry speaks plain http",
      `failed     ${APP}: ${FAILURE.message}`,
      "",
    ]);
  });

  test("draws at most ten times a second, whatever arrives", () => {
    const { clock, hear, text } = shown({ isTerminal: true });
    hear(...STARTED, sized(OS, 80 * MB, 0, 80 * MB));
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
    hear(...STARTED, sized(OS, 80 * MB, 0, 80 * MB), bytes(OS, 40), {
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
      "provider, 0/2 images, 80.0 MB of at least 80.0 MB, 8.0 MB/s",
      `delivered  ${OS}, 80.0 MB in 41s`,
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
      ["bytes", "2026-01-01T00:00:01.000Z", 11 * MB],
      ["bytes", "2026-01-01T00:00:02.100Z", 11 * MB],
      ["bytes", "2026-01-01T00:00:02.200Z", 3 * MB],
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
  provider: null,
  uploads: null,
  runtime: null,
  bytesTotal: 2000 * MB,
  bytesMoved: 1500 * MB,
  bytesFetched: 1500 * MB,
  bytesHere: 500 * MB,
  elapsedMs: 38_000,
};

describe("formatSummary()", () => {
  test("says what there is and what it cost", () => {
    expect(formatSummary(SUMMARY)).toBe(
      "12 images, 2.0 GB: 1.5 GB moved, 500.0 MB already here, 38s\n",
    );
    expect(formatSummary({ ...SUMMARY, bytesFetched: 1600 * MB })).toContain(
      "1.5 GB moved (1.6 GB fetched), 500.0 MB already here",
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
        "interrupted: 12 images, 2.0 GB: 1.5 GB moved, 500.0 MB already here, 38s",
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

const UPLOADS: UploadSummary = {
  registry: "10.0.0.5:30003",
  images: 11,
  uploaded: 6,
  present: 2,
  failed: 1,
  skipped: 2,
  bytesSent: 34 * MB,
  bytesMounted: 12 * MB,
  onePlatform: [APP],
  failures: [
    {
      image: APP,
      local: `10.0.0.5:30003/spectro-images/${APP}`,
      registry: "10.0.0.5:30003",
      code: "tag-immutable",
      message: "Cannot push it",
      hint: "Change the rule",
    },
  ],
};

const WAITING: Untimed = {
  type: "local-registry-waiting",
  registry: "10.0.0.5:30003",
  code: "registry-unreachable",
  message: "Cannot reach it",
  sinceMs: 0,
  nextMs: 2_000,
  untilMs: null,
};

describe("uploads to a local registry", () => {
  test("are summed up with where they went and what was refused", () => {
    expect(
      formatSummary({ ...SUMMARY, uploads: UPLOADS })
        .split("\n")
        .slice(1),
    ).toEqual([
      "11 images for the local registry 10.0.0.5:30003: 6 uploaded, 2 there already, 1 failed, 2 not attempted, 34.0 MB sent, 12.0 MB shared with images that are there",
      `one platform only, under a digest of its own: ${APP}`,
      `error: ${APP} (to 10.0.0.5:30003/spectro-images/${APP}): Cannot push it`,
      "hint:  Change the rule",
      "code:  tag-immutable",
      "",
    ]);
  });

  test("say of a registry that is as a whole out of reach no image", () => {
    const [failure] = UPLOADS.failures;
    if (failure === undefined) throw new Error("one failure");
    const failures = [{ ...failure, image: null, local: null }];
    const text = formatSummary({ ...SUMMARY, uploads: { ...UPLOADS, failures } });
    expect(text).toContain("\nerror: Cannot push it\n");
  });

  test("are told as they happen, and a wait only when it is news", () => {
    const { progress, text } = shown({ isTerminal: false });
    const done = { type: "upload-done", image: APP, local: "l/a:1", digest: DIGEST } as const;
    const cost = { bytesSent: 3 * MB, bytesMounted: 0, bytesMoved: 0, ms: 2_000 };
    const events: readonly Untimed[] = [
      WAITING,
      WAITING,
      { ...WAITING, message: "Cannot log in" },
      { type: "local-registry-ready", registry: "10.0.0.5:30003" },
      { ...done, ...cost, outcome: "uploaded" },
      { ...done, ...cost, outcome: "present" },
    ];
    for (const event of events) progress.onEvent({ at: 0, ...event } as DeliveryEvent);
    const waits = "waiting: the local registry 10.0.0.5:30003, while images are fetched.";
    expect(text().trimEnd().split("\n")).toEqual([
      `${waits} Cannot reach it`,
      `${waits} Cannot log in`,
      "the local registry 10.0.0.5:30003 is up",
      "uploaded   l/a:1, 3.0 MB in 2.0s",
    ]);
  });

  test("have a line of their own in the block, with what is waited for", () => {
    const state = createProgressState();
    const [started, ...others] = STARTED;
    if (started?.type !== "plan-started") throw new Error("it starts with the plan");
    const events = [{ ...started, uploads: 11 }, ...others, WAITING];
    for (const event of events) applyEvent(state, { at: 0, ...event } as DeliveryEvent);
    expect(renderBlock(state, 0, 100)[1]).toMatch(
      /^ {2}0\/11 uploaded {2}waiting for 10\.0\.0\.5:30003 since \d\d:\d\d$/,
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
