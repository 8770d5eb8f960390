import { Failure, isFailure } from "#base";
import { type DiskStore, openStore } from "#store";
import { agentSocket, isListening } from "./agent-socket.ts";
import type { SiteContext } from "./context.ts";

/**
 * Opens the store of a site for a delivery. Where an agent holds it, that is said, and how the agent is
 * asked for what a delivery was to do.
 *
 * @throws {Failure} `agent-running`; what `openStore` throws
 */
export async function openStoreToDeliver(
  dataDir: string,
  { clock }: Pick<SiteContext, "clock">,
): Promise<DiskStore> {
  try {
    return await openStore(dataDir, { clock });
  } catch (error) {
    if (!isFailure(error, "store-locked")) throw error;
    if (!(await isListening(agentSocket(dataDir)))) throw error;
    throw new Failure({
      code: "agent-running",
      message: `${error.message}; it is the agent of this site`,
      hint: "Ask the agent instead: `dray stage` delivers now, `dray status` tells what it is at",
      cause: error,
    });
  }
}

/**
 * Opens the store of a site to look into it, also beside whoever writes; undefined before anything was
 * delivered there.
 *
 * @throws {Failure} what else keeps `openStore` from reading it
 */
export async function openStoreIfThere(
  dataDir: string,
  { clock }: Pick<SiteContext, "clock">,
): Promise<DiskStore | undefined> {
  try {
    return await openStore(dataDir, { clock, readOnly: true });
  } catch (error) {
    if (isFailure(error, "store-missing")) return undefined;
    throw error;
  }
}
