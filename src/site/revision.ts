import { createHash } from "node:crypto";
import { Failure } from "#base";
import { type Access, ANONYMOUS } from "#credential";
import type { Revision } from "#daemon";
import { isJsonObject } from "#oci";
import {
  decideAccess,
  type Plan,
  type PlannedImage,
  type PlanRegistries,
  planDocument,
} from "#plan";
import type { Site } from "#profile";
import { formatReference, parseReference, type Reference } from "#reference";
import type { KeptNames } from "./disk-use.ts";
import type { Planned } from "./plan-inputs.ts";

/** A revision that something is done with. */
export interface RecalledRevision {
  readonly id: string;
  readonly plan: Plan;
}

/** Where and when a revision was read. */
export interface Reading {
  /** Fit to print. */
  readonly source: string;
  readonly seenMs: number;
}

/**
 * The revision that a plan is. Its id says what is done, not how it was written: a comment, or a password
 * that was changed, makes no other revision.
 */
export function revisionOf({ plan, inputs }: Planned, { source, seenMs }: Reading): Revision {
  const id = idOf(plan, inputs.site);
  const record: KeptRecord = { id, version: RECORD_VERSION, plan: recordedPlan(plan) };
  const images = plan.stages.reduce((sum, stage) => sum + stage.images.length, 0);
  const { profiles } = plan;
  return { id, source, seenMs, profiles, images, record: JSON.stringify(record) };
}

/**
 * A revision out of its record. How registries are talked to is in no record, for secrets are part of it:
 * that comes from the inputs as they are now.
 *
 * @throws {Failure} `revision-broken`
 */
export function recallRevision(
  record: string,
  { plan, inputs, docker }: Planned,
): RecalledRevision {
  return recalled(record, {
    image: ({ category }, source) => decideAccess({ category, source }, inputs, docker).access,
    local: ({ kind, address }) => {
      const { local } = plan.registries;
      return local?.kind === kind && local.address === address ? local.access : ANONYMOUS;
    },
  });
}

/**
 * The plan of a revision out of its record, to be looked at: of each credential there is the origin, and of
 * how registries are talked to nothing.
 *
 * @throws {Failure} `revision-broken`
 */
export function recallToShow(record: string): Plan {
  const shown = ({ credential = null }: { readonly credential?: string | null }): Access => ({
    ...ANONYMOUS,
    origin: credential,
  });
  return recalled(record, { image: shown, local: shown }).plan;
}

/**
 * What a revision keeps of a store, out of its record.
 *
 * @throws {Failure} `revision-broken`
 */
export function namesIn(record: string): KeptNames {
  return fromRecord(record, ({ id, plan }) => ({
    id,
    declared: plan.stages.flatMap(({ images }) => images.map(({ declared }) => declared)),
  }));
}

/** How registries are talked to. */
interface Accesses {
  image(image: RecordedImage, source: Reference): Access;
  local(local: RecordedLocal): Access;
}

function recalled(record: string, accesses: Accesses): RecalledRevision {
  return fromRecord(record, ({ id, plan }) => ({ id, plan: recalledPlan(plan, accesses) }));
}

function fromRecord<T>(record: string, make: (kept: KeptRecord) => T): T {
  try {
    const kept = JSON.parse(record) as KeptRecord;
    if (!isJsonObject(kept) || kept.version !== RECORD_VERSION) throw new SyntaxError("version");
    return make(kept);
  } catch (cause) {
    throw new Failure({
      code: "revision-broken",
      message: "Cannot recall a revision: what was kept of it is not what this program writes",
      hint: "Ask for `dray stage`: what the inputs say is then delivered as a new revision",
      cause,
    });
  }
}

/** What another version of the program wrote otherwise is not guessed at. */
const RECORD_VERSION = 1;

type RecordedImage = Omit<PlannedImage, "declared" | "source" | "access"> & {
  readonly declared: string;
  readonly source: string;
  /** The origin; absent in what an earlier program wrote. */
  readonly credential?: string | null;
};

type RecordedLocal = Omit<NonNullable<PlanRegistries["local"]>, "access" | "authenticated"> & {
  /** As of an image. */
  readonly credential?: string | null;
  /** Absent as the origin is. */
  readonly authenticated?: boolean;
};

interface RecordedPlan extends Omit<Plan, "registries" | "stages"> {
  readonly registries: Omit<PlanRegistries, "local"> & { readonly local: RecordedLocal | null };
  readonly stages: readonly {
    readonly name: Plan["stages"][number]["name"];
    readonly images: readonly RecordedImage[];
  }[];
}

interface KeptRecord {
  readonly version: number;
  readonly id: string;
  readonly plan: RecordedPlan;
}

function recordedPlan(plan: Plan): RecordedPlan {
  const { local } = plan.registries;
  return {
    ...plan,
    registries: {
      ...plan.registries,
      local: local && { ...without(local, "access"), credential: local.access.origin },
    },
    stages: plan.stages.map(({ name, images }) => ({
      name,
      images: images.map((image) => ({
        ...without(image, "access"),
        credential: image.access.origin,
        declared: formatReference(image.declared),
        source: formatReference(image.source),
      })),
    })),
  };
}

function recalledPlan(kept: RecordedPlan, accesses: Accesses): Plan {
  const { local } = kept.registries;
  return {
    ...kept,
    registries: {
      ...kept.registries,
      local: local && {
        ...without(local, "credential"),
        authenticated: local.authenticated ?? false,
        access: accesses.local(local),
      },
    },
    stages: kept.stages.map(({ name, images }) => ({
      name,
      images: images.map((image) => {
        const declared = parseReference(image.declared);
        const source = parseReference(image.source);
        const access = accesses.image(image, source);
        return { ...without(image, "credential"), declared, source, access };
      }),
    })),
  };
}

/** Twelve hex digits tell the revisions of a site apart; nothing is trusted for them. */
const ID_LENGTH = 12;

function idOf(plan: Plan, site: Site): string {
  const { stages, warnings, ...rest } = planDocument(plan) as {
    readonly stages: readonly { readonly name: string; readonly images: readonly object[] }[];
    readonly warnings: unknown;
  };
  const { platform, provider, attachments, runtime, runtimeSocket, runtimeConfigDir } = site;
  const settings = {
    ...{ platform, provider, attachments, runtime, runtimeSocket, runtimeConfigDir },
    // Where the site is served stands in the runtime's files.
    ...(runtime === undefined || runtime === "none" ? {} : { embedded: servedTo(site) }),
  };
  const effect = {
    ...rest,
    stages: stages.map(({ name, images }) => ({
      name,
      images: images.map((image) => ({ ...image, at: undefined })),
    })),
    settings,
  };
  return createHash("sha256").update(JSON.stringify(effect)).digest("hex").slice(0, ID_LENGTH);
}

function servedTo({ registry }: Site) {
  const { listen, address, tls, certificates, nodes } = registry;
  return { listen, address, hasTls: tls !== undefined, certificates, user: nodes?.username };
}

function without<T extends object, K extends keyof T>(value: T, key: K): Omit<T, K> {
  const { [key]: _, ...rest } = value;
  return rest;
}
