import type { CommandWords, OptionWords, Value } from "./completion-words.ts";

/** A script for fish 3 and later: a line for each word, with the command that it belongs to. */
export function fishCompletion(commands: readonly CommandWords[]): string {
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => path.join(" "));
  return `# fish completion of dray; made by \`dray completions fish\`
function __dray_at --description 'Whether the words before the cursor are of this command'
  set -l known ${paths.map(quote).join(" ")}
  set -l path
  for word in (commandline -opc)[2..]
    contains -- (string join ' ' -- $path $word) $known; or break
    set -a path $word
  end
  test "$path" = "$argv"
end
complete -c dray -f
${commands.flatMap(commandLines).join("\n")}
`;
}

function commandLines({ path, commands, options, arguments: operands }: CommandWords): string[] {
  const at = `complete -c dray -n ${quote(["__dray_at", ...path].join(" "))}`;
  return [
    ...commands.map(({ name, summary }) => `${at} -a ${name} -d ${quote(summary)}`),
    ...operands.flatMap((value) => {
      const words = valueWords(value);
      return words === "" ? [] : [`${at} ${words}`];
    }),
    ...options.map((option) => `${at} ${optionWords(option)} -d ${quote(option.description)}`),
  ];
}

function optionWords({ flags, value, isValueOptional }: OptionWords): string {
  const names = flags.map((flag) =>
    flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
  );
  if (value === undefined) return names.join(" ");
  // -r: a value has to follow; -x: and it is no file.
  const need = isValueOptional ? [] : [value.kind === "file" ? "-r" : "-x"];
  return [...names, ...need, valueWords(value)].join(" ").trimEnd();
}

function valueWords(value: Value): string {
  switch (value.kind) {
    case "words":
      return `-a ${quote(value.words.join(" "))}`;
    case "file":
      return "-F";
    case "folder":
      return "-a '(__fish_complete_directories)'";
    case "other":
      return "";
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
