import { type Command, InvalidArgumentError } from "commander";
import type { PlanSources } from "#site";

/** Options by which every planning command is told what to read. */
export type PlanOptions = PlanSources;

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
