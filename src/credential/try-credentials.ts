import { type Clock, isFailure, Limiter } from "#base";
import type {
  CredentialEvent,
  CredentialSubject,
  CredentialWatch,
  Expiry,
  TrialOutcome,
} from "./watch.ts";

/** A credential and the ways to try it, which reach the network. */
export interface CredentialTrial extends CredentialSubject {
  /** The image that is asked for; null when there is none, and nothing is tried. */
  readonly image: string | null;
  /** What is known of its end without asking anybody. */
  readonly expiries: readonly Expiry[];
  /**
   * Uses the credential once.
   *
   * @throws {Failure} as a pull would
   */
  attempt(signal: AbortSignal): Promise<void>;
  /** The end of the certificate that the registry shows; undefined when it shows none. */
  serverCertificate(signal: AbortSignal): Promise<Expiry | undefined>;
}

/** How many registries are asked at a time. */
const TRIALS_MAX = 8;

/** What only a person can mend, by another credential or another certificate. */
const REFUSALS: ReadonlySet<string> = new Set([
  "registry-unauthorized",
  "registry-denied",
  "registry-certificate",
  "credential-helper-failed",
  "token-realm-refused",
]);

/**
 * Tries each credential once, several at a time, and tells the watch what was seen. To be run when a
 * program starts and then on a schedule, with the same watch.
 *
 * @param emit hears of each as soon as it is known
 * @throws the signal's reason; nothing that a registry does
 */
export async function tryCredentials(
  trials: readonly CredentialTrial[],
  watch: CredentialWatch,
  options: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly emit: (event: CredentialEvent) => void;
  },
): Promise<readonly CredentialEvent[]> {
  const { clock, signal, emit } = options;
  const limiter = new Limiter(TRIALS_MAX);
  return Promise.all(
    trials.map((trial) =>
      limiter.run(signal, async () => {
        const [outcome, certificate] = await Promise.all([
          outcomeOf(trial, signal),
          trial.image === null ? undefined : trial.serverCertificate(signal),
        ]);
        const { registry, role, origin, image } = trial;
        const expiries = [...trial.expiries, ...(certificate === undefined ? [] : [certificate])];
        const atMs = clock.now();
        const event = watch.observe({ registry, role, origin, image, outcome, expiries, atMs });
        emit(event);
        return event;
      }),
    ),
  );
}

async function outcomeOf(trial: CredentialTrial, signal: AbortSignal): Promise<TrialOutcome> {
  signal.throwIfAborted();
  if (trial.image === null)
    return {
      kind: "untried",
      why: "No image of the plan needs it, so there is nothing to ask for",
    };
  try {
    await trial.attempt(signal);
    return { kind: "accepted" };
  } catch (error) {
    signal.throwIfAborted();
    if (!isFailure(error)) throw error;
    // Who may learn that an image is not there was let in.
    if (error.code === "content-missing") return { kind: "accepted" };
    const { code, message, hint } = error;
    return { kind: REFUSALS.has(code) ? "refused" : "unreachable", code, message, hint };
  }
}
