import { optionPatterns, pathPatterns, pattern } from "./case-pattern.ts";
import type { CompletedCommand, CompletedOption, Value } from "./tree.ts";

/** For a file `_tsvm` in a directory of `$fpath`, or `source <(tsvm completion zsh)` behind compinit. */
export function zshCompletion(tree: readonly CompletedCommand[]): string {
  const paths = pathPatterns(tree);
  return `#compdef tsvm
# Completion of tsvm for zsh; made by: tsvm completion zsh
_tsvm() {
  local current=\${words[CURRENT]} previous=\${words[CURRENT-1]} path_= at
  for ((at = 2; at < CURRENT; at++)); do
    # What follows is for the guest.
    [[ \${words[at]} == -- ]] && { _default; return }
    case "$path_ \${words[at]}" in
      (${paths.join("|")}) path_+=" \${words[at]}" ;;
    esac
  done
  case "$path_ $previous" in
${tree.flatMap(optionCases).join("\n")}
  esac
  local -a candidates
  if [[ $current == -* ]]; then
    case "$path_" in
${tree.map((command) => `      (${pattern(command.path)}) candidates=(${optionWords(command)}) ;;`).join("\n")}
    esac
    _describe -o option candidates
    return
  fi
  case "$path_" in
${tree.map((command) => `    (${pattern(command.path)}) ${argumentActions(command)} ;;`).join("\n")}
  esac
}

_tsvm_disk() {
  if [[ $current != *,* ]]; then _files; return; fi
  local -a words_
  words_=("\${current%,*},"\${^@})
  compadd -S '' -a words_
}
_tsvm_vms() {
  local -a names
  names=(\${(f)"$(\${words[1]} ps "$@" 2>/dev/null)"})
  compadd -a names
}

if [[ $funcstack[1] == _tsvm ]]; then _tsvm "$@"; else compdef _tsvm tsvm; fi
`;
}

function optionCases(command: CompletedCommand): string[] {
  return optionPatterns(command).map(
    ({ patterns, value }) => `    (${patterns.join("|")}) ${action(value)}; return ;;`,
  );
}

function optionWords({ options }: CompletedCommand): string {
  const words = ({ short, long, description }: CompletedOption): string[] =>
    [long, short].flatMap((name) => (name === undefined ? [] : [described(name, description)]));
  return options.flatMap(words).join(" ");
}

function argumentActions({ subcommands, values }: CompletedCommand): string {
  const commands = subcommands.map(({ name, description }) => described(name, description));
  const describe =
    commands.length === 0 ? [] : [`candidates=(${commands.join(" ")}); _describe command candidates`];
  return [...describe, ...values.map(action)].join("; ") || ":";
}

function action(value: Value): string {
  switch (value.kind) {
    case "file":
      return "_files";
    case "vm":
      return `_tsvm_vms ${value.query}`;
    case "disk":
      return `_tsvm_disk ${value.words.join(" ")}`;
    case "words":
      return `compadd ${value.words.join(" ")}`;
    case "nothing":
      return ":";
  }
}

/** `name:description`, as _describe takes it. */
function described(name: string, description: string): string {
  return `'${`${name.replaceAll(":", "\\:")}:${description}`.replaceAll("'", `'\\''`)}'`;
}
