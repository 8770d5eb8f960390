import type { CommandWords, OptionWords, Value } from "./completion-words.ts";

/** A script for zsh: a function a command, as `_arguments` of its completion system wants it. */
export function zshCompletion(commands: readonly CommandWords[]): string {
  return `#compdef dray
# zsh completion of dray; made by \`dray completions zsh\`

${commands.map(commandFunction).join("\n")}
# Found by zsh as a file of its own, or sourced by a person.
if [ "$funcstack[1]" = _dray ]; then
  _dray "$@"
else
  compdef _dray dray
fi
`;
}

function commandFunction({ path, options, commands, arguments: operands }: CommandWords): string {
  const specs = [...options.flatMap(optionSpecs), ...operands.map(operandSpec)];
  if (commands.length === 0) {
    return `${nameOf(path)}() {\n  _arguments -s -S \\\n    ${specs.join(" \\\n    ")}\n}\n`;
  }
  const names = commands.map(({ name, summary }) => quote(`${name}:${summary}`));
  const calls = commands
    .filter(({ name }) => name !== "help")
    .map(({ name }) => `        ${name}) ${nameOf([...path, name])} ;;`);
  return `${nameOf(path)}() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C -s -S \\
    ${specs.map((spec) => `${spec} \\\n    `).join("")}'1: :->command' \\
    '*:: :->words'
  case $state in
    command)
      local -a commands=(
        ${names.join("\n        ")}
      )
      _describe -t commands command commands
      ;;
    words)
      case $line[1] in
${calls.join("\n")}
      esac
      ;;
  esac
}
`;
}

function nameOf(path: readonly string[]): string {
  return ["_dray", ...path].join("_").replaceAll("-", "_");
}

/** One specification a flag: \`_arguments\` completes \`--output=json\` and \`--output json\` alike. */
function optionSpecs({ flags, description, value, isValueOptional }: OptionWords): string[] {
  const told = `[${description.replace(/[[\]\\]/g, String.raw`\$&`)}]`;
  const colons = isValueOptional ? "::" : ":";
  const action = value === undefined ? "" : `${colons}value:${actionOf(value)}`;
  return flags.map((flag) => {
    const equals = value === undefined ? "" : flag.startsWith("--") ? "=" : "+";
    return quote(`*${flag}${equals}${told}${action}`);
  });
}

function operandSpec(value: Value, index: number): string {
  return quote(`${index + 1}:value:${actionOf(value)}`);
}

function actionOf(value: Value): string {
  switch (value.kind) {
    case "words":
      return `(${value.words.join(" ")})`;
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case "other":
      return " ";
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
