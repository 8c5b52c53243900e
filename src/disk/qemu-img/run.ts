/** Runs qemu-img: with nothing to read, killed when we are, its output bounded. */
import { execa } from "execa";
import { DiskError } from "../errors.ts";
import { explainFailure, type Subject } from "./errors.ts";
import { type OnProgress, ProgressReader } from "./progress.ts";
import { findQemuImg, findSetpriv } from "./tool.ts";

/** What whoever has an image made or changed may want. */
export interface Control {
  /** Ends it: qemu-img is killed, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export interface QemuImgOutput {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a damaged image can make qemu-img say has no end. Characters. */
const KEEP = 2 ** 18;
const KILL_AFTER_MS = 2000;

/** Runs it for its effect. Throws a DiskError that says why there was none, and a QemuImgMissingError. */
export async function runQemuImg(subject: Subject, args: readonly string[], control: Control): Promise<void> {
  const { status, stderr } = await askQemuImg(subject, args, control);
  if (status !== 0) throw explainFailure(subject, stderr);
}

/**
 * Runs it for what it says, whatever its exit status. `onProgress` hears what an argument `-p` makes it print.
 * Throws a DiskError if it does not end by itself, and a QemuImgMissingError.
 */
export async function askQemuImg(
  { path }: Subject,
  args: readonly string[],
  { signal, onProgress }: Control,
): Promise<QemuImgOutput> {
  const [file, ...prefix] = killedWithUs(findQemuImg());
  signal?.throwIfAborted();
  const child = execa(file!, [...prefix, ...args], {
    // In a session of its own, so that Ctrl-C comes to us alone.
    detached: true,
    stdin: "ignore",
    buffer: false,
    reject: false,
    env: { LC_ALL: "C" },
    forceKillAfterDelay: KILL_AFTER_MS,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  const progress = new ProgressReader();
  const stdout = keep(child.stdout, (text) => {
    const fraction = progress.read(text);
    if (fraction !== undefined) onProgress?.(fraction);
  });
  const stderr = keep(child.stderr);
  const { exitCode, signal: killedBy, originalMessage } = await child;
  signal?.throwIfAborted();
  if (killedBy !== undefined) throw new DiskError(path, `qemu-img was killed by ${killedBy}`);
  if (exitCode === undefined) throw new DiskError(path, `qemu-img could not be run: ${originalMessage}`);
  return { status: exitCode, stdout: stdout(), stderr: stderr() };
}

/** Reads all of a stream; the result is the beginning of it. */
function keep(stream: NodeJS.ReadableStream, onText: (text: string) => void = () => undefined): () => string {
  let kept = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    if (kept.length < KEEP) kept = (kept + text).slice(0, KEEP);
    onText(text);
  });
  return () => kept;
}

/** The command line of a program that does not outlive us, not even SIGKILL. */
function killedWithUs(program: string): string[] {
  const setpriv = findSetpriv();
  return setpriv === undefined ? [program] : [setpriv, "--pdeathsig", "KILL", "--", program];
}
