import { systemClock } from "#base";
import { createMemoryStore } from "#content";
import { createRegistry, serveRegistry } from "#registry";

/** Our own registry with nothing in it, which takes pushes, on a free port of loopback. */
export function startWritableRegistry(): { readonly address: string } & AsyncDisposable {
  const registry = createRegistry({ store: createMemoryStore() });
  return serveRegistry({ registry, hostname: "127.0.0.1", port: 0, clock: systemClock });
}
