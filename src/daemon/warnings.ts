import type { Trouble } from "./operations.ts";
import type { Warning } from "./state.ts";

/** A warning before it is known since when it holds. */
export type Concern = Omit<Warning, "sinceMs">;

/** More of them help nobody, and every reader of the state gets them all. */
const WARNINGS_MAX = 200;

/** What needs a person: who found it says when it is over, and what two find is told once. */
export class Warnings {
  readonly #bySource = new Map<string, readonly Concern[]>();
  #current: readonly Warning[] = [];

  /** All that one source has to say now, in place of what it said before. */
  set(source: string, concerns: readonly Concern[], nowMs: number): void {
    if (concerns.length === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, concerns);
    const since = new Map(this.#current.map((warning) => [keyOf(warning), warning.sinceMs]));
    const unique = new Map<string, Warning>();
    for (const concern of [...this.#bySource.values()].flat()) {
      const key = keyOf(concern);
      if (unique.get(key)?.level === "error") continue;
      unique.set(key, { ...concern, sinceMs: since.get(key) ?? nowMs });
    }
    this.#current = [...unique.values()].sort(compare).slice(0, WARNINGS_MAX);
  }

  /** Errors first, then the oldest. */
  get all(): readonly Warning[] {
    return this.#current;
  }
}

function keyOf({ code, subject, message }: Concern): string {
  // What the site as a whole is warned of has no subject to tell it by.
  return JSON.stringify([code, subject, subject === "" ? message : ""]);
}

function compare(a: Warning, b: Warning): number {
  if (a.level !== b.level) return a.level === "error" ? -1 : 1;
  return a.sinceMs - b.sinceMs || (keyOf(a) < keyOf(b) ? -1 : 1);
}

/** Trouble that keeps something from being done. */
export function error({ code, message, hint }: Trouble, subject = ""): Concern {
  return { level: "error", code, message, hint, subject };
}

/** Trouble that stops nothing yet. */
export function warning({ code, message, hint }: Trouble, subject = ""): Concern {
  return { level: "warning", code, message, hint, subject };
}
