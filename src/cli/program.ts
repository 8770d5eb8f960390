import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { Failure, isFailure } from "#base";
import { addAgentOptions } from "./agent-options.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { addPlanOptions, append, parseRate } from "./plan-options.ts";
import { formatError } from "./report.ts";

/** What a person types wrong is refused; it is no failure of anything. */
const USAGE_CODES: ReadonlySet<string> = new Set([
  "usage",
  "image-unknown",
  "reference-invalid",
  "platform-invalid",
  "folder-invalid",
]);

const FROM_TEXT = "take what this OCI layout holds (a stick, a disk); may be repeated";

/**
 * Runs one command line and gives its exit code. The modules of a command are loaded when it is
 * called, so that `dray --version` answers at once.
 *
 * @param argv the words after the program's name
 */
export async function runCli(argv: readonly string[], context: CliContext): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.done;
  const finish = (code: ExitCode) => {
    exitCode = code;
  };
  try {
    await createProgram(context, finish).parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.refused;
    if (context.signal.aborted) return EXIT.interrupted;
    context.err(formatError(error));
    return isFailure(error) && USAGE_CODES.has(error.code) ? EXIT.refused : EXIT.failed;
  }
}

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

function createProgram(context: CliContext, finish: (code: ExitCode) => void): Command {
  const program = new Command("dray")
    .description(
      "Brings every container image of an edge cluster onto the site, and says why from where.",
    )
    .version(context.version, "-V, --version", "print the version")
    .exitOverride()
    // Else --version of a command would be that of the program.
    .enablePositionalOptions()
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError("(dray --help lists the commands; dray COMMAND --help tells about one)");

  addPlanOptions(program.command("plan"))
    .summary("decide from where each image comes; move nothing")
    .description(
      "Decides from where each image comes, with which credential, where it goes, and why. Moves nothing, needs no network; --estimate asks registries for manifests.",
    )
    .option("--estimate", "say what a delivery would move, how long, and whether there is room")
    .option("-d, --data-dir <folder>", "the store that the estimate is for")
    .option("--from <folder>", FROM_TEXT, append)
    .option("--rate <bytes/s>", "speed of the link, e.g. 2.5MB or 20Mbit", parseRate)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray plan -p profile.yaml -u user-data.yaml",
        "dray plan -p infra.json -p apps.json -o json",
        "dray plan -p profile.yaml --estimate -d /var/lib/drayage --rate 20Mbit",
      ),
    )
    .action(async (options) => {
      refuseLoneWords(options);
      if (options.estimate === true) {
        const { runEstimate } = await import("./estimate.ts");
        return finish(await runEstimate(options, context));
      }
      const { runPlan } = await import("./plan.ts");
      finish(await runPlan(options, context));
    });

  addPlanOptions(program.command("explain").argument("<reference>", "the image"))
    .summary("say why an image comes from where it comes")
    .description(
      "Says for one image where it comes from, by which rules, and where it was declared.",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray explain quay.io/calico/node:v3.27.0 -p profile.yaml -u user-data.yaml"),
    )
    .action(async (reference, options) => {
      const { runExplain } = await import("./explain.ts");
      finish(await runExplain(reference, options, context));
    });

  addPlanOptions(program.command("deliver"))
    .summary("bring every image of the plan into the store and the local registry")
    .description(
      "Carries the plan out once: provider images first, then all others, each verified; application images go on to the local registry, if there is one. Can be run again at any time; what is there moves no byte.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store (default: dataDir of the site file, /var/lib/drayage)",
    )
    .option("--from <folder>", FROM_TEXT, append)
    .addOption(
      new Option("--until <stage>", "stop after this stage").choices([
        "provider",
        "infrastructure",
      ]),
    )
    .option(
      "--platform <os/architecture>",
      "platform of the cluster (default: of the site file, this machine's)",
    )
    .option(
      "--wait-for-local <time>",
      "wait so long for the local registry once all is fetched; 0 asks once (default: of the site file, 10m)",
      parseWait,
    )
    .option(
      "--attachments",
      "ask now for the signatures and the like of all images (default: of those that changed, and of all once a day)",
    )
    .option(
      "--again",
      "run the command of provider.handOver again, also for an image that it succeeded for",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray deliver -p profile.yaml -u user-data.yaml -d /var/lib/drayage",
        "dray deliver -p profile.yaml --until provider -o json",
        "dray deliver -p profile.yaml --from /media/stick/store",
      ),
    )
    .action(async (options) => {
      const { runDeliver } = await import("./deliver.ts");
      finish(await runDeliver(options, context));
    });

  addPlanOptions(program.command("publish"))
    .summary("push profiles as one artifact that sites follow")
    .description(
      "Makes one OCI artifact of profiles, their packs and user data, and pushes it; sites follow its tag (profiles: [oci://…]). Plans first, and refuses what holds secrets. The same inputs give the same digest.",
    )
    .requiredOption("--to <reference>", "where: registry/repository:tag")
    .option("--version <version>", "what people call it, e.g. 1.4.0")
    .addOption(
      new Option(
        "--created <time>",
        "when it was made, RFC 3339 (default: SOURCE_DATE_EPOCH, else none)",
      ).argParser(parseTime),
    )
    .option("--dry-run", "say what would be published; push nothing")
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray publish -p infra.yaml -p apps.yaml --to registry.example.com/sites/store:1.4.0 --version 1.4.0",
        "dray publish -p profile.yaml --to registry.example.com/sites/store:stable -s push.yaml --dry-run",
      ),
    )
    .action(async (options) => {
      const { runPublish } = await import("./publish.ts");
      finish(await runPublish(options, context));
    });

  addPlanOptions(program.command("agent"))
    .summary("keep the site as its files want it, for good")
    .description(
      "Keeps the site as its inputs want it, until it is stopped: serves, watches, delivers, activates, proves, cleans up, and shows how the site is on a page. What is new is staged completely before it is activated; what is refused leaves the one before in force.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store (default: dataDir of the site file, /var/lib/drayage)",
    )
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

  addPlanOptions(program.command("credentials"))
    .summary("try every credential, and say what will end and when")
    .description(
      "Tries every credential of the plan once, by asking for an image that needs it, and reads when certificates and tokens end. Moves nothing. Exit code 3 when one is refused or has expired.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store, for Harbor's robot accounts (default: dataDir of the site file, /var/lib/drayage)",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray credentials -p profile.yaml -u user-data.yaml -s site.yaml",
        "dray credentials -p profile.yaml -o json",
      ),
    )
    .action(async (options) => {
      const { runCredentials } = await import("./credentials.ts");
      finish(await runCredentials(options, context));
    });

  const registry = program
    .command("registry")
    .summary("the embedded registry")
    .description("The embedded registry, which serves from the store.");
  registry
    .command("serve")
    .summary("serve the store to the cluster, and take what is pushed")
    .description(
      "Serves the store as a registry until it is stopped: what was delivered, and what is pushed. Off loopback it wants TLS and users. All users may pull; all of them, or the --pushers, may push and delete.",
    )
    .option("-d, --data-dir <folder>", "the store, made if it is not there", "/var/lib/drayage")
    .option("-l, --listen <host:port>", "where to listen", "127.0.0.1:5055")
    .option("--read-only", "take nothing; the store must be there")
    .option("--no-delete", "let nobody delete")
    .option("--catalog", "list the repositories at /v2/_catalog")
    .option("--htpasswd <file>", "users, with bcrypt passwords (htpasswd -B); read again on change")
    .option("--pushers <users>", "the users that may push and delete: a,b (default: all)", append)
    .option("--anonymous-pull", "let pull who has not logged in (docker itself can then pull only)")
    .option("--tls-cert <file>", "certificate with its chain, PEM; read again on change")
    .option("--tls-key <file>", "its key, PEM")
    .option("--rate-limit <n>", "requests a second of another machine; 0: no limit (default: 500)")
    .option("--upload-age <hours>", "remove uploads that were idle for so long (default: 24)")
    .option("--access-log", "a JSON line on stdout for each request")
    .addHelpText(
      "after",
      examples(
        "dray registry serve -d /var/lib/drayage",
        "dray registry serve -d store -l 10.0.0.5:5055 --htpasswd users --pushers ci --tls-cert cert.pem --tls-key key.pem",
      ),
    )
    .action(async (options) => {
      const { runRegistryServe } = await import("./registry.ts");
      finish(await runRegistryServe(options, context));
    });

  program
    .command("verify")
    .summary("hash what the store has anew, and move away what is wrong")
    .description(
      "Hashes the blobs of the store anew, moves what is wrong to quarantine, and says what to do. Exit code 3 when something was wrong. A delivery or the registry may run meanwhile.",
    )
    .option("-d, --data-dir <folder>", "the store", "/var/lib/drayage")
    .addOption(
      new Option("--sample <percent>", "only so many of the blobs, picked by chance")
        .argParser(parsePercent)
        .conflicts("sinceUnclean"),
    )
    .option("--seed <text>", "the chance of an earlier --sample, to look at the same blobs again")
    .option("--since-unclean", "only what was committed since the last unclean stop")
    .option("--rate <bytes/s>", "read no faster, e.g. 50MB", parseRate)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray verify -d /var/lib/drayage", "dray verify --sample 5 --rate 50MB -o json"),
    )
    .action(async (options) => {
      const { runVerify } = await import("./verify.ts");
      finish(await runVerify(options, context));
    });

  program
    .command("gc")
    .summary("remove what nothing needs any more")
    .description(
      "Removes the blobs that no name and no manifest leads to, and the names that neither the current nor the previous plan declares. Nothing is removed when a document that is named can't be read. A delivery or the registry may run meanwhile.",
    )
    .option("-d, --data-dir <folder>", "the store", "/var/lib/drayage")
    .option("--dry-run", "say what would be removed; change nothing")
    .addOption(
      new Option("--grace <time>", "keep what was committed, pushed or asked for so lately")
        .argParser(parseGrace)
        .default(undefined, "1h"),
    )
    .addOption(outputOption())
    .addHelpText("after", examples("dray gc --dry-run", "dray gc -d /var/lib/drayage --grace 15m"))
    .action(async (options) => {
      const { runGc } = await import("./gc.ts");
      finish(await runGc(options, context));
    });

  addPlanOptions(program.command("prove"))
    .summary("say whether the site is ready offline, reference by reference")
    .description(
      "Asks the site's registries for every reference of the plan as the runtime would, and nobody outside of the site: all manifests, every blob, and some of the bytes really. Changes nothing. Exit code 3 when something is wanting.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store (default: dataDir of the site file, /var/lib/drayage)",
    )
    .option("--full", "read and hash every blob")
    .addOption(
      new Option("--sample <percent>", "read and hash so many of the blobs, always the same")
        .argParser(parsePercent)
        .conflicts("full"),
    )
    .option(
      "--platform <os/architecture>",
      "platform of the cluster (default: of the site file, this machine's)",
    )
    .addOption(
      new Option("--runtime <kind>", "whose files are followed (default: runtime.kind)").choices([
        "none",
        "containerd",
        "k3s",
        "rke2",
      ]),
    )
    .option("--config-dir <folder>", "where the runtime looks for mirrors (default: the runtime's)")
    .option(
      "--containerd-config <file>",
      "containerd's own configuration",
      "/etc/containerd/config.toml",
    )
    .option("--socket <path>", "where the runtime takes requests (default: runtime.socket)")
    .option(
      "--embedded <url>",
      "the embedded registry as nodes dial it (default: as the site file says)",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray prove -p profile.yaml -s site.yaml",
        "dray prove -p profile.yaml -s site.yaml --full -o json",
      ),
    )
    .action(async (options) => {
      const { runProve } = await import("./prove.ts");
      finish(await runProve(options, context));
    });

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

  addPlanOptions(program.command("doctor"))
    .summary("examine the surroundings: clock, disk, network, certificates, runtime")
    .description(
      "Examines what dray lives by: clock, disk, limits, ports, proxy, and with a profile also names, certificates, registries and credentials. Changes nothing. Exit code 3 when something is wrong.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store (default: dataDir of the site file, /var/lib/drayage)",
    )
    .option(
      "--containerd-config <file>",
      "containerd's own configuration",
      "/etc/containerd/config.toml",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray doctor", "dray doctor -p profile.yaml -s site.yaml -o json"),
    )
    .action(async (options) => {
      const { runDoctor } = await import("./doctor.ts");
      finish(await runDoctor(options, context));
    });

  addPlanOptions(program.command("redirect"))
    .summary("tell a runtime to ask the site's registries for images")
    .description(
      "Writes the mirror configuration of a runtime: for each registry of the profile the local registry, then the embedded one, the registry itself as the last resort. What people wrote in the files stays; ours is marked.",
    )
    .addArgument(
      new Argument("<runtime>", "whose files are written").choices(["containerd", "k3s", "rke2"]),
    )
    .option("--config-dir <folder>", "where the runtime looks for mirrors (default: the runtime's)")
    .option("--dry-run", "print what would change as a diff; write nothing")
    .option("--remove", "take out what is ours, and leave what was there before")
    .addOption(
      new Option("--via <registries>", "the site's registries, or the external one (k3s, rke2)")
        .choices(["site", "external"])
        .default("site"),
    )
    .option(
      "--embedded <url>",
      "the embedded registry as nodes dial it (default: as the site file says)",
    )
    .option("--embedded-ca <file>", "authority of its certificate, PEM")
    .option("--embedded-user <name>", "what nodes log in to it with")
    .option("--embedded-password-file <file>", "the password, on its first line")
    .option("-d, --data-dir <folder>", "where a delivery keeps the nodes' account at a Harbor")
    .option(
      "--containerd-config <file>",
      "containerd's own configuration, which is read and not written",
      "/etc/containerd/config.toml",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray redirect containerd -p profile.yaml --dry-run",
        "dray redirect rke2 -p profile.yaml -s site.yaml",
        "dray redirect k3s --remove",
      ),
    )
    .action(async (runtime, options) => {
      const { runRedirect } = await import("./redirect.ts");
      finish(await runRedirect(runtime, options, context));
    });

  program
    .command("unpack")
    .summary("unpack an image of the store to a root file system")
    .description(
      "Unpacks an image of the store, by its declared name, to a folder: owners, modes, times, attributes, links, devices. The folder must not be there, or be empty; it is there whole or not at all.",
    )
    .argument("<reference>", "the image")
    .argument("<folder>", "where")
    .option("-d, --data-dir <folder>", "the store", "/var/lib/drayage")
    .option("--platform <os/architecture>", "of the image (default: this machine's)")
    .option(
      "--rootless",
      "go without owners, devices and attributes of root's; say what is left out",
    )
    .option(
      "--max-size <bytes>",
      "refuse more than this, e.g. 20GB (default: room on disk)",
      parseSize,
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray unpack quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1 /run/os-root"),
    )
    .action(async (reference, folder, options) => {
      const { runUnpack } = await import("./unpack.ts");
      finish(await runUnpack(reference, folder, options, context));
    });

  program
    .command("export")
    .summary("write an image of the store as an OCI layout or archive")
    .description(
      "Writes one platform of an image of the store to oci:FOLDER (blobs are hard links where the disk allows it) or oci-archive:FILE (which is also what `docker load` and `kairos-agent --source ocifile:` read).",
    )
    .argument("<reference>", "the image")
    .requiredOption("--to <target>", "oci:FOLDER or oci-archive:FILE")
    .option("-d, --data-dir <folder>", "the store", "/var/lib/drayage")
    .option("--platform <os/architecture>", "of the image (default: this machine's)")
    .option("--copy", "copy blobs into the folder, and share none with the store")
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray export quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1 --to oci-archive:os.tar",
      ),
    )
    .action(async (reference, options) => {
      const { runExport } = await import("./export.ts");
      finish(await runExport(reference, options, context));
    });

  program
    .command("completions")
    .summary("print what completes dray's words in a shell")
    .description(
      "Prints a script for the shell that completes commands, options and their values. Source it, or put it where the shell looks for such scripts.",
    )
    .addArgument(new Argument("<shell>", "which shell").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      examples(
        "source <(dray completions bash)",
        "dray completions bash > /usr/share/bash-completion/completions/dray",
        "dray completions zsh > /usr/share/zsh/vendor-completions/_dray",
        "dray completions fish > ~/.config/fish/completions/dray.fish",
      ),
    )
    .action(async (shell) => {
      const { runCompletions } = await import("./completions.ts");
      finish(runCompletions(shell, program, context));
    });

  // Commands made by command() take over the settings that were made before them, but not the override.
  for (const command of [...program.commands, ...registry.commands]) {
    command.exitOverride().configureOutput({ writeOut: context.out, writeErr: context.err });
  }
  return program;
}

