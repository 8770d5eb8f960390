import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { formatReference, parseReference, tagOrDigest } from "#reference";
import { createDeliverySite, incompleteNames, type StageImages } from "#test-support/delivery-site";
import { createEventClock } from "#test-support/event-clock";
import type { DeliverOptions } from "./deliver.ts";
import type { DeliveryEvent } from "./event.ts";
import { createFetchingHost } from "./fetcher.ts";

const OS = "reg.test/os/kairos:v1";
const CNI = "reg.test/cni/cilium:v1";
const APP = "reg.test/apps/shop:v1";
const SITE = { provider: [OS], infrastructure: [CNI], application: [APP] };
const IMAGES = [OS, CNI, APP];
const LAYERS = { layers: ["shared base", "its own"] };
const HOST = "10.0.0.5:5055";
const HOUR_MS = 3_600_000;

const near = (name: string) => parseReference(`${HOST}/spectro-images/${name}`);

/** A site whose images lie upstream, and as far as they are pushed there, at the host that fetches. */
function openSite({ fallbackMs }: { readonly fallbackMs?: number } = {}) {
  const clock = createEventClock(Date.UTC(2026, 0, 1));
  const site = createDeliverySite();
  for (const name of IMAGES) site.world.push(name, LAYERS);
  const fallen: string[] = [];
  const host = createFetchingHost({
    ...{ host: HOST, clock, random: () => 0, fallbackMs },
    onFallback: (image) => fallen.push(image),
  });
  const openSource: DeliverOptions["openSource"] = ({ declared, source }) =>
    host.source(
      formatReference(declared),
      tagOrDigest(source),
      site.world.open(near(formatReference(declared))),
      site.world.open(source),
    );
  return {
    ...site,
    clock,
    fallen,
    /** The host has it from now on. */
    arrive: (...names: readonly string[]) => {
      for (const name of names) site.world.push(formatReference(near(name)), LAYERS);
    },
    deliver(
      emit: (event: DeliveryEvent) => void = () => undefined,
      { images = SITE, ...more }: Partial<DeliverOptions> & { readonly images?: StageImages } = {},
    ) {
      return clock.run(site.run(images, { openSource, clock, emit, ...more }));
    },
    upstream: () => site.world.requests.filter(({ repository }) => !repository.startsWith(HOST)),
  };
}

function uplinkBytes(events: readonly DeliveryEvent[]): number {
  return events.reduce((sum, event) => {
    return event.type === "bytes" && event.isNear !== true ? sum + event.bytes : sum;
  }, 0);
}

/** Does something once, as soon as that is waited for. */
function onWait(image: string, act: () => void) {
  let isDone = false;
  return (event: DeliveryEvent) => {
    if (isDone || event.type !== "waiting" || !event.reason.includes(image)) return;
    isDone = true;
    act();
  };
}

