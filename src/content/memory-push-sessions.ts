import type { PushSession, PushSessions } from "./target.ts";

/** Makes {@link PushSessions} that live as long as the process. */
export function createMemoryPushSessions(): PushSessions {
  const sessions = new Map<string, PushSession>();
  // No part of it has a space in it.
  const keyOf = (...blob: [registry: string, repository: string, digest: string]) => blob.join(" ");
  return {
    find: async (registry, repository, digest) => sessions.get(keyOf(registry, repository, digest)),
    async keep(session) {
      sessions.set(keyOf(session.registry, session.repository, session.digest), { ...session });
    },
    async forget(registry, repository, digest) {
      sessions.delete(keyOf(registry, repository, digest));
    },
  };
}
