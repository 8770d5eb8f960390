import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { TOOLS_CACHE } from "#test-support/tools-cache";
import lock from "../package-lock.json" with { type: "json" };
import { run } from "./step.ts";

/** A machine that we ship an executable for. */
export interface Target {
  /** Of the executable, as `dist/` has it. */
  readonly name: string;
  /** What `bun build --target` calls it. */
  readonly bunTarget: string;
  /** The npm package that holds Bun for it. */
  readonly runtime: string;
  /** `e_machine` of its ELF header, as `readelf --file-header` prints it. */
  readonly machine: string;
}

/** All of Linux that Bun 1.4.5 has a package for. That for x64 asks for no AVX: it runs on a Nehalem of 2008. */
export const TARGETS: readonly Target[] = [
  {
    name: "dray-linux-x64",
    bunTarget: "bun-linux-x64",
    runtime: "@oven/bun-linux-x64",
    machine: "Advanced Micro Devices X86-64",
  },
  {
    name: "dray-linux-x64-musl",
    bunTarget: "bun-linux-x64-musl",
    runtime: "@oven/bun-linux-x64-musl",
    machine: "Advanced Micro Devices X86-64",
  },
  {
    name: "dray-linux-arm64",
    bunTarget: "bun-linux-arm64",
    runtime: "@oven/bun-linux-aarch64",
    machine: "AArch64",
  },
  {
    name: "dray-linux-arm64-musl",
    bunTarget: "bun-linux-arm64-musl",
    runtime: "@oven/bun-linux-aarch64-musl",
    machine: "AArch64",
  },
];

/** One package of package-lock.json, as npm writes it. */
export interface LockedPackage {
  readonly version: string;
  /** `sha512-BASE64`, of the package's tarball. */
  readonly integrity: string;
  readonly license?: string;
}

/**
 * What package-lock.json says of a package at the top of node_modules.
 *
 * @throws {Error} when it is not there
 */
export function lockedPackage(name: string): LockedPackage {
  const packages: Readonly<Record<string, Partial<LockedPackage>>> = lock.packages;
  const { version, integrity, license } = packages[`node_modules/${name}`] ?? {};
  if (version === undefined || integrity === undefined) {
    throw new Error(`package-lock.json has no ${name}`);
  }
  return { version, integrity, ...(license === undefined ? {} : { license }) };
}

const CACHE = join(TOOLS_CACHE, "runtimes");

/**
 * Bun for another machine: what its npm package holds, compared with the digest in package-lock.json.
 * `bun build` would fetch it by itself and compare it with nothing of ours. Fetched once, then kept.
 *
 * @throws {Error} when the package registry can't be reached, or gave something else
 */
export async function runtimePath({ runtime }: Target): Promise<string> {
  const { version, integrity } = lockedPackage(runtime);
  const mark = createHash("sha256").update(integrity).digest("hex").slice(0, 12);
  const path = join(CACHE, `${runtime.replace("@oven/", "")}-${version}-${mark}`);
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!isThere) await fetchRuntime(`${runtime}@${version}`, integrity, path);
  return path;
}

async function fetchRuntime(specifier: string, integrity: string, path: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const scratch = await mkdtemp(join(CACHE, ".fetch-"));
  try {
    await expectSuccess(["npm", "pack", "--silent", `--pack-destination=${scratch}`, specifier]);
    const [tarball = ""] = [...new Bun.Glob("*.tgz").scanSync(scratch)];
    const bytes = await readFile(join(scratch, tarball));
    const found = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
    if (found !== integrity) {
      throw new Error(`Cannot use ${specifier}: its digest is ${found}, expected ${integrity}`);
    }
    await expectSuccess(["tar", "-xzf", join(scratch, tarball), "-C", scratch, "package/bin/bun"]);
    await chmod(join(scratch, "package", "bin", "bun"), 0o755);
    await rename(join(scratch, "package", "bin", "bun"), path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function expectSuccess(command: readonly string[]): Promise<void> {
  const { exitCode, output } = await run(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}:\n${output}`);
}
