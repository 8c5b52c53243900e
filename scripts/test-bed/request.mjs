/** What the command gets: its variables and its standard input. */
import { fstatSync } from "node:fs";

/** NAME=VALUE strings. */
export function environment({ terminal, variables: wanted }) {
  const variables = new Map([
    ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ["HOME", "/root"],
    ["TERM", terminal ? (process.env.TERM ?? "linux") : "dumb"],
    ["TSVM_TEST_BED", "1"],
  ]);
  if (process.env.CI !== undefined) variables.set("CI", process.env.CI);
  for (const assignment of wanted) {
    const at = assignment.indexOf("=");
    variables.set(assignment.slice(0, at), assignment.slice(at + 1));
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

/** null for none. Without --terminal a terminal stays ours, so that Ctrl-C ends the machine. */
export function standardInput({ terminal }) {
  if (terminal) return process.stdin;
  try {
    const kind = fstatSync(0);
    return kind.isFIFO() || kind.isFile() || kind.isSocket() ? process.stdin : null;
  } catch {
    return null; // closed
  }
}
