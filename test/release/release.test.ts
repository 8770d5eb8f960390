import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import lock from "../../package-lock.json" with { type: "json" };
import { build, ENTRY, origin } from "../../tools/executable.ts";
import { bundledFiles, bundledPackages } from "../../tools/licences.ts";
import { release } from "../../tools/release.ts";
import { ROOT, run } from "../../tools/step.ts";
import { type LockedPackage, TARGETS } from "../../tools/targets.ts";

// Four executables of 110 MB are built, and read again.
setDefaultTimeout(300_000);

const FIXTURE = join(import.meta.dir, "..", "fixtures", "edge-rke2");
const OWN = `dray-linux-${process.arch}`;

let folder = "";
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-release-"));
  await release(folder);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function sha256(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

test("SHA256SUMS names every file of the release, and sha256sum agrees", async () => {
  const { exitCode, output } = await run(["sh", "-c", `cd "${folder}" && sha256sum -c SHA256SUMS`]);
  expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
  const named = output
    .trim()
    .split("\n")
    .map((line) => line.replace(/: OK$/, ""));
  const files = (await readdir(folder)).filter((name) => name !== "SHA256SUMS");
  expect(named.sort()).toEqual(files.sort());
});

test.each(TARGETS.map((target) => [target.name, target] as const))(
  "%s is for its machine and its C library",
  async (name, { machine }) => {
    const { output } = await run(["readelf", "--file-header", "--program-headers", at(name)]);
    expect(output).toContain(`Machine:                           ${machine}`);
    const loader = /interpreter: ([^\]]+)/.exec(output)?.[1] ?? "";
    expect(loader.includes("musl")).toBe(name.endsWith("-musl"));
    expect(((await stat(at(name))).mode & 0o111) !== 0).toBe(true);
  },
);

test("the same commit gives the same bytes", async () => {
  for (const target of TARGETS.filter(({ name }) => name === OWN || name.includes("arm64"))) {
    const again = at(`again/${target.name}`);
    await build(ENTRY, again, target);
    expect(await sha256(again)).toBe(await sha256(at(target.name)));
    expect((await stat(again)).mtimeMs).toBe((await stat(at(target.name))).mtimeMs);
  }
  await rm(at("again"), { recursive: true });
});

test("SOURCE_DATE_EPOCH is the date of what is built", async () => {
  const script = `import { origin } from "${join(ROOT, "tools", "executable.ts")}"; console.log((await origin()).date.toISOString())`;
  const { output } = await run(["bun", "-e", script], { env: { SOURCE_DATE_EPOCH: "1700000000" } });
  expect(output.trim()).toBe("2023-11-14T22:13:20.000Z");
});

test("the executable knows its version and holds what it needs to plan", async () => {
  const { version } = await origin();
  expect((await run([at(OWN), "--version"])).output).toBe(`${version}\n`);
  const plan = await run([
    ...[at(OWN), "plan", "--output=json", `--profile=${join(FIXTURE, "profile.yaml")}`],
    `--user-data=${join(FIXTURE, "user-data-external.yaml")}`,
  ]);
  expect(plan).toMatchObject({ exitCode: 0, output: expect.stringContaining('"kind": "Plan"') });
});

/** Debian's packages qemu-user-static, libc6-arm64-cross and libstdc++6-arm64-cross. */
const ARM64_SYSTEM = "/usr/aarch64-linux-gnu";
const CAN_RUN_ARM64 =
  process.arch === "arm64" ||
  (Bun.which("qemu-aarch64-static") !== null &&
    (await stat(ARM64_SYSTEM).catch(() => undefined)) !== undefined);

test.skipIf(!CAN_RUN_ARM64)("the executable for arm64 runs on one (qemu)", async () => {
  const emulator = process.arch === "arm64" ? [] : ["qemu-aarch64-static", "-L", ARM64_SYSTEM];
  const { version } = await origin();
  const start = [...emulator, at("dray-linux-arm64")];
  expect((await run([...start, "--version"])).output).toBe(`${version}\n`);
  const plan = await run([
    ...[...start, "plan", "--output=json", `--profile=${join(FIXTURE, "profile.yaml")}`],
    `--user-data=${join(FIXTURE, "user-data-external.yaml")}`,
  ]);
  expect(plan).toMatchObject({ exitCode: 0, output: expect.stringContaining('"kind": "Plan"') });
});

test.skipIf(process.arch !== "x64" || Bun.which("qemu-x86_64-static") === null)(
  "the executable for x64 runs on a processor without AVX (qemu)",
  async () => {
    const { version } = await origin();
    const start = ["qemu-x86_64-static", "-cpu", "Nehalem", at("dray-linux-x64")];
    expect((await run([...start, "--version"])).output).toContain(`${version}\n`);
  },
);

describe("what is inside", () => {
  test("LICENSES.txt has the whole licence of each package that is bundled", async () => {
    const text = await readFile(at("LICENSES.txt"), "utf8");
    const packages = await bundledPackages();
    const names = packages.map(({ name }) => name);
    for (const each of ["yaml", "commander", "smol-toml", "@grpc/grpc-js", "protobufjs"]) {
      expect(names).toContain(each);
    }
    for (const { name, version, licenceText } of packages) {
      expect(text).toContain(`\n${name} ${version} (`);
      expect(text).toContain(licenceText.trim());
    }
    expect(text).toContain("\nBun 1.4.5 (");
    expect(text).toContain("GNU LESSER GENERAL PUBLIC LICENSE");
  });

  test("each file of the bundle is ours or of a package that is named", async () => {
    const names = new Set((await bundledPackages()).map(({ name }) => name));
    const strange = (await bundledFiles()).filter((path) => {
      const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
      return name === undefined ? !/^(?:src\/|package\.json$)/.test(path) : !names.has(name);
    });
    expect(strange).toEqual([]);
  });

  test("the bill of materials is SPDX 2.3, and its digests are those of the lockfile", async () => {
    const bill = JSON.parse(await readFile(at("sbom.spdx.json"), "utf8"));
    expect(bill).toMatchObject({ spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0" });
    expect(bill.creationInfo.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const ids = bill.packages.map(({ SPDXID }: { SPDXID: string }) => SPDXID);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
    for (const { spdxElementId, relatedSpdxElement } of bill.relationships) {
      for (const id of [spdxElementId, relatedSpdxElement]) {
        expect(["SPDXRef-DOCUMENT", ...ids]).toContain(id);
      }
    }
    const locked: Readonly<Record<string, Partial<LockedPackage>>> = lock.packages;
    for (const { name, checksums, externalRefs } of bill.packages) {
      const [checksum] = checksums;
      if (checksum.algorithm === "SHA256") {
        expect(checksum.checksumValue).toBe(await sha256(at(name)));
      } else {
        const base64 = Buffer.from(checksum.checksumValue, "hex").toString("base64");
        expect(locked[`node_modules/${name}`]?.integrity).toBe(`sha512-${base64}`);
        expect(externalRefs[0].referenceLocator).toStartWith(
          `pkg:npm/${name.replace("@", "%40")}@`,
        );
      }
    }
    const bundled = (await bundledPackages()).map(({ name }) => name);
    expect(bill.packages.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining([...bundled, ...TARGETS.flatMap((each) => [each.name, each.runtime])]),
    );
  });
});
