import { expect, test } from "bun:test";
import { join } from "node:path";
import { type Digest, parseDigest } from "#oci";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";

const clock = createManualClock();
const NAME = "quay.io/team/app:v1";
const OTHER: Digest = parseDigest(`sha256:${"0".repeat(64)}`);

test("when an image was asked about is known to the next process, as long as its name stands for it", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  {
    await using store = await openStore(dataDir, { clock });
    const { digest } = await buildImage(store, NAME, { seed: "a" });
    expect(await store.attachmentChecks.last(NAME, digest)).toBeUndefined();
    await store.attachmentChecks.note(NAME, OTHER, 6);
    await store.attachmentChecks.note(NAME, digest, 7);
    expect(await store.attachmentChecks.last(NAME, OTHER)).toBeUndefined();
  }
  await using store = await openStore(dataDir, { clock, readOnly: true });
  const root = await store.lookup(NAME);
  expect(await store.attachmentChecks.last(NAME, root?.digest ?? OTHER)).toBe(7);
  const noting = store.attachmentChecks.note(NAME, OTHER, 8);
  await expect(noting).rejects.toMatchObject({ code: "store-read-only" });
});

test("names that are gone are forgotten", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(join(folder.path, "data"), { clock });
  await store.attachmentChecks.note("quay.io/gone:v1", OTHER, 7);
  const { digest } = await buildImage(store, NAME, { seed: "a" });
  await store.attachmentChecks.note(NAME, digest, 8);
  expect(await store.attachmentChecks.last("quay.io/gone:v1", OTHER)).toBeUndefined();
  expect(await store.attachmentChecks.last(NAME, digest)).toBe(8);
});
