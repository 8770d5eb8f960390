import { printable } from "#base";
import type { CredentialReport } from "#credential";
import type { DeliveryProgress } from "./delivery-progress.ts";
import type { DiskUse, LinkState, ProofSummary, Trouble } from "./operations.ts";
import type { PartState, SiteState } from "./state.ts";
import { type Concern, Warnings } from "./warnings.ts";

/** A proof, and of which revision it is. */
export interface KeptProof {
  readonly revision: string;
  readonly summary: ProofSummary;
  /** The whole proof as a text of JSON. */
  readonly document: string;
}

/** All that the agent has found out about its site, beside where it is in its course. */
export class Knowledge {
  readonly #warnings = new Warnings();
  readonly #now: () => number;
  readonly #onChange: () => void;
  readonly parts = new Map<PartState["name"], PartState>();
  /** Whether the inputs were read at least once, or could not be. */
  hasLooked = false;
  isReading = false;
  refused: SiteState["refused"] = null;
  unreadable: Trouble | null = null;
  paused: SiteState["paused"] = null;
  /** Of the delivery at work or the last one. */
  progress: DeliveryProgress | null = null;
  deliveryTrouble: Trouble | null = null;
  activation: SiteState["activation"] = null;
  /** Why the last proof could not be made; null when it was. */
  proofTrouble: Trouble | null = null;
  proof: KeptProof | null = null;
  link: LinkState | null = null;
  disk: DiskUse | null = null;
  credentials: readonly CredentialReport[] = [];
  verified: SiteState["upkeep"]["verified"] = null;
  collected: SiteState["upkeep"]["collected"] = null;

  constructor(now: () => number, onChange: () => void) {
    this.#now = now;
    this.#onChange = onChange;
  }

  /** Takes in what is known now. */
  learn(
    facts: Partial<
      Pick<
        Knowledge,
        | "hasLooked"
        | "isReading"
        | "refused"
        | "unreadable"
        | "paused"
        | "progress"
        | "deliveryTrouble"
        | "activation"
        | "proof"
        | "proofTrouble"
        | "link"
        | "disk"
        | "credentials"
        | "verified"
        | "collected"
      >
    >,
  ): void {
    Object.assign(this, facts);
    this.#onChange();
  }

  /** All that one source warns of now; see {@link Warnings.set}. Everything in it is made fit to print. */
  warn(source: string, concerns: readonly Concern[]): void {
    this.#warnings.set(source, concerns.map(fitToPrint), this.#now());
    this.#onChange();
  }

  /** Whether the store is served, and why not, where that is known. */
  get registry(): { readonly isServing: boolean; readonly trouble: Trouble | null } {
    const part = this.parts.get("registry");
    const isServing = part?.state === "running" && part.address !== undefined;
    return { isServing, trouble: part?.trouble ?? null };
  }

  /** What needs a person. */
  get warnings() {
    return this.#warnings.all;
  }
}

function fitToPrint(concern: Concern): Concern {
  return {
    ...concern,
    message: printable(concern.message, 1_000),
    hint: printable(concern.hint, 1_000),
    subject: printable(concern.subject, 500),
  };
}
