import { type Backoff, backoffMs, type Clock, isFailure, printable } from "#base";
import type { Trouble } from "./operations.ts";
import type { PartState } from "./state.ts";

/** Something that runs as long as the agent does, and is started again when it fails. */
export interface Part {
  readonly name: PartState["name"];
  /** Runs until the signal; `onListening` is told the address of one that serves. */
  run(signal: AbortSignal, onListening: (address: string) => void): Promise<void>;
}

/** What supervision works with. */
export interface SuperviseOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** One part is in another state now. */
  onChange(part: PartState): void;
  /** One part has failed, or ended by itself, which none should. */
  onCrash(part: PartState, trouble: Trouble): void;
}

/** Between the starts of a part that fails. */
const RESTART: Backoff = { firstMs: 1_000, maxMs: 5 * 60_000 };

/** Who ran for so long is healthy: should it fail, it is started again soon. */
const HEALTHY_MS = 10 * 60_000;

/** How long the parts have to end when the agent does. A service manager is told 3 s. */
export const STOP_MS = 2_500;

/**
 * Runs parts until the signal, each on its own: one that fails harms no other, and is started again, later
 * each time. Gives the names of those that had not ended {@link STOP_MS} after the signal.
 */
export async function supervise(
  parts: readonly Part[],
  signal: AbortSignal,
  options: SuperviseOptions,
): Promise<readonly PartState["name"][]> {
  const running = new Map(parts.map((part) => [part.name, part]));
  const ends = parts.map(async (part) => {
    await keepRunning(part, signal, options);
    running.delete(part.name);
  });
  const all = Promise.all(ends);
  await Promise.race([all, aborted(signal)]);
  const enough = new AbortController();
  const deadline = options.clock.sleep(STOP_MS, enough.signal).catch(() => undefined);
  await Promise.race([all, deadline]);
  enough.abort();
  return [...running.keys()];
}

async function keepRunning(
  part: Part,
  signal: AbortSignal,
  { clock, random, onChange, onCrash }: SuperviseOptions,
): Promise<void> {
  const { name } = part;
  let restarts = 0;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    const since = { sinceMs: clock.now(), startedMs: clock.monotonic() };
    const state: PartState = { name, state: "running", sinceMs: since.sinceMs, restarts };
    onChange(state);
    let trouble = ENDED;
    try {
      await part.run(signal, (address) => onChange({ ...state, address }));
    } catch (error) {
      trouble = troubleOfError(error);
    }
    if (signal.aborted) break;
    if (clock.monotonic() - since.startedMs >= HEALTHY_MS) attempt = 1;
    const waitMs = backoffMs(attempt, random(), RESTART);
    restarts += 1;
    const failed: PartState = {
      ...{ name, state: "restarting", sinceMs: clock.now(), restarts, trouble },
      nextMs: clock.now() + waitMs,
    };
    onChange(failed);
    onCrash(failed, trouble);
    await clock.sleep(waitMs, signal).catch(() => undefined);
  }
  onChange({ name, state: "stopped", sinceMs: clock.now(), restarts });
}

const ENDED: Trouble = {
  code: "part-ended",
  message: "It ended by itself, expected it to run as long as the agent does",
  hint: "Report it with the journal of the agent: `dray journal`",
};

/** What is told of anything that was thrown. What is no failure of the world is a fault of this program. */
export function troubleOfError(error: unknown): Trouble {
  if (isFailure(error)) return { code: error.code, message: error.message, hint: error.hint };
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    code: "internal-error",
    message: `Cannot go on: ${printable(text)}, expected no fault in this program`,
    hint: "Report it with the journal of the agent: `dray journal`",
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
