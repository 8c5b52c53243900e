/** A manager of its own for a test file: state in a scratch directory, and nothing of it left afterwards. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { Scratch } from "./scratch.ts";
import { pvhGuest } from "./tiny-guests.ts";
import { startTsvm, tsvm, type RunningTsvm, type RunOptions, type RunResult } from "./tsvm.ts";

export interface VmsUnderTest {
  readonly state: string;
  readonly env: Record<string, string>;
  run(args: string[], options?: RunOptions): Promise<RunResult>;
  start(args: string[], options?: RunOptions): RunningTsvm;
  /** Writes a definition file of VMs with tiny guests; the result is its path. */
  file(name: string, vms: Record<string, TinyVm>): string;
  /** The same, and defines them. */
  define(vms: Record<string, TinyVm>): Promise<void>;
  /** Of the monitors that there are. */
  monitors(): number[];
  /** Ends all monitors, and removes all VMs. */
  clear(): Promise<void>;
}

/** Machine code, or the path of a kernel, and what else the definition says. */
export interface TinyVm {
  readonly code?: Uint8Array;
  readonly [key: string]: unknown;
}

export function vms(files: Scratch, state = files.path("state")): VmsUnderTest {
  // Whatever it is that a test leaves out, it must not end up in the real directories.
  const env = { TSVM_STATE_DIR: state, TSVM_RUNTIME_DIR: "" };
  const monitors = (): number[] => processesWith(state);
  const killAll = async (): Promise<void> => {
    for (const pid of monitors()) kill(pid);
    while (monitors().length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  afterAll(killAll);
  let count = 0;
  const self: VmsUnderTest = {
    state,
    env,
    run: (args, options = {}) => tsvm(args, { ...options, env: { ...env, ...options.env } }),
    start: (args, options = {}) => startTsvm(args, { ...options, env: { ...env, ...options.env } }),
    file(name, definitions) {
      const entries = Object.entries(definitions).map(([vm, { code, ...rest }]) => {
        const kernel =
          code === undefined ? {} : { kernel: files.path(`${vm}-${count++}.elf`, pvhGuest(code)) };
        return [vm, { memory: "16M", ...kernel, ...rest }];
      });
      return files.path(name, JSON.stringify({ version: 1, vms: Object.fromEntries(entries) }));
    },
    async define(definitions) {
      const { status, stderr } = await self.run(["define", self.file(`vms-${count++}.json`, definitions)]);
      if (status !== 0) throw new Error(stderr);
    },
    monitors,
    async clear() {
      await killAll();
      const { stdout } = await self.run(["ps", "--all", "--quiet"]);
      const names = stdout.split("\n").filter((name) => name !== "");
      if (names.length > 0) await self.run(["rm", "--force", ...names]);
    },
  };
  return self;
}

/** Process ids of monitors that were started with this directory. */
function processesWith(state: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const words = readFileSync(join("/proc", name, "cmdline"), "utf8").split("\0");
        return words.includes(state) && words.some((word) => word.endsWith("/monitor.cjs"));
      } catch {
        return false; // it has ended meanwhile
      }
    })
    .map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}
