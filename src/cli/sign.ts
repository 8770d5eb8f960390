import { isFailure } from "#base";
import type { CliContext } from "./context.ts";

/** How bad a thing is: `wrong` keeps something from working, `warning` may. */
export type Verdict = "ok" | "warning" | "wrong";

/** One thing that was looked at, and how it was. */
export interface Sign {
  /** What was looked at: `clock`, `disk`. */
  readonly check: string;
  readonly verdict: Verdict;
  /** What was found; may hold text of others, and is escaped where it is shown. */
  readonly text: string;
  /** What to do; null when nothing is to be done. */
  readonly remedy: string | null;
}

/** A look at one thing of the surroundings. */
export interface Check {
  readonly name: string;
  look(signal: AbortSignal): Promise<readonly Omit<Sign, "check">[]>;
}

/** How long a look may take, in milliseconds: who calls a doctor waits for the answer. */
export const LOOK_MS = 8_000;

/** A good sign. */
export function fine(text: string): Omit<Sign, "check"> {
  return { verdict: "ok", text, remedy: null };
}

/** A sign of something that may keep the site from working. */
export function odd(text: string, remedy: string): Omit<Sign, "check"> {
  return { verdict: "warning", text, remedy };
}

/** A sign of something that keeps the site from working. */
export function wrong(text: string, remedy: string): Omit<Sign, "check"> {
  return { verdict: "wrong", text, remedy };
}

/**
 * Takes all looks at once, each bounded in time; in the order of the checks. A failure of the world is a
 * bad sign, and a look that does not end is one too.
 *
 * @throws the signal's reason; bugs
 */
export async function examine(
  checks: readonly Check[],
  { signal }: Pick<CliContext, "signal">,
  lookMs: number = LOOK_MS,
): Promise<readonly Sign[]> {
  const signs = await Promise.all(checks.map((check) => lookWithin(check, signal, lookMs)));
  return signs.flat();
}

async function lookWithin(
  { name, look }: Check,
  signal: AbortSignal,
  lookMs: number,
): Promise<readonly Sign[]> {
  const deadline = AbortSignal.timeout(lookMs);
  const over = Promise.withResolvers<undefined>();
  const bounded = AbortSignal.any([signal, deadline]);
  bounded.addEventListener("abort", () => over.resolve(undefined), { once: true });
  const looking = look(bounded).catch((error: unknown) => {
    if (bounded.aborted) return undefined;
    if (!isFailure(error)) throw error;
    return [wrong(error.message, error.hint)];
  });
  // Not all that a look waits for hears of the signal.
  const found = await Promise.race([looking, over.promise]);
  signal.throwIfAborted();
  const late = odd(
    `nobody answered within ${lookMs / 1000} s`,
    "Check the link, DNS and firewall of this machine, then run `dray doctor` again",
  );
  return (found ?? [late]).map((sign) => ({ check: name, ...sign }));
}
