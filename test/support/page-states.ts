import type {
  DeliveryState,
  ImageState,
  JournalEntry,
  SiteState,
  UplinkSlice,
} from "../../src/daemon/state.ts";
import type { PageScript } from "./page-fixture.ts";

/** When the stories of the page happen: a Monday noon. */
export const NOON: number = Date.UTC(2026, 10, 23, 12, 0);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MB = 1_000_000;
const GB = 1_000 * MB;

const YES = { allowed: true, why: "" };
const no = (why: string) => ({ allowed: false, why });

const NOTHING = { bytes: 0, blobs: 0 };

/** A site that is ready, with a revision in force, and nothing else. */
export function siteState(patch: Partial<SiteState> = {}): SiteState {
  return {
    apiVersion: "drayage/v1",
    kind: "SiteState",
    revisionOfState: 1,
    at: NOON,
    version: "0.7.0",
    host: "store-0412.edge.example.com",
    startedMs: NOON - 9 * DAY,
    verdict: {
      level: "ready",
      sentence: "This site is ready offline: 16 of 16 references.",
      remedy: null,
    },
    activity: { name: "idle", sinceMs: NOON - 20 * MINUTE, waiting: null },
    paused: null,
    active: {
      ...{ id: "4be1c07a92d3", source: "registry.example.com/sites/retail@sha256:0d1f…" },
      ...{ profiles: ["edge-store", "pos-addon"], images: 16, seenMs: NOON - 3 * DAY },
      ...{ stagedMs: NOON - 3 * DAY + HOUR, activatedMs: NOON - 2 * DAY },
    },
    staged: null,
    wanted: null,
    previous: {
      ...{ id: "a70d53c9e816", source: "registry.example.com/sites/retail@sha256:77ab…" },
      ...{ profiles: ["edge-store"], images: 14, seenMs: NOON - 40 * DAY },
      ...{ stagedMs: NOON - 39 * DAY, activatedMs: NOON - 38 * DAY },
    },
    refused: null,
    delivery: null,
    activation: null,
    proof: {
      ...{ at: NOON - 20 * MINUTE, ok: true, references: 16, held: 16, wanting: [] },
      ...{ sentence: "This site is ready offline: 16 of 16 references", digest: "sha256:00" },
    },
    link: {
      capBytesPerSecond: 2.5 * MB,
      untilMs: NOON + 6 * HOUR,
      quota: { bytes: 500 * GB, usedBytes: 184 * GB, renewsMs: Date.UTC(2026, 11, 1) },
    },
    disk: {
      ...{ at: NOON, totalBytes: 118 * GB, freeBytes: 61 * GB },
      use: {
        active: { bytes: 14.6 * GB, blobs: 412 },
        staged: NOTHING,
        previous: { bytes: 3.1 * GB, blobs: 96 },
        pushed: { bytes: 0.8 * GB, blobs: 12 },
        partial: NOTHING,
        unkept: { bytes: 1.2 * GB, blobs: 37 },
        quarantine: NOTHING,
      },
    },
    credentials: [
      {
        ...{ registry: "registry.example.com", role: "external" as const, state: "ok" as const },
        ...{
          origin: "user-data:registryCredentials",
          atMs: NOON,
          image: null,
          sinceMs: NOON - DAY,
        },
        ...{
          outcome: { kind: "accepted" as const },
          why: "The registry lets us in",
          hint: undefined,
        },
        expiries: [
          { what: "server-certificate", name: "registry.example.com", endsMs: NOON + 61 * DAY },
        ],
      },
    ],
    upkeep: {
      verified: {
        ...{ ok: true, text: "412 blobs were read and are whole", blobs: 412, bytes: 14.6 * GB },
        ...{ trouble: [], atMs: NOON - 8 * HOUR },
      },
      collected: null,
    },
    parts: [
      part("registry", "127.0.0.1:5055"),
      part("api", "10.0.0.5:8443"),
      part("socket", "/var/lib/drayage/agent.sock"),
      part("watch"),
      part("reconcile"),
    ],
    warnings: [],
    actions: {
      stage: no("What is declared is on this site already"),
      activate: no("Nothing is staged"),
      rollback: YES,
      pause: YES,
      resume: no("The agent is not paused"),
      prove: YES,
      verify: YES,
      collect: YES,
    },
    ...patch,
  };
}

