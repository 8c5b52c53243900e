/** One command in a machine of its own, which is gone afterwards: for code that one does not trust. */
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { collectWithin } from "../agent/collect.ts";
import { AgentError } from "../agent/errors.ts";
import type { CommandUsage } from "../agent/protocol.ts";
import type { FilesInMemory } from "../agent/tree-source.ts";
import { MachineEndedError, MachineTimeoutError } from "../machine/errors.ts";
import { Machine } from "../machine/machine.ts";
import { MiB } from "../kvm/memory-map.ts";
import { checkSandbox } from "./check-options.ts";

/** What {@link sandbox} is to run, and within which limits. Either `command` or `code`. */
export interface SandboxOptions {
  /** Program and arguments; the program is looked up in the guest's PATH. */
  command?: readonly string[];
  /** The text of a program for `interpreter`. */
  code?: string | Uint8Array;
  /** What runs the code: a program and arguments, behind which the file with the code is named; `["sh"]` by default. */
  interpreter?: readonly string[];
  /** Files in the working directory, by their paths there. */
  files?: FilesInMemory;
  /** Standard input; nothing by default. */
  stdin?: string | Uint8Array;
  env?: Record<string, string>;
  /** As in `Machine.exec`; root by default: there is nothing else in the machine. */
  user?: string;
  /** Virtual processors; 1 by default. */
  cpus?: number;
  /** Bytes of guest memory; 128 MiB by default. */
  memory?: number;
  /** A disk image in whose root file system it runs, instead of the bundled one. It is only read. */
  image?: string;
  /** ms for the command, after which it is killed; 30 s by default. */
  timeLimit?: number;
  /** ms for the machine to come up; 60 s by default. */
  bootLimit?: number;
  /** Bytes of stdout and of stderr, each, beyond which the command is killed; 1 MiB by default. */
  outputLimit?: number;
  /** Files in the working directory to hand back, or directories with all that is in them. What is not there is left out. */
  outputs?: readonly string[];
  /** Bytes of those; 16 MiB by default. */
  filesLimit?: number;
  /** Ends the machine when it is aborted; `sandbox` rejects with its reason. */
  signal?: AbortSignal;
}

/** What became of a command in a {@link sandbox}. */
export interface SandboxResult {
  /** The exit status; undefined if a signal ended it. */
  readonly status: number | undefined;
  /** The number of the signal that ended it. */
  readonly signal: number | undefined;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** It was killed because `timeLimit` was over. */
  readonly timedOut: boolean;
  /** It was killed because of `outputLimit`; what came before is there. */
  readonly outputLimited: boolean;
  readonly usage: CommandUsage;
  /** The `outputs`, by their paths. */
  readonly files: Readonly<Record<string, Buffer>>;
  /** ms until the machine was there, and of the command. */
  readonly times: { readonly boot: number; readonly command: number };
}

const WORK = "/work";
/** Beside the files, not among them. */
const CODE = "/run/sandbox-code";
const SIGKILL = 9;
const MOST_FILES = 10_000;
const END_PATIENCE_MS = 5000;

/**
 * Boots a machine with nothing in it but the files, and without a network, runs the command there, and hands back what it wrote. The
 * machine is gone when this resolves.
 *
 * @throws TsvmError where that cannot be done, for example an AgentError if the command cannot be started, a MachineEndedError if it
 * brought the whole guest down; the reason of `options.signal` if that is aborted.
 * @example
 * ```ts
 * const { status, stdout } = await sandbox({
 *   code: "wc -c <input.txt; exit 3",
 *   files: { "input.txt": "hello" },
 *   timeLimit: 10_000,
 * });
 * console.log(status, stdout.toString()); // 3 "5\n"
 * ```
 */
export async function sandbox(options: SandboxOptions): Promise<SandboxResult> {
  checkSandbox(options);
  const { cpus = 1, memory = 128 * MiB, image, signal } = options;
  const { bootLimit = 60_000 } = options;
  const start = performance.now();
  const machine = await Machine.boot(
    {
      name: "sandbox",
      cpus,
      memory,
      agent: "only",
      ...(image === undefined ? {} : { disks: [{ path: image, overlay: true }] }),
    },
    { ...(signal === undefined ? {} : { signal }) },
  );
  try {
    await machine.waitForAgent({ timeout: bootLimit });
    return await run(machine, options, performance.now() - start);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof MachineTimeoutError)
      throw new MachineTimeoutError("sandbox: the machine is not up", bootLimit);
    if (error instanceof AgentError && error.code === "ERR_AGENT_LOST") {
      // Of a guest that goes down the connections are the first to be heard of.
      await Promise.race([machine.stopped, setTimeout(END_PATIENCE_MS, undefined, { ref: false })]);
      if (machine.state === "stopped")
        throw new MachineEndedError("the command ended", await machine.stopped);
    }
    throw error;
  } finally {
    await machine.stop();
  }
}

async function run(machine: Machine, options: SandboxOptions, boot: number): Promise<SandboxResult> {
  const { command, code, interpreter = ["sh"], files = {}, stdin, env = {}, user, outputs = [] } = options;
  const { timeLimit = 30_000, outputLimit = MiB, filesLimit = 16 * MiB } = options;
  const owner = user === undefined ? {} : { owner: user };
  await machine.writeFiles(files, WORK, { parents: true, ...owner });
  if (code !== undefined) await machine.writeFiles({ code: { content: code, mode: 0o755 } }, CODE, owner);
  const start = performance.now();
  const process = await machine.exec(command ?? [...interpreter, `${CODE}/code`], {
    env,
    cwd: WORK,
    ...(user === undefined ? {} : { user }),
    stdin: stdin === undefined ? "none" : Buffer.from(stdin as Uint8Array),
    timeout: timeLimit,
  });
  let outputLimited = false;
  const limit = (): void => {
    outputLimited = true;
    process.kill(SIGKILL);
  };
  const [stdout, stderr, exit] = await Promise.all([
    collectWithin(process.stdout, outputLimit, limit),
    collectWithin(process.stderr, outputLimit, limit),
    process.exit,
  ]);
  const time = performance.now() - start;
  return {
    ...exit,
    stdout,
    stderr,
    outputLimited,
    files: await takeOutputs(machine, outputs, filesLimit),
    times: { boot, command: time },
  };
}

/** By way of a temporary directory. */
async function takeOutputs(
  machine: Machine,
  outputs: readonly string[],
  limit: number,
): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  if (outputs.length === 0) return files;
  const directory = await mkdtemp(join(tmpdir(), "tsvm-sandbox-"));
  try {
    let left = limit;
    for (const [index, path] of outputs.entries()) {
      const copy = join(directory, String(index));
      try {
        const { bytes } = await machine.copyFrom(`${WORK}/${path}`, copy, {
          limits: { bytes: left, entries: MOST_FILES },
        });
        left -= bytes;
      } catch (error) {
        if (error instanceof AgentError && error.code === "ERR_AGENT_REFUSED" && error.errno === ENOENT)
          continue;
        throw error;
      }
      await readInto(files, path, copy);
    }
    return files;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const ENOENT = 2;

/** Symbolic links are left out: they lead nowhere here, or where they should not. */
async function readInto(files: Record<string, Buffer>, name: string, path: string): Promise<void> {
  const status = await lstat(path);
  if (status.isFile()) files[name] = await readFile(path);
  else if (status.isDirectory()) {
    for (const inside of await readdir(path)) await readInto(files, `${name}/${inside}`, join(path, inside));
  }
}
