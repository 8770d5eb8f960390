import type { Command } from "commander";
import { bashCompletion } from "./completion-bash.ts";
import { fishCompletion } from "./completion-fish.ts";
import { type CommandWords, commandWords } from "./completion-words.ts";
import { zshCompletion } from "./completion-zsh.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";

/** Shells whose words are completed. */
export type Shell = "bash" | "zsh" | "fish";

const SCRIPTS: Readonly<Record<Shell, (commands: readonly CommandWords[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** `dray completions`: the script that completes this program's words, made from its own commands. */
export function runCompletions(shell: Shell, program: Command, { out }: CliContext): ExitCode {
  out(SCRIPTS[shell](commandWords(program)));
  return EXIT.done;
}
