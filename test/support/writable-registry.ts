import { systemClock } from "#base";
import { createMemoryStore, type MemoryStore } from "#content";
import { createRegistry, serveRegistry } from "#registry";

/** Our own registry, which takes pushes, on a free port of loopback; with nothing in it by default. */
export function startWritableRegistry(
  store: MemoryStore = createMemoryStore(),
): { readonly address: string } & AsyncDisposable {
  const registry = createRegistry({ store });
  return serveRegistry({ registry, hostname: "127.0.0.1", port: 0, clock: systemClock });
}
