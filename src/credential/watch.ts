import { formatDuration } from "#base";

/** The part that a registry plays in a plan. */
export type RegistryRole = "provider" | "external" | "packs" | "local";

/** Something about a credential that ends on a day that is known. */
export interface Expiry {
  /** The registry's own certificate, one that was given to trust it, or the credential itself. */
  readonly what: "server-certificate" | "authority" | "token";
  /** Whose it is; fit to print. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly endsMs: number;
}

/** What became of one attempt to use a credential. */
export type TrialOutcome =
  | { readonly kind: "accepted" }
  /** Fit to print, as failures are. */
  | {
      readonly kind: "refused" | "unreachable";
      readonly code: string;
      readonly message: string;
      readonly hint: string;
    }
  | { readonly kind: "untried"; readonly why: string };

/** Whose credential it is. Registry and origin together name it. */
export interface CredentialSubject {
  /** Host, with port where one was written. */
  readonly registry: string;
  readonly role: RegistryRole;
  /** Where it was written, in the plan's words; null for a registry that is asked without one. */
  readonly origin: string | null;
}

/** What was seen of a credential at one moment. */
export interface CredentialObservation extends CredentialSubject {
  readonly atMs: number;
  /** The image that it was tried with; null when there was none. */
  readonly image: string | null;
  readonly outcome: TrialOutcome;
  readonly expiries: readonly Expiry[];
}

/**
 * How a credential is.
 *
 * - `ok`: the registry lets us in, and nothing ends soon
 * - `expires-soon`: it does, and something ends within the days of {@link WARN_BEFORE_MS}
 * - `expired`: it does not, and something has ended
 * - `refused`: it says no, or is not to be trusted
 * - `unreachable`: nobody could say
 * - `untried`: nothing was there to try it with
 */
export type CredentialState =
  | "ok"
  | "expires-soon"
  | "expired"
  | "refused"
  | "unreachable"
  | "untried";

/** A credential, how it is, and why; fit to print. */
export interface CredentialReport extends CredentialObservation {
  readonly state: CredentialState;
  readonly why: string;
  /** What to do; undefined where nothing needs to be done. */
  readonly hint: string | undefined;
  /** When it came to be so, as far as was watched, in milliseconds since 1970. */
  readonly sinceMs: number;
}

/** Told for every look at a credential. */
export interface CredentialEvent {
  readonly type: "credential-checked";
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly severity: "info" | "warning" | "error";
  /** How it was at the look before; undefined at the first. */
  readonly previous: CredentialState | undefined;
  readonly report: CredentialReport;
}

/** Days enough to get a new certificate or password to a site that is visited once a week. */
export const WARN_BEFORE_MS: number = 14 * 86_400_000;

/** Whether a state is one in which images can't be moved until a person has done something. */
export function isBroken(state: CredentialState): boolean {
  return state === "refused" || state === "expired";
}

const SEVERITIES: Readonly<Record<CredentialState, CredentialEvent["severity"]>> = {
  ok: "info",
  "expires-soon": "warning",
  expired: "error",
  refused: "error",
  unreachable: "warning",
  untried: "info",
};

/**
 * Watches credentials over many looks: since when one is as it is, and what is known of its end while
 * the registry can't be asked. It decides from observations alone.
 */
export class CredentialWatch {
  readonly #last = new Map<string, CredentialReport>();

  /** Takes in what was seen, and gives the event that tells of it. */
  observe(seen: CredentialObservation): CredentialEvent {
    const key = JSON.stringify([seen.registry, seen.role, seen.origin]);
    const last = this.#last.get(key);
    const observation = { ...seen, expiries: withRemembered(seen, last?.expiries ?? []) };
    const verdict = judge(observation);
    const isSame = last?.state === verdict.state;
    const sinceMs = isSame ? last.sinceMs : seen.atMs;
    const report = { ...observation, ...verdict, sinceMs };
    this.#last.set(key, report);
    return {
      type: "credential-checked",
      at: seen.atMs,
      severity: SEVERITIES[verdict.state],
      previous: last?.state,
      report,
    };
  }

