import { optionPatterns, pathPatterns, pattern } from "./case-pattern.ts";
import type { CompletedCommand, Value } from "./tree.ts";

/** For `source <(tsvm completion bash)`; needs nothing but bash 4. */
export function bashCompletion(tree: readonly CompletedCommand[]): string {
  const paths = pathPatterns(tree);
  return `# Completion of tsvm for bash; made by: tsvm completion bash
_tsvm() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    # What follows is for the guest.
    [[ \${COMP_WORDS[at]} == -- ]] && return
    case "$path \${COMP_WORDS[at]}" in
      ${paths.join(" | ")}) path+=" \${COMP_WORDS[at]}" ;;
    esac
  done
  case "$path $previous" in
${tree.flatMap(optionCases).join("\n")}
  esac
  if [[ $current == -* ]]; then
    case "$path" in
${tree.map((command) => `      ${pattern(command.path)}) _tsvm_words ${quote(optionNames(command))} ;;`).join("\n")}
    esac
    return
  fi
  case "$path" in
${tree.map((command) => `    ${pattern(command.path)}) ${argumentActions(command)} ;;`).join("\n")}
  esac
}

_tsvm_words() { mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$1" -- "$current"); }
_tsvm_files() { compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$current"); }
_tsvm_disk() {
  if [[ $current != *,* ]]; then _tsvm_files; return; fi
  local word all=
  for word in $1; do all+=" \${current%,*},$word"; done
  compopt -o nospace 2>/dev/null
  _tsvm_words "$all"
}
_tsvm_vms() { _tsvm_words "$("\${COMP_WORDS[0]}" ps "$@" 2>/dev/null)"; }

complete -F _tsvm tsvm
`;
}

/** What comes behind an option that takes a value. */
function optionCases(command: CompletedCommand): string[] {
  return optionPatterns(command).map(
    ({ patterns, value }) => `    ${patterns.join(" | ")}) ${action(value)}; return ;;`,
  );
}

function optionNames({ options }: CompletedCommand): string {
  return options.flatMap(({ short, long }) => [short, long].filter((name) => name !== undefined)).join(" ");
}

function argumentActions({ subcommands, values }: CompletedCommand): string {
  const words: Value[] =
    subcommands.length === 0 ? [] : [{ kind: "words", words: subcommands.map(({ name }) => name) }];
  return [...words, ...values].map(action).join("; ") || ":";
}

function action(value: Value): string {
  switch (value.kind) {
    case "file":
      return "_tsvm_files";
    case "vm":
      return `_tsvm_vms ${value.query}`;
    case "disk":
      return `_tsvm_disk ${quote(value.words.join(" "))}`;
    case "words":
      return `_tsvm_words ${quote(value.words.join(" "))}`;
    case "nothing":
      return ":";
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
