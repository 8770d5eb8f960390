import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { commandStep, ROOT, type TestOptions, testStep } from "./step.ts";
import { sum, type Tally } from "./tally.ts";

/** More than there are cores: much of what tests of the store do is wait for the disk. */
const WORKERS = availableParallelism() + 1;

/**
 * The gate that every commit passes: format and lint, types, unit tests. It needs nothing but
 * `npm ci`, and takes seconds.
 *
 * @param options of the unit tests: how much to fuzz, and how long that may take
 */
export async function check(options: TestOptions = {}): Promise<Tally> {
  const checks = await Promise.all([
    commandStep("lint", ["biome", "check", "--error-on-warnings"]),
    commandStep("types", ["tsc"]),
    commandStep("page types", ["tsc", "--project", "src/daemon/page"]),
    testStep("unit", unitTests(), { workers: WORKERS, ...options }),
  ]);
  return sum(checks);
}

/** All tests but the folders of `test/` that need an executable or foreign programs. */
function unitTests(): string[] {
  const ownFiles = readdirSync(join(ROOT, "test")).filter((name) => name.endsWith(".test.ts"));
  return ["./src", "./tools", "./test/support", ...ownFiles.map((name) => `./test/${name}`)];
}

if (import.meta.main) {
  const { failed } = await check();
  process.exitCode = failed === 0 ? 0 : 1;
}