function part(name: SiteState["parts"][number]["name"], address?: string) {
  const state = "running" as const;
  const known = { name, state, sinceMs: NOON - 9 * DAY, restarts: 0 };
  return address === undefined ? known : { ...known, address };
}

const STAGES = ["provider", "infrastructure", "application"] as const;

/** One image that is here, from an external registry. */
export function imageState(declared: string, patch: Partial<ImageState> = {}): ImageState {
  const name = declared.slice(declared.lastIndexOf("/") + 1);
  return {
    declared,
    stage: "application",
    packs: ["pos-addon"],
    source: `registry.example.com/spectro-images/${name}`,
    registry: "registry.example.com",
    credential: "user-data:registryCredentials",
    local: null,
    because: [
      { rule: "external-registry", text: "registry.example.com/spectro-images serves every image" },
      { rule: "rewrite-replace", text: "All before the last path segment is replaced" },
    ],
    whereabouts: { digest: digest(declared), bytes: 120 * MB, runtime: "pinned" },
    outcome: "present",
    upload: null,
    bytesMoved: 0,
    failure: null,
    ...patch,
  };
}

function digest(text: string): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(text).digest("hex")}`;
}

const NAMES: readonly (readonly [stage: (typeof STAGES)[number], name: string, size: number])[] = [
  ["provider", "quay.io/kairos/core-ubuntu-22-lts-rke2:v1.31.4-rke2r1", 2_900],
  ["infrastructure", "docker.io/rancher/hardened-kubernetes:v1.31.4-rke2r1", 640],
  ["infrastructure", "docker.io/rancher/hardened-etcd:v3.5.16-k3s1", 92],
  ["infrastructure", "quay.io/cilium/cilium:v1.16.5", 612],
  ["infrastructure", "quay.io/cilium/operator-generic:v1.16.5", 84],
  ["infrastructure", "registry.k8s.io/sig-storage/csi-provisioner:v5.1.0", 66],
  ["infrastructure", "docker.io/longhornio/longhorn-manager:v1.7.2", 118],
  ["infrastructure", "docker.io/longhornio/longhorn-engine:v1.7.2", 342],
  ["infrastructure", "docker.io/longhornio/longhorn-instance-manager:v1.7.2", 486],
  ["application", "ghcr.io/retail/point-of-sale:24.11.3", 410],
  ["application", "ghcr.io/retail/price-labels:2.8.1", 155],
  ["application", "ghcr.io/retail/camera-inference:1.4.0-cuda", 3_800],
  ["application", "docker.io/library/postgres:16.6", 152],
  ["application", "docker.io/library/redis:7.4.1-alpine", 17],
  ["application", "docker.io/grafana/alloy:v1.5.1", 206],
  ["application", "quay.io/prometheus/node-exporter:v1.8.2", 12],
];

const REGISTRY_OF = {
  provider: "registry.example.com",
  infrastructure: "registry.example.com",
  application: "ghcr.example.net",
} as const;

const FROM_GHCR: Partial<ImageState> = {
  credential: "user-data:externalRegistries[1]",
  because: [
    {
      rule: "mapping-rule",
      text: "registryMappingRules maps what the application packs declare to ghcr.example.net/spectro-images",
    },
  ],
};

/** The images of a shop, as they are when all of them are here. */
export function shopImages(): ImageState[] {
  return NAMES.map(([stage, declared, size]) =>
    imageState(declared, {
      stage,
      registry: REGISTRY_OF[stage],
      source: `${REGISTRY_OF[stage]}/spectro-images/${declared.slice(declared.lastIndexOf("/") + 1)}`,
      ...(stage === "application" ? FROM_GHCR : {}),
      packs: [
        stage === "provider" ? "edge-native-byoi" : stage === "application" ? "pos-addon" : "cni",
      ],
      whereabouts: { digest: digest(declared), bytes: size * MB, runtime: "pinned" },
      ...(stage === "application"
        ? { local: `10.0.0.5:30003/spectro-images/${declared}`, upload: "uploaded" as const }
        : {}),
    }),
  );
}

/** Many images, from twelve registries. */
export function manyImages(n: number): ImageState[] {
  return Array.from({ length: n }, (_, i) =>
    imageState(
      `registry-${i % 12}.example.com/team-${i % 7}/service-${String(i).padStart(4, "0")}:1.${i % 40}`,
      {
        stage: STAGES[i < 3 ? 0 : i < n / 5 ? 1 : 2] ?? "application",
        registry: `registry-${i % 12}.example.com`,
      },
    ),
  );
}

/** A part of every stage was on the site before. */
function splitOf(bytes: number) {
  const bytesHere = Math.round(bytes * 0.17);
  return { bytesHere, bytesMoved: bytes - bytesHere };
}

/** How much of a delivery is done: bytes that are here by now, by stage, in MB. */
export function deliveryState(
  here: readonly [provider: number, infrastructure: number, application: number],
  patch: Partial<DeliveryState> = {},
): DeliveryState {
  const total = STAGES.map((stage) =>
    NAMES.filter(([of]) => of === stage).reduce((sum, [, , size]) => sum + size, 0),
  );
  const arrived = here.map((amount, i) => Math.min(amount, total[i] ?? 0));
  const count = (stage: string) => NAMES.filter(([of]) => of === stage).length;
  const all = total.reduce((a, b) => a + b, 0) * MB;
  const bytes = arrived.reduce((a, b) => a + b, 0) * MB;
  return {
    revision: "c93f6e01b7d4",
    startedMs: NOON - 38 * MINUTE,
    endedMs: null,
    outcome: null,
    stages: STAGES.map((name, i) => {
      const images = count(name);
      const done = Math.floor(images * ((arrived[i] ?? 0) / (total[i] ?? 1)));
      return { name, images, done, failed: 0 };
    }),
    ...{ bytesTotal: all, ...splitOf(bytes) },
    imagesSized: NAMES.length,
    ...{ bytesPerSecond: 2.31 * MB, remainingMs: (all - bytes) / ((2.31 * MB) / 1000) },
    uploads: null,
    sources: STAGES.map((stage, i) => ({
      ...{ registry: REGISTRY_OF[stage], stage, images: count(stage) },
      bytesTotal: (total[i] ?? 0) * MB,
      ...splitOf((arrived[i] ?? 0) * MB),
    })),
    ...patch,
  };
}

/** A day of the uplink: a night's window, a morning's delivery, a cap by day. */
export function uplinkDay(): UplinkSlice[] {
  return Array.from({ length: 288 }, (_, i) => {
    const atMs = NOON - DAY + i * 5 * MINUTE;
    const hour = new Date(atMs).getUTCHours();
    const capBytesPerSecond = hour >= 17 && hour < 20 ? 0 : hour < 6 ? 5 * MB : 2.5 * MB;
    const wave = 0.82 + 0.16 * Math.sin(i * 1.7) * Math.cos(i / 9);
    const isBusy = (hour >= 1 && hour < 5) || i > 280;
    const rate = isBusy ? capBytesPerSecond * wave : capBytesPerSecond === 0 ? 0 : 4_000;
    return { atMs, ms: 5 * MINUTE, bytes: rate * 300, capBytesPerSecond };
  });
}

/** One line of the journal. */
export function journalEntry(
  id: number,
  text: string,
  patch: Partial<JournalEntry> = {},
): JournalEntry {
  const at = NOON - (1000 - id) * 11 * MINUTE;
  return { id, at, kind: "note", text, level: "info", by: null, data: null, ...patch };
}

/** What happened lately at a site that is well. */
export function journalOfAWeek(): JournalEntry[] {
  return [
    journalEntry(1000, "Proof: this site is ready offline, 16 of 16 references"),
    journalEntry(999, "412 blobs were read and are whole"),
    journalEntry(998, "The link is back after 3 hr 12 min"),
    journalEntry(997, "registry.example.com does not answer: connect timed out", {
      level: "warning",
    }),
    journalEntry(996, "Revision 4be1c07a92d3 is active: 3 files changed, 16 images pinned", {
      by: "maria",
    }),
    journalEntry(995, "Revision 4be1c07a92d3 is staged: 4.2 GB over the uplink in 38 min"),
    journalEntry(994, "ghcr.example.net reset the connection, went on at byte 812,331,008", {
      level: "warning",
    }),
    journalEntry(993, "New inputs were read: revision 4be1c07a92d3"),
  ];
}

/** A site that is well, as a script. */
export function readyScript(patch: Partial<SiteState> = {}): PageScript {
  return {
    state: siteState(patch),
    images: { active: shopImages(), staged: shopImages() },
    journal: journalOfAWeek(),
    uplink: uplinkDay(),
  };
}

const COMING: NonNullable<SiteState["wanted"]> = {
  ...{ id: "c93f6e01b7d4", source: "registry.example.com/sites/retail@sha256:c2e8…" },
  ...{ profiles: ["edge-store", "pos-addon"], images: NAMES.length, seenMs: NOON - 39 * MINUTE },
  ...{ stagedMs: null, activatedMs: null },
};

/** A new revision is on its way, more than half of it is here. */
export function deliveringScript(): PageScript {
  const delivery = deliveryState([2_900, 1_620, 0]);
  return {
    ...readyScript({
      verdict: {
        level: "working",
        sentence:
          "Revision c93f6e01b7d4 is on its way; 4be1c07a92d3 stays in force until it is complete.",
        remedy: null,
      },
      activity: { name: "staging", sinceMs: NOON - 38 * MINUTE, waiting: null },
      wanted: COMING,
      delivery,
      actions: {
        ...siteState().actions,
        stage: no("It is being staged already"),
        activate: no("Revision c93f6e01b7d4 is not staged completely"),
        collect: no("A delivery is at work"),
      },
    }),
    images: { active: shopImages(), staged: shopImages().map(onItsWay) },
  };
}

function onItsWay(image: ImageState, i: number): ImageState {
  if (i < 6) return { ...image, outcome: "delivered" };
  const whereabouts = { digest: null, bytes: image.whereabouts.bytes, runtime: "absent" as const };
  const outcome = i < 8 ? ("moving" as const) : ("waiting" as const);
  return { ...image, whereabouts, outcome, upload: null, bytesMoved: i < 8 ? 40 * MB : 0 };
}

/** A registry refuses what the inputs give for it: three images could not be brought. */
export function failureScript(): PageScript {
  const trouble = {
    code: "credential-refused",
    message:
      "Cannot fetch from ghcr.example.net: it answered 401 to user-data:externalRegistries[1], expected to be let in",
    hint: "Write a password that is valid into externalRegistries[1] of the user data",
  };
  const delivery = deliveryState([2_900, 2_440, 206], {
    endedMs: NOON - 4 * MINUTE,
    outcome: "failed",
    bytesPerSecond: null,
    remainingMs: null,
  });
  const failed = ["price-labels", "point-of-sale", "camera-inference"];
  const stages = delivery.stages.map((stage) =>
    stage.name === "application" ? { ...stage, done: stage.images - 3, failed: 3 } : stage,
  );
  return {
    ...readyScript({
      verdict: {
        level: "failed",
        sentence:
          "3 of 16 images of revision c93f6e01b7d4 could not be brought; 4be1c07a92d3 stays in force.",
        remedy: trouble.hint,
      },
      wanted: COMING,
      delivery: { ...delivery, stages },
      activity: {
        name: "idle",
        sinceMs: NOON - 4 * MINUTE,
        waiting: {
          reason: "it is tried again",
          sinceMs: NOON - 4 * MINUTE,
          untilMs: NOON + 6 * MINUTE,
        },
      },
      warnings: [
        { ...trouble, level: "error", subject: "ghcr.example.net", sinceMs: NOON - 41 * MINUTE },
        {
          ...{ level: "warning", subject: "registry.example.com", sinceMs: NOON - 6 * HOUR },
          code: "certificate-expires",
          message: "The certificate of registry.example.com ends on 4 December",
          hint: "Have the certificate of registry.example.com renewed before 4 December",
        },
      ],
      actions: { ...siteState().actions, stage: YES, activate: no("3 images are missing") },
    }),
    images: {
      active: shopImages(),
      staged: shopImages().map((image) =>
        failed.some((name) => image.declared.includes(name))
          ? {
              ...image,
              ...{ outcome: "failed" as const, upload: "skipped" as const, failure: trouble },
              whereabouts: { digest: null, bytes: null, runtime: "absent" as const },
            }
          : image,
      ),
    },
  };
}
