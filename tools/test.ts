import { join } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { build, EXECUTABLE } from "./build.ts";
import { check } from "./check.ts";
import { ROOT, run, type StepResult, step, testStep } from "./step.ts";
import { closingLine, NO_TESTS, sum, type Tally } from "./tally.ts";

const MINUTE_MS = 60_000;

/** Tests that drive the executable find it here, and must not fall back to the source. */
const EXECUTABLE_ENV = { DRAY: EXECUTABLE };

/** What `--full` asks of the chaos suite; the pushes took 15 minutes and the pulls 8, on two busy cores. */
const MUCH_CHAOS = { CHAOS_KILLS: "200", CHAOS_PUSHES: "1000", CHAOS_BUSY: "full" };

/**
 * Cases of each property of a parser. With other work on the same two cores a single property took more
 * than two minutes, and all of it more than eight.
 */
const MUCH_FUZZ = {
  env: { FUZZ_RUNS: "10000" },
  testLimitMs: 10 * MINUTE_MS,
  timeLimitMs: 30 * MINUTE_MS,
};

/**
 * A folder that takes so long hangs: single tests give up long before. With much other work on the same two
 * cores a single file of e2e took two and a half minutes.
 */
const FOLDER_LIMIT_MS = 60 * MINUTE_MS;

type Environment = Readonly<Record<string, string>>;

/** Foreign programs without which the real suites would prove nothing, and what brings them. */
const NEEDED_PROGRAMS: Readonly<Record<string, string>> = {
  "docker-registry": "docker-registry",
  skopeo: "skopeo",
  htpasswd: "apache2-utils",
  openssl: "openssl",
};

/**
 * Everything that can be tested here: the gate, the executable, disks that fail, deliveries; with
 * `--real` also foreign registries and clients, with `--full` all of that and what takes long, for which
 * it brings the foreign programs itself. The last line is the sum.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { real: { type: "boolean" }, full: { type: "boolean" } },
  });
  const parts = [await check(MUCH_FUZZ), await step("build", buildStep)];
  parts.push(await step("executable", executableStep));
  parts.push(await folder("fault"));
  parts.push(await folder("e2e"));
  parts.push(await folder("chaos", values.full ? MUCH_CHAOS : {}, 120 * MINUTE_MS));
  parts.push(await folder("browser"));
  if (values.full) parts.push(await step("install", installStep));
  if (values.real || values.full) {
    parts.push(await step("programs", programsStep));
    parts.push(await folder("real"));
    parts.push(await folder("release"));
  }
  const total = sum(parts);
  console.log(closingLine(total));
  process.exitCode = total.failed === 0 ? 0 : 1;
}

async function folder(
  name: string,
  more: Environment = {},
  timeLimitMs: number = FOLDER_LIMIT_MS,
): Promise<Tally> {
  const env = { ...EXECUTABLE_ENV, ...more };
  return await testStep(name, [`./test/${name}`], { timeLimitMs, env });
}

async function buildStep(): Promise<StepResult> {
  const { sizeBytes, version, revision } = await build();
  const note = `${version} (${revision}), ${(sizeBytes / 1024 ** 2).toFixed(1)} MiB`;
  return { tally: NO_TESTS, output: "", note };
}

/** What the compiled file alone could break: that it starts, knows its version and makes a plan. */
async function executableStep(): Promise<StepResult> {
  const fixture = join(ROOT, "test", "fixtures", "edge-rke2");
  const inputs = [
    `--profile=${join(fixture, "profile.yaml")}`,
    `--user-data=${join(fixture, "user-data-external.yaml")}`,
  ];
  const problems = [
    await expectOutput([EXECUTABLE, "--version"], manifest.version),
    await expectOutput([EXECUTABLE, "plan", ...inputs, "--output=json"], '"provider"'),
  ].filter((problem) => problem !== undefined);
  const tally = { passed: 2 - problems.length, failed: problems.length, skipped: 0 };
  return { tally, output: problems.join("\n") };
}

async function expectOutput(
  command: readonly string[],
  expected: string,
): Promise<string | undefined> {
  const { exitCode, output } = await run(command);
  if (exitCode === 0 && output.includes(expected)) return undefined;
  return `${command.join(" ")} ended with ${exitCode}, expected 0 and ${expected}:\n${output}`;
}

/** Builds among others containerd and cosign: a quarter of an hour on two cores, once for a machine. */
async function installStep(): Promise<StepResult> {
  const command = [join(ROOT, "tools", "install-programs.sh"), "--heavy"];
  const { exitCode, output } = await run(command, { timeLimitMs: 60 * MINUTE_MS });
  const folders = output.trimEnd().split("\n").at(-1) ?? "";
  process.env["PATH"] = `${folders}:${process.env["PATH"] ?? ""}`;
  return {
    tally: { ...NO_TESTS, failed: exitCode === 0 ? 0 : 1 },
    output: exitCode === 0 ? "" : output,
  };
}

async function programsStep(): Promise<StepResult> {
  const missing = Object.keys(NEEDED_PROGRAMS).filter((program) => Bun.which(program) === null);
  const optional = Bun.which("crane") === null ? "crane is not here: its tests are left out" : "";
  if (missing.length === 0) return { tally: NO_TESTS, output: "", note: optional };
  const packages = missing.map((program) => NEEDED_PROGRAMS[program]).join(" ");
  const output = `Not installed: ${missing.join(", ")}. Run \`apt-get install ${packages}\`, or .ci/run, which does.`;
  return { tally: { ...NO_TESTS, failed: missing.length }, output };
}

await main();
