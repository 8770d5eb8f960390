import { Option } from "commander";
import { addAgentOptions } from "./agent-options.ts";
import { type CommandLine, examples, outputOption, siteStoreOption } from "./command-options.ts";
import { append, parseLines } from "./option-values.ts";
import { addPlanOptions } from "./plan-options.ts";

/** What an operator tells the agent: the command, its summary, its description, examples. */
const AGENT_ACTIONS = [
  [
    "stage",
    "tell the agent to look at its inputs and bring what is missing, now",
    "Tells the agent to read its inputs and to bring what is missing, without waiting for the next time that it would by itself. Nothing changes for the cluster.",
    ...["dray stage", "dray stage && dray status --watch"],
  ],
  [
    "activate",
    "tell the agent to turn the cluster to what is staged",
    "Tells the agent to activate the revision that is staged: mirrors, runtime, the hand-over to the operating system. The one before is kept for a rollback.",
    ...["dray activate", "dray activate -s /etc/drayage/site.yaml"],
  ],
  [
    "rollback",
    "tell the agent to go back to the revision before",
    "Tells the agent to activate the revision that was active before. The one that is left is not activated again by itself until the inputs change, or an operator says so.",
    ...["dray rollback"],
  ],
  [
    "pause",
    "tell the agent to move nothing until it is resumed",
    "Tells the agent to move nothing: what is under way ends at a durable point. It goes on serving. A pause outlives a restart.",
    ...["dray pause"],
  ],
  [
    "resume",
    "tell the agent to go on after a pause",
    "Tells the agent to go on where it was paused; no byte that is here is fetched again.",
    ...["dray resume"],
  ],
] as const;

/** `dray agent`. */
export function addAgent({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("agent"))
    .summary("keep the site as its files want it, for good")
    .description(
      "Keeps the site as its inputs want it, until it is stopped: serves, watches, delivers, activates, proves, cleans up, and shows how the site is on a page. What is new is staged completely before it is activated; what is refused leaves the one before in force.",
    )
    .addOption(siteStoreOption())
    .option(
      "-l, --listen <host:port>",
      "where the page and the API are (default: agent.listen of the site file, 127.0.0.1:5056)",
    )
    .addOption(
      new Option("-o, --output <format>", "form of the log on stderr")
        .choices(["text", "json"])
        .default("text"),
    )
    .addHelpText(
      "after",
      examples(
        "dray agent --site /etc/drayage/site.yaml",
        "dray agent -s site.yaml --listen 127.0.0.1:8080 -o json",
      ),
    )
    .action(async (options) => {
      const { runAgent } = await import("./agent.ts");
      finish(await runAgent(options, context));
    });
}

/** `dray journal`. */
export function addJournal({ program, context, finish }: CommandLine): void {
  addAgentOptions(program.command("journal"))
    .summary("what happened at this site, the newest first")
    .description(
      "Prints the journal of a site: revisions, deliveries, uploads, what was handed over to the operating system and what its command wrote, who asked for what. The agent is asked for it; where none runs, it is read from the store. It keeps 10,000 lines, for half a year.",
    )
    .addOption(new Option("-n, --lines <n>", "so many lines").argParser(parseLines).default(20))
    .addOption(new Option("--before <id>", "only what came before this line").argParser(parseLines))
    .option("--kind <kind>", "only lines of this kind; may be repeated", append)
    .addOption(
      new Option(
        "-f, --follow",
        "print the last lines, then what the agent does, the newest last",
      ).conflicts("before"),
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray journal",
        "dray journal -n 5 --kind hand-over-done -o json",
        "dray journal --follow",
      ),
    )
    .action(async (options) => {
      const { runJournal } = await import("./journal.ts");
      finish(await runJournal(options, context));
    });
}

/** `dray status`. */
export function addStatus({ program, context, finish }: CommandLine): void {
  addAgentOptions(program.command("status"))
    .summary("how the site is, as its agent sees it")
    .description(
      "Asks the agent how the site is, and prints it on one screen: one sentence, what to do, then what it comes from. Exit code 0 when the site is ready, works on it or waits; 3 when something is wanting or failed; 1 when no agent answers.",
    )
    .option("-w, --watch", "follow it until Ctrl-C; with -o json one event a line")
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray status",
        "dray status --watch",
        "dray status --agent https://10.0.0.5:8443 --ca-file ca.pem --user ops --password-file password",
        "dray status -o json | jq -r .verdict.sentence",
      ),
    )
    .action(async (options) => {
      const { runStatus } = await import("./status.ts");
      finish(await runStatus(options, context));
    });
}

/** `dray stage` and what else an operator tells the agent. */
export function addActions({ program, context, finish }: CommandLine): void {
  for (const [name, summary, description, ...lines] of AGENT_ACTIONS) {
    addAgentOptions(program.command(name))
      .summary(summary)
      .description(description)
      .addOption(outputOption())
      .addHelpText("after", examples(...lines))
      .action(async (options) => {
        const { runAgentAction } = await import("./agent-actions.ts");
        finish(await runAgentAction(name, options, context));
      });
  }
}
