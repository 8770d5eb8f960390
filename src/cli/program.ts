import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { Failure, isFailure } from "#base";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { addPlanOptions, append, parseRate } from "./plan-inputs.ts";
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

function createProgram(context: CliContext, finish: (code: ExitCode) => void): Command {
  const program = new Command("dray")
    .description(
      "Brings every container image of an edge cluster onto the site, and says why from where.",
    )
    .version(context.version, "-V, --version", "print the version")
    .exitOverride()
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
      finish(runPlan(options, context));
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
      finish(runExplain(reference, options, context));
    });

  addPlanOptions(program.command("deliver"))
    .summary("bring every image of the plan into the store")
    .description(
      "Carries the plan out once: provider images first, then all others, each verified. Can be run again at any time; what is there moves no byte.",
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

function outputOption(): Option {
  return new Option("-o, --output <format>", "form of the answer")
    .choices(["text", "json"])
    .default("text");
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}
