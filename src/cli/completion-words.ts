import type { Argument, Command, Option } from "commander";

/** What may stand in a place of the command line. */
export type Value =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "file" | "folder" }
  /** Nobody but the person knows. */
  | { readonly kind: "other" };

/** An option with the words that it is written by: `-o`, `--output`. */
export interface OptionWords {
  readonly flags: readonly string[];
  readonly description: string;
  /** Undefined: it takes none. */
  readonly value: Value | undefined;
  /** A value that may be left out stands after `=`, or in the next word. */
  readonly isValueOptional: boolean;
}

/** A command, all of its words, and what may follow. */
export interface CommandWords {
  /** `dray registry serve` without the first: `["registry", "serve"]`; empty for the program. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly OptionWords[];
  readonly arguments: readonly Value[];
}

/** All commands of a program, itself first. */
export function commandWords(command: Command, path: readonly string[] = []): CommandWords[] {
  const shown = command.createHelp().visibleCommands(command);
  const own: CommandWords = {
    path,
    summary: command.summary() || command.description(),
    commands: shown.map((each) => ({ name: each.name(), summary: each.summary() })),
    options: command.createHelp().visibleOptions(command).map(optionWords),
    arguments: command.registeredArguments.map(valueIn),
  };
  // `help` is made up for the list of commands, and has none of its own.
  return [own, ...command.commands.flatMap((each) => commandWords(each, [...path, each.name()]))];
}

function optionWords(option: Option): OptionWords {
  const takesValue = option.required || option.optional;
  return {
    flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
    value: takesValue ? valueIn(option) : undefined,
    isValueOptional: option.optional,
  };
}

/** By its choices, else by what help calls it: `<file>`, `[folder]`. */
function valueIn(place: Option | Argument): Value {
  if (place.argChoices !== undefined) return { kind: "words", words: place.argChoices };
  const name = "flags" in place ? (/[<[](.*)[>\]]$/.exec(place.flags)?.[1] ?? "") : place.name();
  if (name === "file" || name === "path") return { kind: "file" };
  return { kind: name === "folder" ? "folder" : "other" };
}
