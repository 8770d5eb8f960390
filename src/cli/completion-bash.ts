import type { CommandWords, OptionWords, Value } from "./completion-words.ts";

/**
 * A script for bash 4 and later. It needs nothing of the package bash-completion. A case of bash has the
 * command before a colon and what was typed after it: `registry:serve`, `plan:--output`.
 */
export function bashCompletion(commands: readonly CommandWords[]): string {
  const steps = commands.flatMap(({ path, commands }) =>
    commands.map(({ name }) => `      ${key(path, name)}) command=${quote([...path, name])} ;;`),
  );
  const takers = commands.flatMap(({ path, options }) =>
    keys(path, options, (option) => option.value !== undefined && !option.isValueOptional),
  );
  const optionalTakers = commands.flatMap(({ path, options }) =>
    keys(path, options, (option) => option.isValueOptional),
  );
  const values = commands.flatMap(({ path, options }) =>
    options.flatMap(({ flags, value }) => {
      const reply = value === undefined ? undefined : replyOf(value);
      const names = flags.map((flag) => key(path, flag)).join("|");
      return reply === undefined ? [] : [`    ${names}) ${reply}; return ;;`];
    }),
  );
  const places = commands.map(({ path, options, commands, arguments: operands }) => {
    const flags = options.flatMap((option) => option.flags);
    const lines = [`      if [[ $cur == -* ]]; then _dray_words ${quote(flags)}`];
    if (commands.length > 0) {
      lines.push(`      else _dray_words ${quote(commands.map(({ name }) => name))}`);
    }
    for (const [i, value] of operands.entries()) {
      const reply = replyOf(value);
      if (reply !== undefined) lines.push(`      elif ((operands == ${i})); then ${reply}`);
    }
    return [`    ${quote(path)})`, ...lines, "      fi", "      ;;"].join("\n");
  });
  return `# bash completion of dray; made by \`dray completions bash\`
_dray_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_dray_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_dray() {
  local cur=\${COMP_WORDS[COMP_CWORD]} command='' option='' operands=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $command:$word in
${steps.join("\n")}
      ${takers.join("|")})
        # bash makes words of its own of \`--output=json\`.
        if [[ \${COMP_WORDS[i + 1]} == = ]]; then ((i++)); fi
        if ((++i >= COMP_CWORD)); then option=$word; fi
        ;;
      ${optionalTakers.length === 0 ? "''" : optionalTakers.join("|")})
        if [[ \${COMP_WORDS[i + 1]} == = ]]; then ((i++)); fi
        if [[ \${COMP_WORDS[i + 1]} != -* ]] && ((++i >= COMP_CWORD)); then option=$word; fi
        ;;
      *:-*) ;;
      *) ((operands++)) ;;
    esac
  done
  if [[ $cur == = ]]; then cur=''; fi
  case $command:$option in
${values.join("\n")}
    *:?*) return ;;
  esac
  case $command in
${places.join("\n")}
  esac
}
complete -F _dray dray
`;
}

function key(path: readonly string[], word: string): string {
  return quote([`${path.join(" ")}:${word}`]);
}

function keys(
  path: readonly string[],
  options: readonly OptionWords[],
  isWanted: (option: OptionWords) => boolean,
): readonly string[] {
  return options.filter(isWanted).flatMap(({ flags }) => flags.map((flag) => key(path, flag)));
}

/** What completes a value; undefined where nothing can. */
function replyOf(value: Value): string | undefined {
  switch (value.kind) {
    case "words":
      return `_dray_words ${quote(value.words)}`;
    case "file":
      return "_dray_files -f";
    case "folder":
      return "_dray_files -d";
    case "other":
      return undefined;
  }
}

function quote(words: readonly string[]): string {
  return `'${words.join(" ").replaceAll("'", `'\\''`)}'`;
}
