import { createMemoryStore } from "#content";
import {
  repositoriesConformance,
  storeConformance,
  uploadsConformance,
} from "#content/conformance";

storeConformance("createMemoryStore()", async () => ({
  store: createMemoryStore(),
  async [Symbol.asyncDispose]() {},
}));

const open = async () => {
  const store = createMemoryStore();
  const { repositories, uploads } = store;
  return { store, repositories, uploads, async [Symbol.asyncDispose]() {} };
};
repositoriesConformance("createMemoryStore().repositories", open);
uploadsConformance("createMemoryStore().uploads", open);
