import { createMemoryStore } from "#content";
import { storeConformance } from "#content/conformance";

storeConformance("createMemoryStore()", async () => ({
  store: createMemoryStore(),
  async [Symbol.asyncDispose]() {},
}));
