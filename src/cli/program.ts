import { Argument, Command, CommanderError } from "commander";
import { isFailure } from "#base";
import { addActions, addAgent, addJournal, addStatus } from "./agent-commands.ts";
import { type CommandLine, examples } from "./command-options.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { addDeliver, addExplain, addPlan, addPublish } from "./delivery-commands.ts";
import { formatError } from "./report.ts";
import { addCredentials, addDoctor, addProve, addRedirect } from "./site-commands.ts";
import { addExport, addGc, addRegistry, addUnpack, addVerify } from "./store-commands.ts";

/** What a person types wrong is refused; it is no failure of anything. */
const USAGE_CODES: ReadonlySet<string> = new Set([
  "usage",
  "image-unknown",
  "reference-invalid",
  "platform-invalid",
  "folder-invalid",
]);

/** All commands, in the order of the help. */
const COMMANDS: readonly ((line: CommandLine) => void)[] = [
  ...[addPlan, addExplain, addDeliver, addPublish],
  ...[addAgent, addCredentials, addRegistry, addVerify, addGc, addProve],
  ...[addJournal, addStatus, addActions, addDoctor, addRedirect],
  ...[addUnpack, addExport, addCompletions],
];

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
    // Else --version of a command would be that of the program.
    .enablePositionalOptions()
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError("(dray --help lists the commands; dray COMMAND --help tells about one)");

  for (const add of COMMANDS) add({ program, context, finish });
  inheritSettings(program, context);
  return program;
}

/** Commands made by command() take over the settings that were made before them, but not the override. */
function inheritSettings(parent: Command, context: CliContext): void {
  for (const command of parent.commands) {
    command.exitOverride().configureOutput({ writeOut: context.out, writeErr: context.err });
    inheritSettings(command, context);
  }
}

/** `dray completions`, which is told of all the others. */
function addCompletions({ program, context, finish }: CommandLine): void {
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
}
