import { expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";

const NAME = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const CHART = "docker.io/library/busybox:latest";
const ROOTLESS = process.geteuid?.() === 0 ? [] : ["--rootless"];

/** A store with an image of two platforms and one of Docker's types. */
async function site() {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  await using store = await openStore(dataDir, { clock: systemClock });
  await buildImage(store, NAME, {
    seed: "os",
    platforms: ["linux/amd64", "linux/arm64"],
    layers: 3,
  });
  await buildImage(store, CHART, { seed: "bb", docker: true });
  return Object.assign(folder, { dataDir, at: (name: string) => join(folder.path, name) });
}

test("an image of the store is unpacked by its name, for the platform asked for", async () => {
  await using here = await site();
  const words = ["-d", here.dataDir, "--platform", "linux/arm64", "-o", "json", ...ROOTLESS];
  const { exitCode, out } = await dray(["unpack", NAME, here.at("root"), ...words]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    ...{ apiVersion: "drayage/v1", kind: "Unpacking", image: NAME },
    ...{ folder: here.at("root"), layers: 3, entries: 5, leftOut: [] },
  });
  expect(readdirSync(here.at("root/opt")).sort()).toEqual(["layer-0", "layer-1", "layer-2"]);
  expect(lstatSync(here.at("root/opt/layer-0")).mode & 0o777).toBe(0o755);
  const short = await dray([
    "unpack",
    "busybox",
    here.at("busybox"),
    "-d",
    here.dataDir,
    "--platform",
    "linux/amd64",
    ...ROOTLESS,
  ]);
  expect(short.out).toContain(`Unpacked ${CHART} to ${here.at("busybox")}: 4 files of 2 layers`);
});

test("what can't be unpacked is told, and nothing is left", async () => {
  await using here = await site();
  const unpack = (...words: string[]) =>
    dray(["unpack", ...words, "-d", here.dataDir, ...ROOTLESS]);
  const unknown = await unpack(
    "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r2",
    here.at("root"),
  );
  expect(unknown).toMatchObject({ exitCode: 2 });
  expect(unknown.err).toContain(`Did you mean "${NAME}"`);
  expect((await unpack(NAME, here.at("root"), "--platform", "linux/s390x")).err).toContain(
    "platform-missing",
  );
  expect(
    (await unpack(NAME, here.at("root"), "--platform", "linux/amd64", "--max-size", "1kB")).err,
  ).toContain("unpack-full");
  expect((await unpack(NAME, here.dataDir, "--platform", "linux/amd64")).err).toContain(
    "folder-taken",
  );
  expect(readdirSync(here.path)).toEqual(["data"]);
  expect(existsSync(here.at("root"))).toBe(false);
});

test("an image of the store is exported as a layout and as an archive", async () => {
  await using here = await site();
  const words = ["-d", here.dataDir, "--platform", "linux/amd64"];
  const layout = await dray(["export", NAME, "--to", `oci:${here.at("layout")}`, ...words]);
  expect(layout).toMatchObject({ exitCode: 0 });
  expect(layout.out).toMatch(/5 blobs, .*, 5 shared with the store/);
  const [blob = ""] = readdirSync(here.at("layout/blobs/sha256"));
  expect(statSync(here.at(`layout/blobs/sha256/${blob}`)).ino).toBe(
    statSync(here.at(`data/blobs/sha256/${blob}`)).ino,
  );
  const copied = await dray(["export", NAME, "--to", `oci:${here.at("copy")}`, "--copy", ...words]);
  expect(copied.out).not.toContain("shared");
  const archive = await dray([
    "export",
    NAME,
    "--to",
    `oci-archive:${here.at("os.tar")}`,
    ...words,
  ]);
  expect(archive.exitCode).toBe(0);
  expect(readFileSync(here.at("os.tar")).subarray(0, 10).toString()).toBe("oci-layout");
  const wrong = await dray(["export", NAME, "--to", here.at("os.tar"), ...words]);
  expect(wrong).toMatchObject({ exitCode: 2 });
});
