/** The completion scripts, in the shells that they are for. */
import { execFileSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { delimiter } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { suite, tool } from "./support/needs.ts";
import { CLI } from "./support/paths.ts";
import { scratch } from "./support/scratch.ts";
import { vms } from "./support/vms.ts";

const files = scratch();
const manager = vms(files);
const program = files.path("tsvm", `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`);
files.path("kernel-one", "");
files.path("kernel two", "");

beforeAll(async () => {
  chmodSync(program, 0o755);
  await manager.define({ web: {}, db: {} });
});
afterAll(() => manager.clear());

function shell(name: string, args: string[], script: string): string[] {
  const output = execFileSync(name, [...args, "-c", script], {
    encoding: "utf8",
    cwd: files.directory,
    env: { ...process.env, ...manager.env, PATH: `${files.directory}${delimiter}${process.env.PATH ?? ""}` },
  });
  return output.trimEnd().split("\n");
}

/** What is typed, and what is to be offered, in alphabetical order. */
const CASES: [words: string[], offered: string[]][] = [
  [["st"], ["start", "stats", "stop"]],
  [
    ["start", ""],
    ["db", "web"],
  ],
  // None of them runs.
  [["stop", ""], []],
  [["start", "--auto"], ["--autostart"]],
  [
    ["boot", "--kernel", "kernel"],
    ["kernel two", "kernel-one"],
  ],
  [
    ["image", ""],
    [
      "add-agent",
      "cat",
      "check",
      "convert",
      "create",
      "info",
      "kernels",
      "ls",
      "overlay",
      "resize",
      "snapshot",
    ],
  ],
  [
    ["image", "ls", "--"],
    ["--debug", "--help", "--json"],
  ],
  [
    ["completion", ""],
    ["bash", "fish", "zsh"],
  ],
  [
    ["help", "sta"],
    ["start", "stats"],
  ],
  [["ps", "--for"], ["--format"]],
  [
    ["image", "create", "--format", ""],
    ["qcow2", "raw"],
  ],
  [["boot", "--console", "v"], ["virtio"]],
  [
    ["boot", "--disk", "kernel"],
    ["kernel two", "kernel-one"],
  ],
  [
    ["convert", "--to", ""],
    ["firecracker", "json", "libvirt", "yaml"],
  ],
  [
    ["boot", "-d", "a.img,ro,cache="],
    ["a.img,ro,cache=none", "a.img,ro,cache=unsafe", "a.img,ro,cache=writeback"],
  ],
];

function compare(offers: readonly string[]): void {
  for (const [at, [words, wanted]] of CASES.entries()) {
    const offered = offers[at]!.split("|").filter((word) => word !== "");
    expect([...new Set(offered)].sort(), words.join(" ")).toEqual(wanted);
  }
}

suite("completion in bash", [tool("bash", "bash")], () => {
  test("offers commands, options, VMs and files", () => {
    const tries = CASES.map(([words]) => `try tsvm ${words.map(quote).join(" ")}`);
    compare(
      shell(
        "bash",
        ["--norc"],
        `
        source <(tsvm completion bash)
        try() {
          COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
          _tsvm
          local IFS='|'; echo "\${COMPREPLY[*]}"
        }
        ${tries.join("\n")}`,
      ),
    );
  });

  test("leaves what stands behind -- to the guest", () => {
    const script =
      'source <(tsvm completion bash); COMP_WORDS=(tsvm boot -- st) COMP_CWORD=3; _tsvm; echo "${#COMPREPLY[@]}"';
    expect(shell("bash", ["--norc"], script)).toEqual(["0"]);
  });
});

suite("completion in zsh", [tool("zsh", "zsh")], () => {
  test("offers commands, options, VMs and files", () => {
    // The shell's own part, which only works while somebody types, is replaced by functions that print what they are given.
    const tries = CASES.map(([words]) => `try tsvm ${words.map(quote).join(" ")}`);
    compare(
      shell(
        "zsh",
        ["-f"],
        `
        compdef() { : }
        offer() { for word in "$@"; do [[ $word == $current* ]] && print -rn -- "$word|"; done }
        compadd() { [[ $1 == -S ]] && shift 2; if [[ $1 == -a ]]; then offer "\${(P@)2}"; else offer "$@"; fi }
        _describe() { offer "\${(@)\${(P@)argv[-1]}%%:*}" }
        _files() { offer *(N) }
        source <(tsvm completion zsh)
        try() { words=("$@"); CURRENT=$#; _tsvm; print }
        ${tries.join("\n")}`,
      ),
    );
  });
});

suite("completion in fish", [tool("fish", "fish")], () => {
  test("offers commands, options, VMs and files", () => {
    const tries = CASES.map(([words]) => `try ${quote(`tsvm ${words.join(" ")}`)}`);
    compare(
      shell(
        "fish",
        ["--no-config"],
        `
        tsvm completion fish | source
        function try
          set -l offered (complete -C $argv[1] | string replace -r '\\t.*' '')
          printf '%s|' $offered; echo
        end
        ${tries.join("\n")}`,
      ),
    );
  });
});

function quote(word: string): string {
  return `'${word}'`;
}
