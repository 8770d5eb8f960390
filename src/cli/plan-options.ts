import { type Command, InvalidArgumentError } from "commander";
import type { PlanSources } from "#site";
import { append } from "./option-values.ts";

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

function appendVariable(value: string, previous: PlanOptions["var"] = []): PlanOptions["var"] {
  const equals = value.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Expected name=value, e.g. --var site_tag=demo.");
  return [...previous, [value.slice(0, equals), value.slice(equals + 1)]];
}
