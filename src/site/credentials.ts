import { type CredentialEvent, type CredentialWatch, tryCredentials } from "#credential";
import { credentialUses } from "#plan";
import type { RemoteNotice } from "#remote";
import { createDiskLedger } from "#store";
import type { SiteContext } from "./context.ts";
import { credentialTrial, robotUses } from "./credential-trials.ts";
import type { Planned } from "./plan-inputs.ts";
import { robotSecretsIn } from "./robot-secrets.ts";
import { chooseProxy, openUplink } from "./uplink.ts";

/** What credentials are tried with beside the plan. */
export interface CredentialCheck {
  readonly signal: AbortSignal;
  /** Where the secrets of Harbor's robot accounts are kept. */
  readonly dataDir: string;
  /** Remembers earlier looks; a new one knows of none. */
  readonly watch: CredentialWatch;
  /** Hears of each credential as soon as it is known. */
  readonly emit?: (event: CredentialEvent) => void;
  readonly onNotice?: (notice: RemoteNotice) => void;
}

/**
 * Tries every credential of a plan once, those of the robot accounts at a Harbor too: for whoever wants
 * to know, and for whatever else examines the site.
 */
export async function checkCredentials(
  { plan, inputs }: Pick<Planned, "plan" | "inputs">,
  context: SiteContext,
  check: CredentialCheck,
): Promise<readonly CredentialEvent[]> {
  const { signal, dataDir, watch, emit = () => undefined, onNotice = () => undefined } = check;
  const secrets = await robotSecretsIn(dataDir).read();
  await using uplink = await openUplink({
    ...{ inputs, context, onNotice, isMetered: false },
    ledger: createDiskLedger(dataDir),
    onPause: () => undefined,
  });
  const proxy = chooseProxy(inputs.userData.proxy, context.env);
  const uses = credentialUses(plan, inputs);
  const trials = [...uses, ...robotUses(plan.registries.local, uses, secrets)].map((use) =>
    credentialTrial(use, uplink.remote, proxy),
  );
  // Awaited here, or the uplink would be closed under it.
  return await tryCredentials(trials, watch, { clock: context.clock, signal, emit });
}
