import type { AgentCounters } from "../control.ts";
import type { Activity, Level, SiteState } from "../state.ts";
import type { Metric, Sample } from "./exposition.ts";

/** What the API itself counts, since it listens. */
export interface ApiCounts {
  /** Who follows the events now. */
  readonly readers: number;
  /** Requests that were answered, by status. */
  readonly requests: ReadonlyMap<number, number>;
  readonly failedLogins: number;
}

/** Series of one metric that are told apart by what people wrote; the rest is summed up as `other`. */
const SERIES_MAX = 100;

/**
 * Everything that the metrics tell of a site. Names and units are a contract, described in
 * `docs/metrics.md`, and follow the conventions of Prometheus: base units, `_total` for what only grows,
 * no value where nothing is known.
 */
export function siteMetrics(
  state: SiteState,
  counters: AgentCounters,
  api: ApiCounts,
): readonly Metric[] {
  return [
    ...aboutSite(state),
    ...aboutRevisions(state),
    ...aboutDelivery(state),
    ...aboutTraffic(counters),
    ...aboutLink(state),
    ...aboutStore(state),
    ...aboutProof(state),
    ...aboutCredentials(state),
    ...aboutParts(state),
    ...aboutApi(api),
  ];
}

const ACTIVITIES: Readonly<Record<Activity, true>> = {
  ...{ starting: true, idle: true, planning: true, staging: true, activating: true },
  ...{ "rolling-back": true, proving: true, verifying: true, collecting: true },
};

const LEVELS: Readonly<Record<Level, true>> = {
  ...{ ready: true, working: true, waiting: true, wanting: true, failed: true },
};

function aboutSite(state: SiteState): readonly Metric[] {
  const { version, verdict, activity, paused, refused, warnings } = state;
  const count = (level: string) => warnings.filter((one) => one.level === level).length;
  return [
    gauge("drayage_build_info", "The program that runs; the value is always 1.", [
      { labels: { version }, value: 1 },
    ]),
    gauge(
      "drayage_site_level",
      "How the site is: 1 for the level that holds, 0 for the others.",
      oneOf("level", LEVELS, verdict.level),
    ),
    gauge(
      "drayage_activity",
      "What the agent is at: 1 for that activity, 0 for the others.",
      oneOf("activity", ACTIVITIES, activity.name),
    ),
    gauge(
      "drayage_waiting",
      "1 while something is to be done and nothing moves, on purpose.",
      one(flag(activity.waiting !== null)),
    ),
    gauge("drayage_paused", "1 while an operator has paused the agent.", one(flag(paused))),
    gauge(
      "drayage_inputs_refused",
      "1 while the newest inputs are refused; the active revision stays in force.",
      one(flag(refused)),
    ),
    gauge("drayage_warnings", "What needs a person, by level.", [
      { labels: { level: "warning" }, value: count("warning") },
      { labels: { level: "error" }, value: count("error") },
    ]),
  ];
}

function aboutRevisions(state: SiteState): readonly Metric[] {
  const roles = (["active", "staged", "previous"] as const).flatMap((role) => {
    const revision = state[role];
    return revision === null ? [] : [{ role, revision }];
  });
  const { active } = state;
  return [
    gauge(
      "drayage_revision_info",
      "The revision in each role; the value is always 1.",
      roles.map(({ role, revision }) => ({ labels: { role, revision: revision.id }, value: 1 })),
    ),
    gauge(
      "drayage_revision_images",
      "Images that the revision in each role declares.",
      roles.map(({ role, revision }) => ({ labels: { role }, value: revision.images })),
    ),
    gauge(
      "drayage_activation_timestamp_seconds",
      "When the active revision was activated.",
      one(seconds(active?.activatedMs)),
    ),
  ];
}