describe("a host that another one fetches for", () => {
  test("takes everything from there, and asks nobody else", async () => {
    const site = openSite();
    site.arrive(...IMAGES);
    const { summary, events } = await site.deliver();
    expect(summary.outcome).toBe("done");
    expect(site.upstream()).toEqual([]);
    // What each image stands for, and its manifest with it, by one request.
    const { requests } = site.world;
    expect(requests.filter(({ kind }) => kind !== "blob")).toHaveLength(IMAGES.length);
    expect(uplinkBytes(events)).toBe(0);
    expect(await incompleteNames(site.store)).toEqual([]);
    expect(events.some(({ type }) => type === "waiting")).toBe(false);
  });

  test("does not wait for signatures that an image does not have", async () => {
    const site = openSite();
    site.arrive(...IMAGES);
    // From the first attachment on anywhere, all can be asked for some.
    site.world.attach("elsewhere.test/a", { text: "signature", tag: "sha256-0.sig" });
    const { summary, events } = await site.deliver();
    expect(summary).toMatchObject({ outcome: "done", warnings: [] });
    expect(events.some(({ type }) => type === "waiting")).toBe(false);
    expect(site.world.requests.some(({ target }) => target.endsWith(".sig"))).toBe(true);
  });

  test("waits for what is not there yet as long as it takes, and says for what", async () => {
    const site = openSite();
    const reasons = new Set<string>();
    const listeners = [
      onWait(OS, () => {
        const later = site.clock.sleep(30 * HOUR_MS, new AbortController().signal);
        void later.then(() => site.arrive(OS, CNI));
      }),
      onWait(APP, () => site.arrive(APP)),
    ];
    const { summary } = await site.deliver((event) => {
      if (event.type === "waiting") {
        expect(event.untilMs).toBeGreaterThan(site.clock.now());
        reasons.add(event.reason);
      }
      for (const listen of listeners) listen(event);
    });
    expect(summary.outcome).toBe("done");
    expect(summary.warnings).toEqual([]);
    expect([...reasons]).toEqual(
      [OS, APP].map((image) => `Cannot fetch ${image} from ${HOST}: it is not there yet`),
    );
    expect(site.upstream()).toEqual([]);
  });

  test("waits for a host that does not answer, and for a blob that it has lost", async () => {
    const site = openSite();
    site.arrive(...IMAGES);
    let refused = 0;
    site.world.fault = ({ repository, kind }) => {
      if (!repository.startsWith(HOST) || refused >= 20 || kind === "referrers") return undefined;
      refused += 1;
      const down = { code: "registry-unreachable", message: "No route to host", hint: "Wait" };
      const lost = { code: "content-missing", message: "It is not there", hint: "Push it" };
      const failure = new Failure(kind === "blob" ? lost : { ...down, transient: true });
      return { kind: "refuse", failure };
    };
    const reasons: string[] = [];
    const { summary } = await site.deliver((event) => {
      if (event.type === "waiting") reasons.push(event.reason);
    });
    expect(summary.outcome).toBe("done");
    expect(reasons.join("\n")).toContain("it does not answer (No route to host)");
    expect(site.upstream()).toEqual([]);
  });

  test("fails at once for a login that it refuses, and never takes the uplink for that", async () => {
    const site = openSite({ fallbackMs: 0 });
    site.arrive(...IMAGES);
    site.world.fault = () => ({
      kind: "refuse",
      failure: new Failure({ code: "registry-unauthorized", message: "No", hint: "Log in" }),
    });
    const { summary } = await site.deliver();
    expect(summary.failures).toMatchObject([{ image: OS, registry: HOST }]);
    expect(site.upstream()).toEqual([]);
  });

  test("names that host when its bytes are wrong", async () => {
    const site = openSite();
    site.arrive(...IMAGES);
    site.world.fault = ({ kind }) => (kind === "blob" ? { kind: "lie" } : undefined);
    const { summary } = await site.deliver();
    expect(summary.failures[0]?.message).toContain(`registry ${HOST} gave other bytes`);
    expect(site.upstream()).toEqual([]);
  });

  test("lets what was verified before stand while the newer one is on its way", async () => {
    const site = openSite();
    site.arrive(...IMAGES);
    await site.deliver();
    site.world.fault = ({ repository }) =>
      repository.startsWith(HOST)
        ? {
            kind: "refuse",
            failure: new Failure({ code: "content-missing", message: "", hint: "" }),
          }
        : undefined;
    const { summary } = await site.deliver();
    expect(summary).toMatchObject({ outcome: "done", stages: [{ stood: 1 }, {}, {}] });
  });

  test("stops waiting when the delivery is given up", async () => {
    const site = openSite();
    const stop = new AbortController();
    const { summary } = await site.deliver(
      onWait(OS, () => stop.abort(new Error("Ctrl-C"))),
      { signal: stop.signal },
    );
    expect(summary.outcome).toBe("interrupted");
  });
});

describe("the uplink", () => {
  test("is used when nothing came for as long as the site file says, once for all images", async () => {
    const site = openSite({ fallbackMs: 4 * HOUR_MS });
    const startedMs = site.clock.monotonic();
    const { summary, events } = await site.deliver();
    expect(summary.outcome).toBe("done");
    expect(uplinkBytes(events)).toBe(summary.bytesMoved);
    expect(site.fallen).toEqual(IMAGES);
    expect(site.clock.monotonic() - startedMs).toBeWithin(4 * HOUR_MS, 4 * HOUR_MS + 60_000);
    const blobs = site.upstream().filter(({ kind }) => kind === "blob");
    expect(blobs.length).toBe(new Set(blobs.map(({ target }) => target)).size);
  });

  test("is not used while the host that fetches gets on", async () => {
    const site = openSite({ fallbackMs: 4 * HOUR_MS });
    const { signal } = new AbortController();
    const inHours = (hours: number, ...names: readonly string[]) =>
      void site.clock.sleep(hours * HOUR_MS, signal).then(() => site.arrive(...names));
    inHours(3, OS);
    inHours(6, CNI);
    inHours(9, APP);
    const { summary } = await site.deliver(undefined, { images: { application: IMAGES } });
    expect(summary.outcome).toBe("done");
    expect(site.fallen).toEqual([]);
    expect(site.upstream()).toEqual([]);
  });
});
