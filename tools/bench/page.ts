/**
 * How long the status page of an agent with 1,000 images and 4 registries keeps a reader waiting: opens it
 * in a real Chromium whose CPU is slowed, as often as wanted, and prints medians, the longest tasks, and
 * where the time of the last visit went. The agent is a process of its own and answers over loopback; with
 * `--login` a user signs in first, as on an address that others reach.
 *
 *     npx bun tools/bench/page.ts [--rate 6] [--rounds 5] [--images 1000] [--profile] [--login]
 *
 * first sight    when the first text of the page is painted
 * sentence       when the sentence about the site is in a frame that was painted
 * images         the same of the first rows of the list
 * at rest        when the last long task before two quiet seconds is over
 * keystroke      from a key in the search to the next frame (Event Timing), the longest of each visit
 * scrolling      the longest task while the list is scrolled from end to end, not slowed
 *
 * All times are in milliseconds since the navigation began. Nothing is measured on a quiet machine alone:
 * browser and agent share its cores, and `load` says who else did.
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { Browser, CDPSession, Page } from "playwright-core";
import type { ImageState, SiteState } from "#daemon";
import { serveAgentApi, testUsers } from "../../test/support/api-world.ts";
import { launchChromium } from "../../test/support/chromium.ts";
import { manyImages, readyScript, siteState, uplinkDay } from "../../test/support/page-states.ts";

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "6" },
    rounds: { type: "string", default: "5" },
    images: { type: "string", default: "1000" },
    registries: { type: "string", default: "4" },
    profile: { type: "boolean", default: false },
    login: { type: "boolean", default: false },
    serve: { type: "boolean", default: false },
  },
});

/** What one visit was like, by name; milliseconds, and counts. */
type Visit = Record<string, number>;

async function main(): Promise<void> {
  if (values.serve) return await serve();
  const agent = Bun.spawn([process.execPath, import.meta.path, ...Bun.argv.slice(2), "--serve"], {
    stdin: "pipe",
    stdout: "pipe",
  });
  try {
    const url = await firstLine(agent.stdout);
    await using browser = await launchChromium();
    const visits: Visit[] = [];
    for (let round = 0; round < Number(values.rounds); round += 1) {
      const isLast = round === Number(values.rounds) - 1;
      visits.push(await visit(browser, url, isLast && values.profile));
    }
    report(visits);
  } finally {
    agent.kill();
    await agent.exited;
  }
}

/** The agent alone, until its standard input ends. */
async function serve(): Promise<void> {
  const images = imagesOf(Number(values.images), Number(values.registries));
  await using world = await serveAgentApi({
    ...(values.login ? { access: testUsers().access } : {}),
    control: {
      state: () => stateOf(images),
      images: () => Promise.resolve(images),
      journal: () => Promise.resolve(readyScript().journal),
      uplink: uplinkDay,
    },
  });
  console.log(world.url);
  await Bun.stdin.text();
}

function imagesOf(n: number, registries: number): readonly ImageState[] {
  return manyImages(n).map((image, i) => {
    const registry = `registry-${i % registries}.example.com`;
    return { ...image, registry, source: image.source.replace(image.registry, registry) };
  });
}

function stateOf(images: readonly ImageState[]): SiteState {
  const registries = [...new Set(images.map(({ registry }) => registry))];
  const state = siteState();
  const sentence = `This site is ready offline: ${images.length} of ${images.length} references.`;
  return {
    ...state,
    verdict: { level: "ready", sentence, remedy: null },
    credentials: registries.flatMap((registry) =>
      state.credentials.map((credential) => ({ ...credential, registry })),
    ),
  };
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n")) break;
  }
  return text.slice(0, text.indexOf("\n"));
}

/**
 * Writes down, in the page, when what is waited for was painted. Playwright's own waiting is of no use: its
 * polls cost time, and its answers come late.
 */
const WATCH = `(() => {
  const seen = (window.seen = { tasks: [], keys: [], texts: [] });
  // What is set in a callback of a frame is painted with it, all else with the next one; a message comes after.
  let isInFrame = false;
  const nativeFrame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (call) => nativeFrame((at) => {
    isInFrame = true;
    try { call(at); } finally { queueMicrotask(() => { isInFrame = false; }); }
  });
  const note = (name) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { seen[name] ??= performance.now(); channel.port1.close(); };
    channel.port2.postMessage(0);
  };
  const painted = (name) => isInFrame ? note(name) : nativeFrame(() => note(name));
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) seen.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries()) {
      if (name === "keydown" || name === "keyup" || name === "input") seen.keys.push(duration);
    }
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
  new MutationObserver((_, observer) => {
    const sentence = document.getElementById("sentence")?.textContent ?? "";
    if (/ready offline/.test(sentence) && !("sentence at" in seen)) { seen["sentence at"] = performance.now(); painted("sentence"); }
    if (document.querySelector("#image-table tbody button") === null) return;
    painted("images");
    observer.disconnect();
  }).observe(document, { subtree: true, childList: true, characterData: true });
})()`;