function aboutDelivery({ delivery }: SiteState): readonly Metric[] {
  if (delivery === null) return [gauge("drayage_delivery_running", RUNNING, one(0))];
  const { bytesTotal, bytesHere, bytesMoved, stages, uploads } = delivery;
  const isRunning = delivery.endedMs === null;
  return [
    gauge("drayage_delivery_running", RUNNING, one(flag(isRunning))),
    gauge(
      "drayage_delivery_start_timestamp_seconds",
      "When the delivery at work, or the last one, began.",
      one(seconds(delivery.startedMs)),
    ),
    gauge(
      "drayage_delivery_bytes",
      "All blobs of the delivery at work or the last one, as far as they are sized.",
      one(bytesTotal),
    ),
    gauge(
      "drayage_delivery_remaining_bytes",
      "What of the delivery is not on the site yet.",
      one(Math.max(0, bytesTotal - bytesHere - bytesMoved)),
    ),
    gauge(
      "drayage_delivery_bytes_per_second",
      "How fast the delivery moves, over ten seconds; 0 when none is at work.",
      one(isRunning ? delivery.bytesPerSecond : 0),
    ),
    gauge(
      "drayage_delivery_remaining_seconds",
      "How long the delivery will take, where that can be told.",
      one(seconds(isRunning ? delivery.remainingMs : null)),
    ),
    gauge(
      "drayage_delivery_images",
      "Images of the delivery, by stage and how far they are.",
      stages.flatMap(({ name, images, done, failed }) => [
        { labels: { stage: name, state: "done" }, value: done },
        { labels: { stage: name, state: "failed" }, value: failed },
        { labels: { stage: name, state: "waiting" }, value: Math.max(0, images - done - failed) },
      ]),
    ),
    gauge(
      "drayage_delivery_uploads",
      "Uploads of the delivery to the local registry, by how far they are.",
      uploads === null
        ? []
        : [
            { labels: { state: "done" }, value: uploads.done },
            { labels: { state: "failed" }, value: uploads.failed },
            {
              labels: { state: "waiting" },
              value: Math.max(0, uploads.images - uploads.done - uploads.failed),
            },
          ],
    ),
  ];
}

const RUNNING = "1 while a delivery is at work.";

function aboutTraffic(counters: AgentCounters): readonly Metric[] {
  return [
    counter(
      "drayage_uplink_bytes",
      "Bytes of bodies that came over the uplink.",
      bounded(
        counters.uplinkBytes.map(({ registry, stage, bytes }) => ({
          labels: { registry, stage },
          value: bytes,
        })),
        ({ stage = "" }) => ({ registry: "other", stage }),
      ),
    ),
    counter(
      "drayage_upload_bytes",
      "Bytes of blobs that the local registry took.",
      one(counters.uploadBytes),
    ),
    counter(
      "drayage_deliveries",
      "Deliveries that ended, by outcome.",
      Object.entries(counters.deliveries).map(([outcome, value]) => ({
        labels: { outcome },
        value,
      })),
    ),
    counter(
      "drayage_failures",
      "Images and uploads that failed, by code.",
      bounded(
        counters.failures.map(({ code, count }) => ({ labels: { code }, value: count })),
        () => ({ code: "other" }),
      ),
    ),
    counter("drayage_retries", "Requests that were tried again.", one(counters.retries)),
    counter(
      "drayage_resumes",
      "Blobs that went on in their middle after a connection broke.",
      one(counters.resumes),
    ),
  ];
}

function aboutLink({ link }: SiteState): readonly Metric[] {
  if (link === null) return [];
  const { capBytesPerSecond: cap, quota } = link;
  return [
    gauge(
      "drayage_link_cap_bytes_per_second",
      "What may cross the uplink now; 0 while no window is open, +Inf without a cap.",
      one(cap ?? Number.POSITIVE_INFINITY),
    ),
    gauge("drayage_link_quota_bytes", "The quota of the link for one period.", one(quota?.bytes)),
    gauge("drayage_link_quota_used_bytes", "What of the quota is used.", one(quota?.usedBytes)),
    gauge(
      "drayage_link_quota_renewal_timestamp_seconds",
      "When the next period of the quota begins.",
      one(seconds(quota?.renewsMs)),
    ),
  ];
}

function aboutStore({ disk }: SiteState): readonly Metric[] {
  if (disk === null) return [];
  const uses = Object.entries(disk.use);
  return [
    gauge(
      "drayage_store_bytes",
      "What the store holds, by what keeps it; what several keep counts for the first.",
      uses.map(([use, { bytes }]) => ({ labels: { use }, value: bytes })),
    ),
    gauge(
      "drayage_store_blobs",
      "Blobs of the store, by what keeps them.",
      uses.map(([use, { blobs }]) => ({ labels: { use }, value: blobs })),
    ),
    gauge("drayage_disk_size_bytes", "Size of the file system of the store.", one(disk.totalBytes)),
    gauge(
      "drayage_disk_free_bytes",
      "What of the file system of the store is free.",
      one(disk.freeBytes),
    ),
  ];
}

