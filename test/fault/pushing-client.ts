import { systemClock } from "#base";
import type { Fetcher } from "#content";
import { ANONYMOUS } from "#credential";
import { readDescriptor } from "#oci";
import { parseReference } from "#reference";
import { Remote } from "#remote";
import { type DiskStore, openStore } from "#store";

/**
 * A program that dies: `pushing-client.ts DATA_DIR REFERENCE BLOB BYTE` pushes a blob of the store, given
 * by its descriptor as JSON, and is killed by itself as soon as that byte of it was read.
 */
async function push(
  dataDir: string,
  reference: string,
  blob: string,
  killedAt: number,
): Promise<void> {
  await using store = await openStore(dataDir, { clock: systemClock });
  const remote = new Remote({
    clock: systemClock,
    random: Math.random,
    userAgent: "dray/test",
    proxy: {},
    trustedTokenHosts: [],
    helpers: { get: async () => undefined },
    lookupAddresses: async () => ["127.0.0.1"],
    pushSessions: store.pushSessions,
  });
  const { signal } = new AbortController();
  const target = remote.target(parseReference(reference), ANONYMOUS);
  const content = deadly(store, killedAt);
  const pushed = await target.pushBlob(readDescriptor(JSON.parse(blob), "the blob"), content, {
    signal,
  });
  console.log(pushed.outcome);
  remote.close();
}

/** Gives what the store has, and kills the process when the byte is reached. */
function deadly(store: DiskStore, killedAt: number): Fetcher {
  return {
    async fetch(descriptor, options) {
      const stream = await store.fetch(descriptor, options);
      let offset = options.range?.start ?? 0;
      const watch = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          offset += chunk.byteLength;
          if (offset > killedAt) process.kill(process.pid, "SIGKILL");
          controller.enqueue(chunk);
        },
      });
      return stream.pipeThrough(watch);
    },
  };
}

const [, , dataDir = "", reference = "", blob = "", killedAt = ""] = process.argv;
await push(dataDir, reference, blob, Number(killedAt));
