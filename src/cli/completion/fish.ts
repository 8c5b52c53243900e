import type { CompletedCommand, CompletedOption, Value } from "./tree.ts";

/** For `~/.config/fish/completions/tsvm.fish`, or `tsvm completion fish | source`. */
export function fishCompletion(tree: readonly CompletedCommand[]): string {
  const paths = tree.filter(({ path }) => path.length > 0).map(({ path }) => quote(path.join(" ")));
  return `# Completion of tsvm for fish; made by: tsvm completion fish
function __tsvm_path
    set -l path
    for word in (commandline -opc)[2..]
        # What follows is for the guest.
        test "$word" = -- && echo -- && return
        contains -- (string join ' ' -- $path $word) ${paths.join(" ")} && set path $path $word
    end
    string join ' ' -- $path
end
function __tsvm_at
    set -l path (__tsvm_path)
    test "$path" = "$argv"
end
function __tsvm_vms
    set -l program (commandline -opc)[1]
    $program ps $argv 2>/dev/null
end
function __tsvm_disk
    set -l current (commandline -ct)
    if not string match -q '*,*' -- $current
        __fish_complete_path $current
        return
    end
    set -l start (string replace -r ',[^,]*$' ',' -- $current)
    for word in $argv
        echo $start$word
    end
end
complete -c tsvm -f
${tree.flatMap(commandLines).join("\n")}
`;
}

function commandLines({ path, options, subcommands, values }: CompletedCommand): string[] {
  const at = `complete -c tsvm -n ${quote(`__tsvm_at ${path.join(" ")}`.trimEnd())}`;
  return [
    ...subcommands.map(({ name, description }) => `${at} -a ${name} -d ${quote(description)}`),
    ...options.map((option) => `${at}${optionText(option)}`),
    ...values.filter(({ kind }) => kind !== "nothing").map((value) => `${at} ${valueText(value)}`),
  ];
}

function optionText({ short, long, description, value }: CompletedOption): string {
  const names = `${short === undefined ? "" : ` -s ${short.slice(1)}`}${long === undefined ? "" : ` -l ${long.slice(2)}`}`;
  const argument = value === undefined ? "" : ` -r ${value.kind === "nothing" ? "-f" : valueText(value)}`;
  return `${names}${argument} -d ${quote(description)}`;
}

function valueText(value: Value): string {
  switch (value.kind) {
    case "file":
      return "-F";
    case "vm":
      return `-a ${quote(`(__tsvm_vms ${value.query})`)}`;
    case "disk":
      return `-f -a ${quote(`(__tsvm_disk ${value.words.join(" ")})`)}`;
    case "words":
      return `-f -a ${quote(value.words.join(" "))}`;
    case "nothing":
      return "-f";
  }
}

/** In fish, a backslash and a quote are what counts within single quotes. */
function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
