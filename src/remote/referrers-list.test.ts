import { expect, test } from "bun:test";
import { type Clock, systemClock } from "#base";
import { createMemoryRegistry, digestOf, fetchVerified } from "#content";
import { OCI_INDEX, OCI_MANIFEST, parseDocument, referrersTag } from "#oci";
import { failureOf, signal } from "#test-support/remote-world";
import { type Referrer, ReferrersList, type ReferrersListOptions } from "./referrers-list.ts";
import { SerialTasks } from "./serial-tasks.ts";

const EMPTY = digestOf(new Uint8Array());
const SUBJECT = { mediaType: OCI_MANIFEST, digest: EMPTY, size: 0 };
const TAG = referrersTag(SUBJECT.digest);

/** An index without anything in it, which needs nothing to be there before it. */
function referrerOf(name: string): Referrer {
  const json = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [], subject: SUBJECT };
  const bytes = new TextEncoder().encode(JSON.stringify({ ...json, annotations: { name } }));
  return {
    descriptor: { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.byteLength },
    document: parseDocument(bytes, OCI_INDEX),
    bytes,
  };
}

/** A repository whose registry gives no ETag, and agents that each keep the list in it. */
function openRepository() {
  const source = createMemoryRegistry().target("team/app");
  const put: ReferrersListOptions["put"] = (tag, descriptor, bytes) =>
    source.pushManifest(descriptor, bytes, { signal, tag });
  return {
    source,
    put,
    async pushed(name: string): Promise<Referrer> {
      const referrer = referrerOf(name);
      await source.pushManifest(referrer.descriptor, referrer.bytes, { signal });
      return referrer;
    },
    agent: (own: Partial<ReferrersListOptions> = {}) =>
      new ReferrersList({
        clock: systemClock,
        source,
        serial: new SerialTasks(),
        repository: "127.0.0.1:5000/team/app",
        etag: async () => undefined,
        put,
        ...own,
      }),
    async listed(): Promise<readonly string[]> {
      const list = await source.resolve(TAG, { signal });
      const document = parseDocument(await fetchVerified(source, list, { signal }), OCI_INDEX);
      return document.kind === "index" ? document.manifests.map(({ digest }) => digest) : [];
    },
  };
}

test("an entry that another agent wrote over, having read the old list, is written again", async () => {
  const { agent, put, listed, pushed } = openRepository();
  const [ours, theirs] = [await pushed("ours"), await pushed("theirs")];
  const { promise: theyRead, resolve: haveRead } = Promise.withResolvers<void>();
  const { promise: weWait, resolve: waiting } = Promise.withResolvers<void>();
  const { promise: theyWrote, resolve: haveWritten } = Promise.withResolvers<void>();
  const clock: Clock = {
    ...systemClock,
    sleep() {
      waiting();
      return theyWrote;
    },
  };
  const us = agent({
    clock,
    async put(...list) {
      await theyRead;
      await put(...list);
    },
  }).add(SUBJECT.digest, ours, signal);
  const them = agent({
    async put(...list) {
      haveRead();
      // Over what we wrote: while we wait to look again, or else when we are through.
      await Promise.race([weWait, us]);
      await put(...list);
      haveWritten();
    },
  }).add(SUBJECT.digest, theirs, signal);
  await Promise.all([us, them]);
  const digests = [ours, theirs].map(({ descriptor }) => descriptor.digest);
  expect((await listed()).toSorted()).toEqual(digests.toSorted());
});

test("an entry that never stays on the list ends in a failure, not in a loop", async () => {
  let writes = 0;
  const us = openRepository().agent({
    async put() {
      writes += 1;
    },
  });
  const failure = await failureOf(us.add(SUBJECT.digest, referrerOf("ours"), signal));
  expect([failure.code, writes]).toEqual(["content-changed", 17]);
  expect(failure.message).toContain("is not on it");
});

test("an entry that is on the list costs no write", async () => {
  const { agent, put, pushed } = openRepository();
  const ours = await pushed("ours");
  let writes = 0;
  const counted: ReferrersListOptions["put"] = (...list) => {
    writes += 1;
    return put(...list);
  };
  for (let i = 0; i < 2; i += 1) {
    await agent({ put: counted }).add(SUBJECT.digest, ours, signal);
  }
  expect(writes).toBe(1);
});