function aboutProof({ proof, upkeep }: SiteState): readonly Metric[] {
  const { verified, collected } = upkeep;
  return [
    gauge(
      "drayage_proof_ok",
      "1 when the last proof held: the site is ready offline.",
      one(proof === null ? null : flag(proof.ok)),
    ),
    gauge(
      "drayage_proof_timestamp_seconds",
      "When the last proof was made.",
      one(seconds(proof?.at)),
    ),
    gauge(
      "drayage_proof_references",
      "References that the last proof asked for.",
      one(proof?.references),
    ),
    gauge(
      "drayage_proof_references_held",
      "Those of them that the site answers.",
      one(proof?.held),
    ),
    gauge(
      "drayage_verify_ok",
      "1 when the last look at the store found every blob right.",
      one(verified === null ? null : flag(verified.ok)),
    ),
    gauge("drayage_verify_timestamp_seconds", "When that look was.", one(seconds(verified?.atMs))),
    gauge(
      "drayage_collect_timestamp_seconds",
      "When what nobody needs was last removed.",
      one(seconds(collected?.atMs)),
    ),
  ];
}

/** A credential is named by registry and origin; the plan may try it in several roles. */
function aboutCredentials({ credentials }: SiteState): readonly Metric[] {
  const known = new Map<string, { labels: Sample["labels"]; isOk: boolean; endsMs: number }>();
  for (const { registry, origin, state, expiries } of credentials) {
    const labels = { registry, origin: origin ?? "" };
    const key = JSON.stringify(labels);
    const before = known.get(key) ?? { labels, isOk: true, endsMs: Number.POSITIVE_INFINITY };
    const isOk = before.isOk && state !== "refused" && state !== "expired";
    const endsMs = Math.min(before.endsMs, ...expiries.map((expiry) => expiry.endsMs));
    known.set(key, { labels, isOk, endsMs });
  }
  const all = [...known.values()].slice(0, SERIES_MAX);
  return [
    gauge(
      "drayage_credential_ok",
      "0 for a credential that its registry refuses, or that has ended.",
      all.map(({ labels, isOk }) => ({ labels, value: flag(isOk) })),
    ),
    gauge(
      "drayage_credential_expiry_timestamp_seconds",
      "The first end of a credential, or of a certificate that it needs, where it is known.",
      all
        .filter(({ endsMs }) => Number.isFinite(endsMs))
        .map(({ labels, endsMs }) => ({ labels, value: endsMs / 1000 })),
    ),
  ];
}

function aboutParts({ parts }: SiteState): readonly Metric[] {
  return [
    gauge(
      "drayage_part_up",
      "1 for a part of the agent that runs.",
      parts.map(({ name, state }) => ({
        labels: { part: name },
        value: flag(state === "running"),
      })),
    ),
    counter(
      "drayage_part_restarts",
      "How often a part was started again after it had failed.",
      parts.map(({ name, restarts }) => ({ labels: { part: name }, value: restarts })),
    ),
  ];
}

function aboutApi({ readers, requests, failedLogins }: ApiCounts): readonly Metric[] {
  return [
    gauge("drayage_api_readers", "Who follows the events of this listener.", one(readers)),
    counter(
      "drayage_api_requests",
      "Requests that this listener answered, by status.",
      [...requests].map(([status, value]) => ({ labels: { status: String(status) }, value })),
    ),
    counter(
      "drayage_api_failed_logins",
      "Logins with a wrong password at this listener.",
      one(failedLogins),
    ),
  ];
}

/** The first so many, and all further ones as one: what is there first stays first, so sums only grow. */
function bounded(
  samples: readonly Sample[],
  other: (labels: Sample["labels"]) => Sample["labels"],
): readonly Sample[] {
  const kept = samples.slice(0, SERIES_MAX);
  const rest = new Map<string, Sample>();
  for (const { labels, value } of samples.slice(SERIES_MAX)) {
    const own = other(labels);
    const key = JSON.stringify(own);
    rest.set(key, { labels: own, value: (rest.get(key)?.value ?? 0) + value });
  }
  return [...kept, ...rest.values()];
}

function oneOf(label: string, words: Readonly<Record<string, true>>, holds: string): Sample[] {
  return Object.keys(words).map((word) => ({
    labels: { [label]: word },
    value: flag(word === holds),
  }));
}

function one(value: number | null | undefined): readonly Sample[] {
  return value === null || value === undefined ? [] : [{ labels: {}, value }];
}

function flag(holds: unknown): number {
  return holds ? 1 : 0;
}

function seconds(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : ms / 1000;
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: "gauge", help, samples };
}

function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: "counter", help, samples };
}