async function visit(browser: Browser, url: string, isProfiled: boolean): Promise<Visit> {
  await using context = await browser.newContext({ viewport: { width: 1024, height: 768 } });
  const page = await context.newPage();
  await page.addInitScript(WATCH);
  const devtools = await context.newCDPSession(page);
  if (values.login) await signIn(page, url);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  await slow(devtools, Number(values.rate));
  const profile = isProfiled ? await startProfile(devtools) : undefined;
  let requests = 0;
  page.on("request", () => {
    requests += 1;
  });
  await page.goto(url, { waitUntil: "commit" });
  await untilQuiet(page);
  await profile?.("opening the page");
  const opened = { ...(await marks(page)), ...(await work(devtools)) };
  const typed = await typing(page, devtools, isProfiled);
  await slow(devtools, 1);
  return { ...opened, requests, ...typed, scrolling: await scrolling(page) };
}

/** A session of before: opening the page with a cookie is what is measured. */
async function signIn(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.fill('#login input[name="user"]', "anna");
  await page.fill('#login input[name="password"]', "anna");
  await page.click("#login button[type=submit]");
  await page.locator("#connection", { hasText: "Live" }).waitFor();
}

const slow = (devtools: CDPSession, rate: number) =>
  devtools.send("Emulation.setCPUThrottlingRate", { rate });

/** Two seconds without a long task, after the images were seen. */
async function untilQuiet(page: Page): Promise<void> {
  for (;;) {
    await Bun.sleep(500);
    const isQuiet = await page.evaluate<boolean>(
      `seen.images !== undefined && performance.now() - Math.max(seen.images, ...seen.tasks.map(([at, ms]) => at + ms)) > 2000`,
    );
    if (isQuiet) return;
  }
}

/** What the main thread worked until the page was at rest, in CPU time, slowed as it is. */
async function work(devtools: CDPSession): Promise<Visit> {
  const { metrics } = await devtools.send("Performance.getMetrics");
  const ms = (name: string) => (metrics.find((metric) => metric.name === name)?.value ?? 0) * 1_000;
  return {
    "work, all": ms("TaskDuration"),
    "work, scripts": ms("ScriptDuration"),
    "work, styles": ms("RecalcStyleDuration"),
    "work, layout": ms("LayoutDuration"),
  };
}

async function marks(page: Page): Promise<Visit> {
  return await page.evaluate<Visit>(`(() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const tasks = seen.tasks.map(([at, ms]) => at + ms);
    return {
      "first byte": navigation.responseStart,
      "first sight": performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
      "DOMContentLoaded": navigation.domContentLoadedEventEnd,
      "sentence is set": seen["sentence at"],
      sentence: seen.sentence,
      images: seen.images,
      "at rest": Math.max(0, ...tasks),
      "longest task": Math.max(0, ...seen.tasks.map(([, ms]) => ms)),
      "bytes received": performance.getEntriesByType("resource").reduce((sum, { transferSize }) => sum + transferSize, navigation.transferSize),
    };
  })()`);
}

/** Types a name, deletes it, and answers with the longest that a key waited for its frame. */
async function typing(page: Page, devtools: CDPSession, isProfiled: boolean): Promise<Visit> {
  await page.locator('#image-filters input[type="search"]').focus();
  await Bun.sleep(1_000);
  await page.evaluate("seen.keys.length = 0");
  const profile = isProfiled ? await startProfile(devtools) : undefined;
  for (const key of [..."team-3 service", ...Array<string>(14).fill("Backspace")]) {
    await page.keyboard.press(key === " " ? "Space" : key);
    await Bun.sleep(150);
  }
  await Bun.sleep(500);
  await profile?.("typing into the search");
  const keys = await page.evaluate<number[]>("seen.keys");
  return { keystroke: Math.max(0, ...keys), "keystroke, median": median(keys) };
}

/** Goes through all of the list with the wheel. */
async function scrolling(page: Page): Promise<number> {
  await page.locator(".scroller").scrollIntoViewIfNeeded();
  await Bun.sleep(1_000);
  await page.locator(".scroller").hover();
  await page.evaluate("seen.tasks.length = 0");
  for (let i = 0; i < 120; i += 1) {
    await page.mouse.wheel(0, i % 2 === 0 ? 300 : 700);
    await Bun.sleep(16);
  }
  await Bun.sleep(500);
  const tasks = await page.evaluate<number[]>("seen.tasks.map(([, ms]) => ms)");
  return Math.max(0, ...tasks);
}

