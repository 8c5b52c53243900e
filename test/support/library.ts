/** The built library, and programs that use it. */
import { once } from "node:events";
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as Library from "../../src/index.ts";
import { DIST } from "./paths.ts";
import { SLOWNESS } from "./tsvm.ts";

export const MiB = 2 ** 20;
/** URL of the module. */
export const LIBRARY = pathToFileURL(join(DIST, "index.js")).href;

export async function importLibrary(): Promise<typeof Library> {
  return (await import(LIBRARY)) as typeof Library;
}

/** Guest memories and vCPUs mapped into this process. */
export function guestMappings(): number {
  return readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => /memfd:|kvm-vcpu/.test(line)).length;
}

/** Files open in this process. */
export function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

export interface ProgramResult {
  /** Exit status; null if it had to be killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  /** For node itself. */
  nodeOptions?: string[];
  /** Killed after this many ms: what is tested here never ends by itself if it fails. */
  limit?: number;
}

/** Runs `source`, an ES module that finds all exports of the library in `tsvm`, as a program of its own. */
export async function runProgram(
  source: string,
  { nodeOptions = [], limit = 80_000 * SLOWNESS }: ProgramOptions = {},
): Promise<ProgramResult> {
  const program = `import * as tsvm from ${JSON.stringify(LIBRARY)};\n${source}`;
  const args = [...nodeOptions, "--input-type=module", "--eval", program];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes: Buffer) => (output.stdout += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => (output.stderr += bytes.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  const [status] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { status, ...output };
}
