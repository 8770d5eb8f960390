import { createMemoryPushSessions, createMemoryStore } from "#content";
import {
  pushSessionsConformance,
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
pushSessionsConformance("createMemoryPushSessions()", async () => ({
  pushSessions: createMemoryPushSessions(),
  async [Symbol.asyncDispose]() {},
}));
