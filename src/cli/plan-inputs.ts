import { type Command, InvalidArgumentError } from "commander";
import { Failure, Findings, isFailure, type Place } from "#base";
import {
  type DockerConfig,
  dockerConfigFiles,
  lookupDockerConfig,
  parseDockerConfig,
} from "#credential";
import { type DockerCredentials, makePlan, type Plan } from "#plan";
import { type ClusterInputs, isProblem, readClusterInputs } from "#profile";
import type { CliContext } from "./context.ts";

/** Options by which every planning command is told what to read. */
export interface PlanOptions {
  readonly profile?: readonly string[];
  readonly userData?: string;
  readonly site?: string;
  readonly images?: readonly string[];
  readonly vars?: readonly string[];
  readonly var?: readonly (readonly [string, string])[];
  readonly dockerConfig?: boolean | string;
}

/** Adds the options of {@link PlanOptions} to a command. */
export function addPlanOptions(command: Command): Command {
  return command
    .option(
      "-p, --profile <file>",
      "cluster profile, JSON or YAML; may be repeated; - is standard input",
      append,
    )
    .option("-u, --user-data <file>", "#cloud-config file of the host")
    .option("-s, --site <file>", "site file")
    .option("--var <name=value>", "a profile variable or macro; may be repeated", appendVariable)
    .option("--vars <file>", "file of variables, name: value a line; may be repeated", append)
    .option("--images <file>", "further images, one reference a line; may be repeated", append)
    .option("--docker-config [file]", "let Docker's configuration give credentials");
}

/** Collects the values of an option that may be repeated. */
export function append(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

function appendVariable(value: string, previous: PlanOptions["var"] = []): PlanOptions["var"] {
  const equals = value.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Expected name=value, e.g. --var site_tag=demo.");
  return [...previous, [value.slice(0, equals), value.slice(equals + 1)]];
}

/** Bytes per second in a unit, as in `link.rate` of the site file. */
const RATE_UNITS: Readonly<Record<string, number>> = {
  ...{ "": 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 },
  ...{ bit: 1 / 8, kbit: 125, Mbit: 125e3, Gbit: 125e6 },
};

/** Reads the speed of a link in bytes per second: `2500000`, `2.5MB`, `20Mbit`, `2.5MB/s`. */
export function parseRate(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)(?:\/s)?$/.exec(text) ?? [];
  const rate = Number(number) * (RATE_UNITS[unit] ?? Number.NaN);
  if (rate > 0 && Number.isFinite(rate)) return rate;
  throw new InvalidArgumentError("Expected bytes or bits per second, e.g. 2.5MB or 20Mbit.");
}

/** A plan with what it was made from. */
export interface Planned {
  readonly plan: Plan;
  readonly inputs: ClusterInputs;
}

/** Reads all inputs and plans. What is wrong with the inputs stands in the plan's faults. */
export function planInputs(options: PlanOptions, context: CliContext): Planned {
  refuseTwoStdins(options);
  const findings = new Findings();
  const names = {
    profiles: options.profile ?? [],
    ...(options.userData === undefined ? {} : { userData: options.userData }),
    ...(options.site === undefined ? {} : { site: options.site }),
    images: options.images ?? [],
    vars: options.vars ?? [],
    variables: new Map(options.var ?? []),
  };
  const inputs = readClusterInputs(names, context.files, findings);
  const docker = dockerCredentials(
    options.dockerConfig ?? inputs.site.dockerConfig,
    options.dockerConfig === undefined ? inputs.site.dockerConfigAt : undefined,
    context,
    findings,
  );
  return { plan: makePlan(inputs, findings, docker), inputs };
}

function refuseTwoStdins({
  profile = [],
  userData,
  site,
  images = [],
  vars = [],
}: PlanOptions): void {
  const names = [...profile, userData, site, ...images, ...vars].filter((name) => name === "-");
  if (names.length < 2) return;
  throw new Failure({
    code: "usage",
    message: "Cannot read standard input twice: - is given for more than one file",
    hint: "Give all files but one by name",
  });
}

/** Nothing comes from Docker's configuration unless the person said so. */
function dockerCredentials(
  wanted: boolean | string,
  namedAt: Place | undefined,
  { files, env, home }: CliContext,
  findings: Findings,
): DockerCredentials {
  if (wanted === false) return () => undefined;
  const candidates = typeof wanted === "string" ? [wanted] : dockerConfigFiles(env, home);
  const configs = candidates.flatMap((file): DockerConfig[] => {
    const bytes = files.read(file);
    if (isProblem(bytes) && bytes.code === "input-missing" && wanted === true) return [];
    try {
      if (isProblem(bytes)) throw unreadable(file, bytes.message);
      return [parseDockerConfig(new TextDecoder().decode(bytes), file)];
    } catch (error) {
      if (!isFailure(error)) throw error;
      const place = isProblem(bytes) ? namedAt : undefined;
      findings.fault(place ?? wholeFile(file), error.code, error.message, error.hint);
      return [];
    }
  });
  return (source) => {
    for (const config of configs) {
      const credential = lookupDockerConfig(config, source);
      if (credential !== undefined) return credential;
    }
    return undefined;
  };
}

function wholeFile(file: string): Place {
  return { file, line: 1, column: 1, path: "" };
}

function unreadable(file: string, problem: string): Failure {
  return new Failure({
    code: "docker-config-invalid",
    message: `Cannot read Docker's configuration "${file}": ${problem}`,
    hint: "Name the right file with --docker-config FILE, or leave the option out",
  });
}
