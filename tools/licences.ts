import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ENTRY } from "./executable.ts";
import { BUN, ROOT, run, withScratch } from "./step.ts";
import { lockedPackage } from "./targets.ts";

/** An npm package that is inside of the executable. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** Of its tarball, as package-lock.json has it: `sha512-BASE64`. */
  readonly integrity: string;
  /** As the package declares it: an SPDX expression. */
  readonly license: string;
  /** The whole text of its licence file. */
  readonly licenceText: string;
}

/**
 * The packages whose code the bundler takes in, by name. What is installed and not bundled is not
 * shipped.
 *
 * @throws {Error} when one has no licence file: then it can't be shipped
 */
export async function bundledPackages(): Promise<readonly BundledPackage[]> {
  const names = new Set(
    (await bundledFiles()).flatMap(
      (path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
    ),
  );
  return await Promise.all([...names].sort().map(readPackage));
}

/** Every file that is in the bundle, relative to the checkout. */
export async function bundledFiles(): Promise<readonly string[]> {
  return await withScratch(async (scratch) => {
    const metafile = join(scratch, "meta.json");
    const { exitCode, output } = await run([
      ...[BUN, "build", "--target=bun", `--metafile=${metafile}`],
      ...[`--outdir=${scratch}`, ENTRY],
    ]);
    if (exitCode !== 0) throw new Error(`Cannot bundle:\n${output}`);
    const { inputs } = await Bun.file(metafile).json();
    return Object.keys(inputs);
  });
}

async function readPackage(name: string): Promise<BundledPackage> {
  const folder = join(ROOT, "node_modules", name);
  const { version, license } = await Bun.file(join(folder, "package.json")).json();
  const locked = lockedPackage(name);
  if (locked.version !== version) {
    throw new Error(`${name} is ${version} here and ${locked.version} in package-lock.json`);
  }
  const file = (await readdir(folder)).find((each) => /^licen[sc]e(?:\.(?:md|txt))?$/i.test(each));
  if (file === undefined || typeof license !== "string") {
    throw new Error(`Cannot ship ${name}: it has no licence, or no text of it`);
  }
  const licenceText = await readFile(join(folder, file), "utf8");
  return { name, version, integrity: locked.integrity, license, licenceText };
}

/** All licences that come with an executable, each whole: ours, those of the packages, Bun's. */
export async function licencesText(packages: readonly BundledPackage[]): Promise<string> {
  const own = (path: string) => readFile(join(ROOT, path), "utf8");
  const { version: bun } = lockedPackage("bun");
  const parts = [
    ["drayage (Apache-2.0)", await own("LICENSE")],
    ...packages.map(({ name, version, license, licenceText }) => [
      `${name} ${version} (${license})`,
      licenceText,
    ]),
    [`Bun ${bun} (MIT, and what it links)`, await own("tools/licences/bun.txt")],
    ["GNU Library General Public License 2", await own("tools/licences/LGPL-2.0.txt")],
    ["GNU Lesser General Public License 2.1", await own("tools/licences/LGPL-2.1.txt")],
  ];
  const rule = "=".repeat(78);
  return parts.map(([title, text]) => `${rule}\n${title}\n${rule}\n\n${text?.trim()}\n`).join("\n");
}