/** Starts to watch where the time goes; what is returned prints it. */
async function startProfile(devtools: CDPSession): Promise<(what: string) => Promise<void>> {
  const events: TraceEvent[] = [];
  devtools.on("Tracing.dataCollected", ({ value }) => {
    events.push(...(value as unknown as TraceEvent[]));
  });
  await devtools.send("Tracing.start", {
    traceConfig: {
      includedCategories: ["devtools.timeline"],
    },
    transferMode: "ReportEvents",
  });
  await devtools.send("Profiler.enable");
  await devtools.send("Profiler.setSamplingInterval", { interval: 500 });
  await devtools.send("Profiler.start");
  return async (what) => {
    const { profile } = await stopProfile(devtools);
    const ended = new Promise((resolve) => devtools.once("Tracing.tracingComplete", resolve));
    await devtools.send("Tracing.end");
    await ended;
    printEvents(what, events);
    printFunctions(what, profile);
  };
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur?: number;
  readonly tid: number;
  readonly pid: number;
}

/** What the browser was at on the main thread of the page, each without what happened inside of it. */
function printEvents(what: string, events: readonly TraceEvent[]): void {
  // The thread that lays most out is the page's: a page may begin in a process of its own.
  const [{ pid, tid } = { pid: 0, tid: 0 }] = events
    .filter(({ name }) => name === "Layout")
    .sort((a, b) => (b.dur ?? 0) - (a.dur ?? 0));
  const own = events
    .filter((event) => event.ph === "X" && event.pid === pid && event.tid === tid)
    .sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  const times = new Map<string, { ms: number; n: number }>();
  const open: TraceEvent[] = [];
  const add = (name: string, ms: number, n: number) => {
    const before = times.get(name) ?? { ms: 0, n: 0 };
    times.set(name, { ms: before.ms + ms, n: before.n + n });
  };
  for (const event of own) {
    const ms = (event.dur ?? 0) / 1000;
    let outer = open.at(-1);
    while (outer !== undefined && outer.ts + (outer.dur ?? 0) <= event.ts) {
      open.pop();
      outer = open.at(-1);
    }
    if (outer !== undefined) add(outer.name, -ms, 0);
    add(event.name, ms, 1);
    open.push(event);
  }
  console.log(`\n${what}: the browser`);
  for (const [name, { ms, n }] of [...times].sort(([, a], [, b]) => b.ms - a.ms).slice(0, 16)) {
    console.log(`${ms.toFixed(0).padStart(8)} ms  ${String(n).padStart(5)} x  ${name}`);
  }
}

const stopProfile = (devtools: CDPSession) => devtools.send("Profiler.stop");
type CpuProfile = Awaited<ReturnType<typeof stopProfile>>["profile"];

/** In which functions the scripts were: with what they call, and in themselves alone. */
function printFunctions(what: string, { nodes, samples = [], timeDeltas = [] }: CpuProfile): void {
  const parents = new Map<number, number>();
  const names = new Map<number, string>();
  for (const { id, callFrame, children = [] } of nodes) {
    const file = callFrame.url.replace(/^.*\//, "");
    names.set(id, `${callFrame.functionName || "(anonymous)"} ${file}:${callFrame.lineNumber + 1}`);
    for (const child of children) parents.set(child, id);
  }
  const alone = new Map<string, number>();
  const whole = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const ms = (timeDeltas[i] ?? 0) / 1000;
    const name = names.get(id) ?? "";
    alone.set(name, (alone.get(name) ?? 0) + ms);
    const stack = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      stack.add(names.get(at) ?? "");
    }
    for (const each of stack) whole.set(each, (whole.get(each) ?? 0) + ms);
  }
  console.log(`\n${what}: the scripts (ms with what they call, ms alone)`);
  const idle = /^\((idle|root|program)\)/;
  for (const [name, ms] of [...whole].sort(([, a], [, b]) => b - a).slice(0, 40)) {
    if (idle.test(name)) continue;
    console.log(
      `${ms.toFixed(0).padStart(8)} ${(alone.get(name) ?? 0).toFixed(0).padStart(8)}  ${name}`,
    );
  }
}

function report(visits: readonly Visit[]): void {
  const load = loadavg().map((value) => value.toFixed(1));
  console.log(
    `\n${values.images} images, ${values.registries} registries, CPU slowed ${values.rate} times, ${visits.length} visits, load ${load.join(" ")}`,
  );
  for (const name of Object.keys(visits[0] ?? {})) {
    const all = visits.map((visit) => visit[name] ?? Number.NaN);
    const list = all.map((value) => Math.round(value)).join(" ");
    console.log(`${name.padEnd(20)} ${String(Math.round(median(all))).padStart(7)}   ${list}`);
  }
}

function median(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

await main();
