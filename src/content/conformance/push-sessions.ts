import { describe, expect, test } from "bun:test";
import type { PushSession, PushSessions } from "#content";
import { sample } from "./sample.ts";

/** Opens sessions that hold none yet; disposing of it clears them away. */
export type OpenPushSessions = () => Promise<
  { readonly pushSessions: PushSessions } & AsyncDisposable
>;

const { digest } = sample("a layer", 10).descriptor;

const session: PushSession = {
  registry: "10.0.0.5:30003",
  repository: "spectro-images/docker.io/library/busybox",
  digest,
  location: "https://10.0.0.5:30003/v2/x/blobs/uploads/1?_state=a%2Fb%3D%3D&sig=%E2%9C%93+q",
  bytes: 12_345_678_901,
  atMs: Date.UTC(2024, 1, 29, 12),
};

/** Those that differ from {@link session} in one part of what tells sessions from each other. */
const others: readonly PushSession[] = [
  { ...session, registry: "10.0.0.5:5000", location: "https://10.0.0.5:5000/other-host" },
  { ...session, repository: "spectro-images", location: "https://10.0.0.5:30003/other-repository" },
  {
    ...session,
    digest: sample("a layer", 10, "sha512").descriptor.digest,
    location: "https://10.0.0.5:30003/other-digest",
  },
];

/** Declares the tests that all {@link PushSessions} must pass. */
export function pushSessionsConformance(name: string, open: OpenPushSessions): void {
  describe(`${name} as push sessions`, () => {
    test("give back what they were told, to the byte", async () => {
      await using opened = await open();
      const { pushSessions } = opened;
      expect(await found(pushSessions, session)).toBeUndefined();
      await pushSessions.keep(session);
      expect(await found(pushSessions, session)).toEqual(session);
    });

    test("tell registries, repositories and digests from each other", async () => {
      await using opened = await open();
      const { pushSessions } = opened;
      await pushSessions.keep(session);
      for (const other of others) expect(await found(pushSessions, other)).toBeUndefined();
      for (const other of others) await pushSessions.keep(other);
      for (const one of [session, ...others]) expect(await found(pushSessions, one)).toEqual(one);
    });

    test("keep the latest of a blob", async () => {
      await using opened = await open();
      const { pushSessions } = opened;
      const later = {
        ...session,
        location: "https://10.0.0.5/2",
        bytes: 0,
        atMs: session.atMs + 1,
      };
      await pushSessions.keep(session);
      await pushSessions.keep(later);
      expect(await found(pushSessions, session)).toEqual(later);
    });

    test("forget one and no other, also one that they do not have", async () => {
      await using opened = await open();
      const { pushSessions } = opened;
      for (const one of [session, ...others]) await pushSessions.keep(one);
      for (const _ of ["there", "gone"]) {
        await pushSessions.forget(session.registry, session.repository, session.digest);
        expect(await found(pushSessions, session)).toBeUndefined();
      }
      for (const other of others) expect(await found(pushSessions, other)).toEqual(other);
    });

    test("take many at once", async () => {
      await using opened = await open();
      const { pushSessions } = opened;
      const many = Array.from({ length: 50 }, (_, i) => ({ ...session, repository: `app/${i}` }));
      await Promise.all(many.map((one) => pushSessions.keep(one)));
      for (const one of many) expect(await found(pushSessions, one)).toEqual(one);
    });
  });
}

function found(
  sessions: PushSessions,
  { registry, repository, digest: ofBlob }: PushSession,
): Promise<PushSession | undefined> {
  return sessions.find(registry, repository, ofBlob);
}
