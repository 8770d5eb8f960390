import type { Clock } from "#base";
import { DEFAULT_PROJECT } from "#profile";
import { createRegistry, type RegistryServer, serveRegistry } from "#registry";
import type { DiskStore } from "#store";

/**
 * Serves a store to this machine, by plain http on a free port of loopback, until it is disposed of: for a
 * runtime that pulls, and for a proof. It takes nothing, and has what the site gives to everybody here.
 */
export function serveOnLoopback(store: DiskStore, clock: Clock): RegistryServer {
  const registry = createRegistry({ store, project: DEFAULT_PROJECT, isWritable: false });
  return serveRegistry({ registry, hostname: "127.0.0.1", port: 0, clock });
}
