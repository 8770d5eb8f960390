import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#base";
import { storeConformance } from "#content/conformance";
import { openStore } from "#store";

storeConformance("openStore()", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "dray-store-"));
  const store = await openStore(dataDir, { clock: systemClock });
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true });
    },
  };
});
