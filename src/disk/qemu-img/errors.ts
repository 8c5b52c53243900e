/** What qemu-img's messages mean to whoever called tsvm. */
import { DiskError } from "../errors.ts";
import { fileArgument } from "./file-name.ts";

/** What qemu-img works on. */
export interface Subject {
  /** As its user calls it. */
  readonly path: string;
  /** Under which name qemu-img makes it, as long as it is not complete. */
  readonly temporary?: string;
  /** What it is made from. */
  readonly source?: string;
}

interface Known {
  readonly pattern: RegExp;
  readonly reason: (match: RegExpExecArray) => string;
  readonly hint: (path: string) => string;
}

const KNOWN: readonly Known[] = [
  {
    pattern: /No space left on device/,
    reason: () => "no space left on the host's disk",
    hint: () => "free some space, or put the image elsewhere",
  },
  {
    pattern: /Disk quota exceeded/,
    reason: () => "your disk quota is exceeded",
    hint: () => "free some space, or put the image elsewhere",
  },
  {
    pattern: /File too large/,
    reason: () => "its file system, or a limit (ulimit -f), allows no file of that size",
    hint: () => "put the image elsewhere, or raise the limit",
  },
  {
    pattern: /Image is corrupt; cannot be opened read\/write/,
    reason: () => "is marked as corrupt, and is not written to",
    hint: (path) => `copy it, then: tsvm image check --repair all ${path}`,
  },
  {
    pattern: /need to rebuild refcount structures/,
    reason: () => "its reference counts have to be rebuilt, which is more than --repair leaks does",
    hint: (path) => `copy it, then: tsvm image check --repair all ${path}`,
  },
  {
    pattern: /Unknown driver '(.*)'/,
    reason: ([, name]) => `qemu-img knows no format "${name}"`,
    hint: () => "qemu-img --help ends with a list of formats",
  },
];

/** @param stderr Of a qemu-img that has failed. */
export function explainFailure(subject: Subject, stderr: string): DiskError {
  const locked = /Failed to get .*lock[\s\S]*Is another process using the image \[(.*)\]\?/.exec(stderr);
  if (locked !== null) {
    // Perhaps an image below the one that was named.
    const path = nameOf(locked[1]!, subject);
    return new DiskError(path, "in use by another program (another tsvm or QEMU)", "stop that one first");
  }
  const { source } = subject;
  const aboutSource = source !== undefined && stderr.includes(`'${fileArgument(source)}'`);
  const path = aboutSource ? source : subject.path;
  for (const { pattern, reason, hint } of KNOWN) {
    const match = pattern.exec(stderr);
    if (match !== null) return new DiskError(path, reason(match), hint(path));
  }
  return new DiskError(path, `qemu-img: ${complaint(stderr, path, subject)}`);
}

/** Its first own words that are not a warning, about the image by its own name. */
function complaint(stderr: string, path: string, subject: Subject): string {
  const lines = stderr.split("\n").filter((line) => !/^(\s*|qemu-img: warning: .*)$/.test(line));
  const line = lines.find((one) => one.startsWith("qemu-img: ")) ?? lines[0];
  let text = line === undefined ? "it failed, and did not say why" : without("qemu-img: ", line);
  const { temporary } = subject;
  if (temporary !== undefined) text = text.replaceAll(fileArgument(temporary), subject.path);
  for (const name of [path, fileArgument(path)]) {
    for (const about of [`Could not open '${name}': `, `${name}: `]) text = without(about, text);
  }
  return text;
}

function nameOf(given: string, { path, temporary, source }: Subject): string {
  if (temporary !== undefined && given === fileArgument(temporary)) return path;
  return [path, source].find((name) => name !== undefined && given === fileArgument(name)) ?? given;
}

function without(prefix: string, text: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}
