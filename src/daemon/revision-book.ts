import { Failure } from "#base";
import type { KeptRevisions } from "#store";
import type { Standing, Turn } from "./course.ts";
import type { Revision } from "./operations.ts";
import type { RevisionState } from "./state.ts";

/** Where revisions are kept over the death of the agent: those of the store. */
export interface RevisionRecords {
  /** @throws {Failure} what a disk does */
  read(): Promise<KeptRevisions>;
  /** All or nothing, durable once it resolves. @throws {Failure} what a disk does */
  replace(kept: KeptRevisions): Promise<void>;
}

interface Entry {
  readonly record: string;
  state: RevisionState;
}

/** The revisions that the agent knows of, and which of them it stands by. */
export class RevisionBook {
  readonly #records: RevisionRecords;
  readonly #entries = new Map<string, Entry>();

  constructor(records: RevisionRecords) {
    this.#records = records;
  }

  /** Where the agent before this one stood. @throws {Failure} what a disk does */
  async load(): Promise<Standing> {
    const { revisions, roles } = await this.#records.read();
    for (const { id, record, about } of revisions) {
      this.#entries.set(id, { record, state: stateOf(id, about) });
    }
    const inRole = (role: string): string | null => {
      const id = roles[role];
      return id !== undefined && this.#entries.has(id) ? id : null;
    };
    return {
      wanted: inRole("wanted"),
      staged: inRole("staged"),
      active: inRole("active"),
      previous: inRole("previous"),
      rolledBack: inRole("rolled-back"),
      turn: turnOf(inRole),
    };
  }

  /** Takes in a revision that was read. */
  add(revision: Revision): void {
    const { id, record, source, seenMs, profiles, images } = revision;
    const known = this.#entries.get(id);
    const state: RevisionState = {
      ...{ id, source, profiles, images },
      seenMs: known?.state.seenMs ?? seenMs,
      stagedMs: known?.state.stagedMs ?? null,
      activatedMs: known?.state.activatedMs ?? null,
    };
    this.#entries.set(id, { record, state });
  }

  /** Notes when something was done with a revision; durable with the next {@link save}. */
  stamp(id: string, times: Partial<Pick<RevisionState, "stagedMs" | "activatedMs">>): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.state = { ...entry.state, ...times };
  }

  /** Makes durable where the agent stands, and forgets the revisions that play no part. */
  async save(standing: Standing): Promise<void> {
    const roles = rolesOf(standing);
    const named = new Set(Object.values(roles));
    const kept = [...this.#entries].filter(([id]) => named.has(id));
    await this.#records.replace({
      roles,
      revisions: kept.map(([id, { record, state }]) => ({ id, record, about: { ...state } })),
    });
    for (const id of this.#entries.keys()) if (!named.has(id)) this.#entries.delete(id);
  }

  /** @throws {Failure} `revision-missing` for one that plays no part any more */
  get(id: string): Revision {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw revisionForgotten(id);
    const { source, seenMs, profiles, images } = entry.state;
    return { id, source, seenMs, profiles, images, record: entry.record };
  }

  /** As people see it. */
  state(id: string | null): RevisionState | null {
    return id === null ? null : (this.#entries.get(id)?.state ?? null);
  }
}

function revisionForgotten(id: string): Failure {
  return new Failure({
    code: "revision-missing",
    message: `Cannot find revision ${id}: it plays no part any more, expected one that is wanted, staged, active or previous`,
    hint: "Run `dray status` to see which revisions there are",
  });
}

function rolesOf({ turn, rolledBack, ...plain }: Standing): Readonly<Record<string, string>> {
  const { wanted, staged, active, previous } = plain;
  const turning = turn?.why === "roll-back" ? "rolling-back" : "activating";
  const roles = {
    ...{ wanted, staged, active, previous, "rolled-back": rolledBack },
    [turning]: turn?.to ?? null,
    undoing: turn?.undoes ?? null,
  };
  return Object.fromEntries(
    Object.entries(roles).flatMap(([role, id]) => (id === null ? [] : [[role, id]])),
  );
}

function turnOf(inRole: (role: string) => string | null): Turn | null {
  const [activating, rollingBack] = [inRole("activating"), inRole("rolling-back")];
  if (activating !== null) return { to: activating, why: "activate", undoes: null };
  if (rollingBack === null) return null;
  return { to: rollingBack, why: "roll-back", undoes: inRole("undoing") };
}

/** What we wrote ourselves; a broken line must still not keep the agent from starting. */
function stateOf(id: string, about: Readonly<Record<string, unknown>>): RevisionState {
  const time = (value: unknown) => (typeof value === "number" ? value : null);
  const { source, profiles, images, seenMs, stagedMs, activatedMs } = about;
  return {
    id,
    source: typeof source === "string" ? source : "",
    profiles: Array.isArray(profiles) ? profiles.map(String) : [],
    images: time(images) ?? 0,
    seenMs: time(seenMs) ?? 0,
    stagedMs: time(stagedMs),
    activatedMs: time(activatedMs),
  };
}
