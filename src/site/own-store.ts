import { Failure, isFailure } from "#base";
import { type DiskStore, openStore, reserveDeliveries } from "#store";
import { agentSocket, isListening } from "./agent-socket.ts";
import type { SiteContext } from "./context.ts";

/**
 * Opens the store of a site for a delivery. Where an agent has it, that is said, and how the agent is
 * asked for what a delivery was to do.
 *
 * @throws {Failure} `agent-running`; what `openStore` throws
 */
export function openStoreToDeliver(
  dataDir: string,
  { clock }: Pick<SiteContext, "clock">,
): Promise<DiskStore> {
  return unlessAgent(dataDir, () => openStore(dataDir, { clock }));
}

/**
 * Keeps the deliveries of a site to an agent that starts, until they are released.
 *
 * @throws {Failure} `agent-running`; what `reserveDeliveries` throws
 */
export async function reserveSite(
  dataDir: string,
  { clock }: Pick<SiteContext, "clock">,
): Promise<Disposable> {
  const lock = await unlessAgent(dataDir, () => reserveDeliveries(dataDir, { clock }));
  return { [Symbol.dispose]: () => lock.release() };
}

async function unlessAgent<T>(dataDir: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
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
