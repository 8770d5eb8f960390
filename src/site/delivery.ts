import type { Store } from "#content";
import {
  type AttachmentPolicy,
  type DeliverOptions,
  type DeliverySummary,
  deliver,
} from "#deliver";
import { PATIENCE, Remote, type RemoteNotice } from "#remote";
import { keepArtifact, type SiteArtifact } from "#steering";
import { createDiskLedger, type DiskStore } from "#store";
import { clusterPlatform } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { openCoreImages } from "./core-images.ts";
import { openImageSources } from "./image-sources.ts";
import { keepLastSpeed } from "./last-speed.ts";
import { openLocalRegistry } from "./local-registry.ts";
import type { Planned } from "./plan-inputs.ts";
import { createSpeedGauge, openUplink, type Pause, remoteOptions } from "./uplink.ts";

/** What a delivery onto a site is made with, beside the plan and its inputs. */
export interface SiteDelivery
  extends Pick<
    DeliverOptions,
    "signal" | "emit" | "generations" | "folders" | "until" | "runtime" | "waitForLocalMs"
  > {
  /** Open for deliveries; it stays open. */
  readonly store: DiskStore;
  /** Stands in for the store where images are named and looked up; the store itself without it. */
  readonly names?: Store;
  readonly dataDir: string;
  /** As somebody named it; that of the site file, or this machine's, without it. */
  readonly platform?: string | undefined;
  /** What the site file says, without it. */
  readonly attachments?: AttachmentPolicy;
  /** What gives the provider image to the operating system. Nothing does, without it. */
  readonly handOver?: NonNullable<DeliverOptions["provider"]>["handOver"];
  readonly onNotice: (notice: RemoteNotice) => void;
}

/** What a delivery onto a site came to. */
export interface SiteDelivered {
  readonly summary: DeliverySummary;
  /** Bytes of bodies that came over the uplink: manifests too, and what was of no use. */
  readonly bytesCrossed: number;
}

/** Whether the local registry is up by now is asked again soon: it is near, and what it waits for is us. */
const NEAR_PATIENCE = { ...PATIENCE, coolDownMs: 1_000 };

/**
 * Carries a plan out once, with everything that the site has for it: the uplink within its budget, the
 * local registry, core images out of the provider image.
 *
 * @throws {Failure} what `deliver` throws; what the ledger of the link does
 */
export async function deliverToSite(
  { plan, inputs, artifacts = [] }: Pick<Planned, "plan" | "inputs"> & Partial<Planned>,
  delivery: SiteDelivery,
  context: SiteContext,
): Promise<SiteDelivered> {
  const { store, names = store, dataDir, signal, onNotice, emit } = delivery;
  const { generations, folders, until, runtime, handOver } = delivery;
  const { site } = inputs;
  const { clock, random } = context;
  const { local } = plan.registries;
  const gauge = createSpeedGauge(clock);
  const onPause = (pause: Pause) => emit({ at: clock.now(), type: "waiting", ...pause });
  const remotes = { inputs, context, onNotice, onPause };
  const coreImages = openCoreImages(site.provider.coreImages, store);
  for (const artifact of artifacts) await keepArtifact(store, artifact);
  try {
    const ledger = createDiskLedger(dataDir);
    await using uplink = await openUplink({ ...remotes, ledger, isMetered: true });
    const { pushSessions, attachmentChecks } = store;
    const near = { ...remoteOptions(remotes), patience: NEAR_PATIENCE, pushSessions };
    using remote = disposable(new Remote(near));
    const localRegistry =
      local === null
        ? undefined
        : openLocalRegistry({
            ...{ local, remote, dataDir, context, onNotice },
            settings: site.localSettings,
          });
    const summary = await deliver(plan, {
      ...{ store: names, clock, random, signal, attachmentChecks },
      bytesFree: () => store.freeBytes(),
      platform: clusterPlatform(site, context, delivery.platform),
      attachments: delivery.attachments ?? (site.attachments ? "daily" : "never"),
      openSource: openImageSources({
        ...{ inputs, clock, random, onNotice },
        ...{ uplink: uplink.remote, near: remote },
      }),
      emit(event) {
        if (event.type === "bytes" && event.isNear !== true) gauge.arrived(event.bytes);
        emit(event);
      },
      provider: {
        ...(coreImages === undefined ? {} : { coreImages }),
        ...(handOver === undefined ? {} : { handOver }),
      },
      ...(generations === undefined ? {} : { generations: keeping(artifacts, generations) }),
      ...(folders === undefined ? {} : { folders }),
      ...(until === undefined ? {} : { until }),
      ...(localRegistry === undefined ? {} : { localRegistry }),
      ...(runtime === undefined ? {} : { runtime }),
      absentPlatforms: local?.indexes ?? "one-platform",
      waitForLocalMs: delivery.waitForLocalMs ?? site.localSettings.waitMs,
    });
    return { summary, bytesCrossed: uplink.bytesCrossed };
  } finally {
    const bytesPerSecond = gauge.speed();
    if (bytesPerSecond !== undefined) await keepLastSpeed(dataDir, bytesPerSecond, clock.now());
  }
}

/** What the plan came from stays as long as what it declares. */
function keeping(
  artifacts: readonly SiteArtifact[],
  generations: NonNullable<DeliverOptions["generations"]>,
): NonNullable<DeliverOptions["generations"]> {
  return {
    begin: (names) => generations.begin([...names, ...artifacts.map(({ name }) => name)]),
    complete: () => generations.complete(),
    kept: () => generations.kept(),
  };
}

function disposable(remote: Remote): Remote & Disposable {
  return Object.assign(remote, { [Symbol.dispose]: () => remote.close() });
}
