import { createHash } from "node:crypto";
import { copyFile, link, mkdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { build, ENTRY, EXECUTABLE, origin } from "./executable.ts";
import { bundledPackages, licencesText } from "./licences.ts";
import { billOfMaterials, type ShippedFile } from "./sbom.ts";
import { ROOT } from "./step.ts";
import { TARGETS, type Target } from "./targets.ts";

/** Files of the checkout that are shipped as they are: what `install.sh` looks for beside itself, and what is laid in by hand. */
const COMPANIONS = [
  "install.sh",
  "deploy/drayage.service",
  "deploy/drayage.service.d/hand-over.conf",
  "deploy/site.example.yaml",
  "deploy/alerts.yaml",
  "deploy/grafana-dashboard.json",
];

/** One executable of a release. */
export interface ReleasedExecutable extends ShippedFile {
  readonly target: Target;
  readonly sizeBytes: number;
}

/** What {@link release} made. */
export interface Release {
  readonly version: string;
  readonly revision: string;
  readonly executables: readonly ReleasedExecutable[];
}

/**
 * Makes all that is given to people: an executable for each machine, what `install.sh` needs beside it,
 * licences, bill of materials, and SHA256SUMS over all of these. The same commit gives the same bytes.
 */
export async function release(
  folder: string = join(ROOT, "dist"),
  targets: readonly Target[] = TARGETS,
): Promise<Release> {
  await mkdir(folder, { recursive: true });
  const from = await origin();
  const executables: ReleasedExecutable[] = [];
  for (const target of targets) {
    const path = join(folder, target.name);
    const { sizeBytes } = await build(ENTRY, path, target);
    executables.push({ target, sizeBytes, name: target.name, sha256: await sha256(path) });
  }
  const packages = await bundledPackages();
  const names = executables.map(({ name }) => name);
  for (const companion of COMPANIONS) {
    await copyFile(join(ROOT, companion), join(folder, basename(companion)));
    names.push(basename(companion));
  }
  await writeFile(join(folder, "LICENSES.txt"), await licencesText(packages));
  const bill = billOfMaterials(
    from,
    packages,
    executables.map(({ name, sha256 }) => ({ name, sha256 })),
  );
  await writeFile(join(folder, "sbom.spdx.json"), `${JSON.stringify(bill, null, 2)}\n`);
  names.push("LICENSES.txt", "sbom.spdx.json");
  const sums = await Promise.all(
    names.sort().map(async (name) => `${await sha256(join(folder, name))}  ${name}\n`),
  );
  await writeFile(join(folder, "SHA256SUMS"), sums.join(""));
  for (const name of [...names, "SHA256SUMS"]) {
    await utimes(join(folder, name), from.date, from.date);
  }
  return { version: from.version, revision: from.revision, executables };
}

/** What the tests drive, `dist/dray`, is the released file for this machine. */
export async function linkOwnExecutable(folder: string = join(ROOT, "dist")): Promise<void> {
  const own = join(folder, `dray-linux-${process.arch}`);
  if ((await stat(own).catch(() => undefined)) === undefined) return;
  await rm(EXECUTABLE, { force: true });
  await link(own, EXECUTABLE);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of Bun.file(path).stream()) hash.update(chunk);
  return hash.digest("hex");
}