function refuseLoneWords({
  estimate,
  dataDir,
  from,
  rate,
}: Readonly<Record<string, unknown>>): void {
  if (estimate === true || [dataDir, from, rate].every((word) => word === undefined)) return;
  throw new Failure({
    code: "usage",
    message: "Cannot use --data-dir, --from or --rate for a plan alone: it asks nobody",
    hint: "Add --estimate, or leave them out",
  });
}

function parseTime(text: string): string {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
  if (form.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError("Expected a time like 2026-01-02T03:04:05Z.");
}

function parsePercent(text: string): number {
  const percent = /^\d+(\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (percent > 0 && percent <= 100) return percent;
  throw new InvalidArgumentError("Expected a number above 0 and up to 100.");
}

const GRACE_UNITS_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds. A push may be about to name what it found a moment ago: a minute is the least. */
function parseGrace(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const ms = Number(count) * (GRACE_UNITS_MS[unit] ?? Number.NaN);
  if (ms >= 60_000) return ms;
  throw new InvalidArgumentError("Expected a time of at least 1m, e.g. 15m, 1h or 7d.");
}

const WAIT_UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, ...GRACE_UNITS_MS };

/** Milliseconds. Without a unit it is seconds, as in the site file. */
function parseWait(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smhd]?)$/.exec(text) ?? [];
  const ms = Number(count) * (WAIT_UNITS_MS[unit || "s"] ?? Number.NaN);
  if (count !== "") return ms;
  throw new InvalidArgumentError("Expected a time, e.g. 90s, 10m or 2h; 0 asks once.");
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  ...{ "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 },
  ...{ ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30, ti: 2 ** 40 },
};

/** Bytes. */
function parseSize(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,9}(?:\.\d+)?)([kmgt]?i?)b?$/i.exec(text) ?? [];
  const bytes = Number(count || Number.NaN) * (SIZE_UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (bytes >= 1) return Math.floor(bytes);
  throw new InvalidArgumentError("Expected a size, e.g. 500MB or 20GiB.");
}

function parseLines(text: string): number {
  const lines = /^\d{1,12}$/.test(text) ? Number(text) : 0;
  if (lines >= 1) return lines;
  throw new InvalidArgumentError("Expected a whole number from 1 on.");
}

function outputOption(): Option {
  return new Option("-o, --output <format>", "form of the answer")
    .choices(["text", "json"])
    .default("text");
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}
