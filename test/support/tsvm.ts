/** Runs the tsvm command. */
import { execa, type ResultPromise } from "execa";
import { CLI } from "./paths.ts";

/** The test bed's processor is emulated: what counts on a machine's pace waits this many times longer there. */
export const SLOWNESS = process.env.TSVM_TEST_BED === undefined ? 1 : 8;

/** No test boots for longer; the slowest host so far, a software KVM on two shared cores, needs 12 s for one boot. */
export const BOOT_LIMIT_MS = 90_000 * Math.min(SLOWNESS, 2);

export interface RunOptions {
  /** Standard input; closed from the start by default. */
  input?: string | Uint8Array;
  /** Killed after this many ms. */
  limit?: number;
  env?: Record<string, string>;
  cwd?: string;
  /** For node itself. */
  nodeOptions?: string[];
  /** A command with arguments that runs node, such as ["setpriv", "--reuid", "65534"]. */
  wrapper?: string[];
}

export interface RunResult {
  /** Exit status; undefined if tsvm was killed. */
  status: number | undefined;
  signal: string | undefined;
  stdout: string;
  stderr: string;
  /** Bytes of stdout, for output that is no text. */
  stdoutBytes: Buffer;
  ms: number;
}

/** Runs tsvm to its end. Never throws because of its status. */
export async function tsvm(args: string[], options: RunOptions = {}): Promise<RunResult> {
  return finish(startTsvm(args, options));
}

export type RunningTsvm = ResultPromise<{ encoding: "buffer"; reject: false; stripFinalNewline: false }>;

/** Starts tsvm; for tests that do something while it runs. */
export function startTsvm(args: string[], options: RunOptions = {}): RunningTsvm {
  const { input, limit = BOOT_LIMIT_MS, env, cwd, nodeOptions = [], wrapper = [] } = options;
  const [file, ...rest] = [...wrapper, process.execPath, ...nodeOptions, CLI, ...args];
  return execa(file!, rest, {
    encoding: "buffer",
    reject: false,
    stripFinalNewline: false,
    maxBuffer: 64 * 2 ** 20,
    timeout: limit,
    killSignal: "SIGKILL",
    ...(input === undefined ? { stdin: "ignore" } : { input }),
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
  }) as unknown as RunningTsvm;
}

export async function finish(running: RunningTsvm): Promise<RunResult> {
  const result = await running;
  const stdoutBytes = Buffer.from(result.stdout);
  if (result.timedOut) {
    throw new Error(
      `tsvm did not end in time\nstdout: ${stdoutBytes.toString().slice(-2000)}\nstderr: ${Buffer.from(result.stderr).toString().slice(-2000)}`,
    );
  }
  return {
    status: result.exitCode,
    signal: result.signal,
    stdout: stdoutBytes.toString(),
    stderr: Buffer.from(result.stderr).toString(),
    stdoutBytes,
    ms: result.durationMs,
  };
}

/** Waits until `condition` holds, looking every few ms. */
export async function until(
  what: string,
  condition: () => boolean,
  { limit = BOOT_LIMIT_MS, detail = (): string => "" } = {},
): Promise<void> {
  const end = performance.now() + limit;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${limit} ms in vain for ${what}\n${detail()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Collects a stream of a running tsvm as text. */
export function collect(stream: NodeJS.ReadableStream): { readonly text: string } {
  const collected = { text: "" };
  stream.on("data", (bytes: Buffer) => (collected.text += bytes.toString("latin1")));
  return collected;
}

/** What `tsvm boot --json` prints. */
export interface JsonReport {
  status: number;
  reason: string;
  command: { kind: string; status?: number; signal?: number; errno?: number; message?: string } | null;
  panic: string | null;
  powerButton: string;
  error: { code: string; message: string; hint: string | null } | null;
  stdout: string;
  stderr: string;
  console: string;
  commandLine: string;
  millisecondsSinceProcessStart: Record<string, number>;
  exits: { io: number; mmio: number; assist: number; interrupted: number };
}

export async function tsvmJson(
  args: string[],
  options: RunOptions = {},
): Promise<{ report: JsonReport; result: RunResult }> {
  const [command = "boot", ...rest] = args;
  const result = await tsvm([command, "--json", ...rest], options);
  return { report: JSON.parse(result.stdout) as JsonReport, result };
}
