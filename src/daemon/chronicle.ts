import { printable } from "#base";
import type { Trouble } from "./operations.ts";
import type { JournalEntry } from "./state.ts";
import { troubleOfError } from "./supervise.ts";

/** Where the agent writes what happened: the journal of the store. */
export interface AgentJournal {
  /**
   * Durable once it resolves.
   *
   * @param atMs when it happened, in milliseconds since 1970; now, without it
   * @throws {Failure} what a disk does
   */
  add(kind: string, data: Readonly<Record<string, unknown>>, atMs?: number): Promise<void>;
  /** The newest first. @throws {Failure} what a disk does */
  read(query: {
    readonly before?: number;
    readonly after?: number;
    readonly limit?: number;
  }): Promise<readonly JournalLine[]>;
}

/** A line as it lies in the journal. */
export interface JournalLine {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What is told beside the sentence. */
export interface Telling {
  readonly level?: JournalEntry["level"];
  readonly by?: string | null;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** Code units of a line's sentence. */
const TEXT_MAX = 500;

/** Lines that wait until the journal can be written; of more, the oldest go. */
const WAITING_MAX = 1_000;

/**
 * Tells what happens, in the order in which it happens. A journal that can't be written stops nothing: a
 * full disk must not keep the agent from freeing it. What was told meanwhile is written with the first
 * line that can be, each with its own time.
 */
export class Chronicle {
  readonly #journal: AgentJournal;
  readonly #now: () => number;
  readonly #onEntry: (entry: JournalEntry) => void;
  readonly #onTrouble: (trouble: Trouble | null) => void;
  readonly #waiting: Omit<JournalLine, "id">[] = [];
  #writing: Promise<void> = Promise.resolve();
  #lastId: number | undefined;

  constructor(
    journal: AgentJournal,
    now: () => number,
    onEntry: (entry: JournalEntry) => void,
    onTrouble: (trouble: Trouble | null) => void,
  ) {
    this.#journal = journal;
    this.#now = now;
    this.#onEntry = onEntry;
    this.#onTrouble = onTrouble;
  }

  /** Never fails; what is told first is written first. */
  tell(kind: string, text: string, { level = "info", by = null, data = {} }: Telling = {}): void {
    this.#waiting.push({ kind, atMs: this.#now(), data: { ...data, text, level, by } });
    if (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
    void this.flush();
  }

  /** Resolves when all that was told is durable, or could not be written. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** Newest first. @throws {Failure} what a disk does */
  async read(page: {
    readonly before?: number;
    readonly limit: number;
  }): Promise<readonly JournalEntry[]> {
    return (await this.#journal.read(page)).map(entryOf);
  }

  async #write(): Promise<void> {
    if (this.#waiting.length === 0) return;
    try {
      this.#lastId ??= (await this.#journal.read({ limit: 1 }))[0]?.id ?? 0;
      for (let line = this.#waiting[0]; line !== undefined; line = this.#waiting[0]) {
        await this.#journal.add(line.kind, line.data, line.atMs);
        // More may be told while it is written, and the oldest may have gone.
        if (this.#waiting[0] === line) this.#waiting.shift();
      }
      // Others write into it too: a delivery tells what it did with the provider image.
      const lines = await this.#journal.read({ after: this.#lastId, limit: WAITING_MAX });
      this.#lastId = lines[0]?.id ?? this.#lastId;
      for (const line of lines.toReversed()) this.#onEntry(entryOf(line));
      this.#onTrouble(null);
    } catch (error) {
      this.#onTrouble(troubleOfError(error));
    }
  }
}

/** A line of the journal as people see it, also one that was not written by the agent. */
export function entryOf({ id, atMs, kind, data }: JournalLine): JournalEntry {
  const { text, level, by, ...rest } = data;
  return {
    id,
    at: atMs,
    kind: printable(kind),
    text: printable(typeof text === "string" ? text : kind.replaceAll("-", " "), TEXT_MAX),
    level: level === "warning" || level === "error" ? level : "info",
    by: typeof by === "string" ? printable(by) : null,
    data: rest,
  };
}
