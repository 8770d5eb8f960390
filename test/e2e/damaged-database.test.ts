import { expect, test } from "bun:test";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { startRegistryProgram } from "#test-support/serving-program";

const NAME = "quay.io/calico/node";

test("a registry sets a damaged database aside, and serves all that was delivered", async () => {
  await using folder = await temporaryFolder();
  const images = SAMPLE_IMAGES.map((name) => [`spectro-images/${name}`, { seed: name }] as const);
  await using source = await startLoopbackRegistry(join(folder.path, "source"), {
    images: Object.fromEntries(images),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, source.address);
  const dataDir = join(folder.path, "store");
  const deliver = () =>
    dray(["deliver", ...args, `--data-dir=${dataDir}`, "--platform=linux/amd64"]);
  expect(await deliver()).toMatchObject({ exitCode: 0 });

  await writeFile(join(dataDir, "drayage.db"), "no database ".repeat(1000));
  // It may hold all pages, and then nothing is lost.
  await rm(join(dataDir, "drayage.db-wal"));
  {
    // The link may be down: what is here is served without a delivery.
    await using registry = await startRegistryProgram(dataDir);
    const tags = await fetch(`http://${registry.address}/v2/${NAME}/tags/list`);
    expect(await tags.json()).toEqual({ name: NAME, tags: ["v3.27.0"] });
    expect(await readdir(join(dataDir, "quarantine"))).toEqual(["drayage.db"]);
  }
  const asked = source.requests.length;
  expect(await deliver()).toMatchObject({ exitCode: 0 });
  const again = source.requests.slice(asked).filter(({ path }) => path.includes("/blobs/"));
  expect(again).toEqual([]);
  const journal = await dray(["journal", `--data-dir=${dataDir}`]);
  expect(journal.out).toContain(
    "was damaged (file is not a database) and lies in quarantine/drayage.db",
  );
});
