import { clockTime } from "./verdict.ts";

/** How often something came out in the same way, and since when. */
export interface Repeat {
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
}

/** `Delivery of store has failed 4 times in the same way since 2026-11-23 22:00`. */
export function repeatText(what: string, { count, sinceMs }: Repeat, timeZone: string): string {
  return `${what} has failed ${count} times in the same way since ${clockTime(sinceMs, timeZone)}`;
}

interface Run extends Repeat {
  readonly outcome: string;
  count: number;
  /** The count that was told last. */
  told: number;
}

/**
 * Keeps the journal short where something is tried for weeks and fails in the same way each time: that is
 * told at the first time, the second, the fourth, the eighth, and how often it was when it is over.
 */
export class Repeats {
  readonly #runs = new Map<string, Run>();

  /**
   * Something was tried.
   *
   * @param subject what was tried
   * @param outcome the same text for what is the same to a reader
   * @param news tells the outcome itself
   * @param again tells that it was the same as the time before
   */
  heard(
    { subject, outcome }: { readonly subject: string; readonly outcome: string },
    nowMs: number,
    news: () => void,
    again: (repeat: Repeat) => void,
  ): void {
    const run = this.#runs.get(subject);
    if (run?.outcome !== outcome) {
      this.over(subject, again);
      this.#runs.set(subject, { outcome, count: 1, sinceMs: nowMs, told: 1 });
      news();
      return;
    }
    run.count += 1;
    if (run.count < 2 * run.told) return;
    run.told = run.count;
    again(run);
  }

  /** It is no longer so: `again` is told what was not told yet. */
  over(subject: string, again: (repeat: Repeat) => void): void {
    const run = this.#runs.get(subject);
    if (run !== undefined && run.count > run.told) again(run);
    this.#runs.delete(subject);
  }

  /** Whether it failed the last time. */
  has(subject: string): boolean {
    return this.#runs.has(subject);
  }
}
