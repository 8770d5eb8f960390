import { createMemoryRegistry } from "#content";
import { targetConformance } from "#content/conformance";

targetConformance("createMemoryRegistry()", async () => ({
  ...createMemoryRegistry(),
  async [Symbol.asyncDispose]() {},
}));
