import type { Command } from "commander";

/** Options by which a command is told where the agent is. */
export interface AgentPlaceOptions {
  readonly dataDir?: string;
  readonly site?: string;
  readonly agent?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
}

/** Adds the options of {@link AgentPlaceOptions} to a command. */
export function addAgentOptions(command: Command): Command {
  return command
    .option(
      "-s, --site <file>",
      "site file of the agent (default: /etc/drayage/site.yaml, if there is one)",
    )
    .option(
      "-d, --data-dir <folder>",
      "data folder of the agent (default: dataDir of the site file, /var/lib/drayage)",
    )
    .option("--agent <url>", "ask an agent at its address, e.g. https://10.0.0.5:8443")
    .option("--user <name>", "what to log in to --agent with")
    .option("--password-file <file>", "the password, on its first line")
    .option("--ca-file <file>", "authority of the certificate of --agent, PEM");
}