  /** The latest report of each credential, in the order in which they were first seen. */
  get reports(): readonly CredentialReport[] {
    return [...this.#last.values()];
  }
}

/** A certificate that was seen keeps its end while its registry is not to be reached. */
function withRemembered(
  { outcome, expiries }: CredentialObservation,
  known: readonly Expiry[],
): readonly Expiry[] {
  const isSeen = expiries.some(({ what }) => what === "server-certificate");
  if (isSeen || outcome.kind !== "unreachable") return expiries;
  return [...expiries, ...known.filter(({ what }) => what === "server-certificate")];
}

type Verdict = Pick<CredentialReport, "state" | "why" | "hint">;

function judge(observation: CredentialObservation): Verdict {
  const { outcome, atMs, expiries } = observation;
  // What the registry lets in is in order, whatever else has ended: bundles hold old authorities.
  const over = expiries.find((expiry) => expiry.endsMs <= atMs && explains(expiry, outcome));
  if (over !== undefined) return expired(over, observation);
  const soon = expiries
    .filter(({ endsMs }) => endsMs > atMs && endsMs - atMs <= WARN_BEFORE_MS)
    .toSorted((a, b) => a.endsMs - b.endsMs)[0];
  switch (outcome.kind) {
    case "refused":
      return { state: "refused", why: outcome.message, hint: outcome.hint };
    case "unreachable": {
      const also = soon === undefined ? "" : `; ${endText(soon, atMs)}`;
      return { state: "unreachable", why: `${outcome.message}${also}`, hint: outcome.hint };
    }
    case "untried":
      return { state: "untried", why: outcome.why, hint: undefined };
    case "accepted":
      return soon === undefined
        ? { state: "ok", why: acceptedText(observation), hint: undefined }
        : { state: "expires-soon", why: endText(soon, atMs), hint: renewal(soon) };
  }
}

/** Whether an end that has come can be why the registry did not let us in. */
function explains({ what }: Expiry, outcome: TrialOutcome): boolean {
  if (outcome.kind === "accepted") return false;
  if (what === "token")
    return outcome.kind !== "refused" || outcome.code !== "registry-certificate";
  return outcome.kind === "refused" && outcome.code === "registry-certificate";
}

function expired(expiry: Expiry, { outcome, atMs }: CredentialObservation): Verdict {
  const answer = outcome.kind === "refused" ? `: ${outcome.message}` : "";
  return {
    state: "expired",
    why: `${endText(expiry, atMs)}${answer}`,
    hint: renewal(expiry),
  };
}

function acceptedText({ origin, image, expiries, atMs }: CredentialObservation): string {
  const certificate = expiries.find(({ what }) => what === "server-certificate");
  const end = certificate === undefined ? "" : `; ${endText(certificate, atMs)}`;
  const who = origin === null ? "It answers without a credential" : "It lets us in";
  return `${who}${image === null ? "" : `, asked for ${image}`}${end}`;
}

const NAMES: Readonly<Record<Expiry["what"], string>> = {
  "server-certificate": "its certificate",
  authority: "the certificate given to trust it",
  token: "the token",
};

/** `its certificate (CN=registry) ends on 2026-12-01, in 6d03h`. */
function endText({ what, name, endsMs }: Expiry, atMs: number): string {
  const day = new Date(endsMs).toISOString().slice(0, 10);
  const leftMs = endsMs - atMs;
  const when = leftMs > 0 ? `ends on ${day}, in ${formatDuration(leftMs)}` : `ended on ${day}`;
  return `${NAMES[what]} (${name}) ${when}`;
}

function renewal({ what }: Expiry): string {
  switch (what) {
    case "server-certificate":
      return "Have the registry's certificate renewed, and check the clock of this machine";
    case "authority":
      return "Put the authority's new certificate beside the old one where it is declared (caFile, certificates)";
    case "token":
      return "Get a new token and put it where the credential is declared";
  }
}
