/** scripts/kvm-host, for tests of it and in it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findTool, type Need } from "./needs.ts";
import { ROOT } from "./paths.ts";

export const KVM_HOST = join(ROOT, "scripts/kvm-host");

/** What a machine must have to run the test bed. */
export const TEST_BED: Need = () => {
  if (process.env.TSVM_TEST_BED !== undefined) return "a machine that is not the test bed itself";
  const packages = { "qemu-system-x86_64": "qemu-system-x86", mmdebstrap: "mmdebstrap", mke2fs: "e2fsprogs" };
  for (const [name, debianPackage] of Object.entries(packages)) {
    if (findTool(name) === undefined) return `${name} (apt-get install ${debianPackage})`;
  }
  return undefined;
};

export interface TestBedRun {
  /** 128 + n if signal n ended it. */
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A started kvm-host. Call `end` in any case. */
export class RunningTestBed {
  stdout = "";
  stderr = "";
  readonly #process;
  readonly #closed: Promise<unknown>;

  constructor(args: string[], { temporary, input = "" }: { temporary: string; input?: string | Buffer }) {
    this.#process = spawn(KVM_HOST, args, { env: { ...process.env, TMPDIR: temporary } });
    this.#process.stdout.setEncoding("latin1").on("data", (text: string) => (this.stdout += text));
    this.#process.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.#process.stdin.on("error", () => undefined).end(input);
    this.#closed = once(this.#process, "close");
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async end(): Promise<TestBedRun> {
    await this.#closed;
    return { status: this.#process.exitCode, stdout: this.stdout, stderr: this.stderr };
  }
}

export async function inTestBed(
  args: string[],
  options: { temporary: string; input?: string | Buffer },
): Promise<TestBedRun> {
  return new RunningTestBed(args, options).end();
}

/** The emulated processor fails even the test bed's own kernel now and then: then the command runs once more. */
export async function inTestBedAgain(
  args: string[],
  options: { temporary: string; input?: string | Buffer },
): Promise<TestBedRun> {
  const ATTEMPTS = 3;
  for (let attempt = 1; ; attempt++) {
    const run = await inTestBed(args, options);
    const died = run.status === 125 && run.stderr.includes("the machine stopped before the command did");
    const hung = run.status === 124;
    if (!(died || hung) || attempt === ATTEMPTS) return run;
    process.stderr.write(
      `the test bed ${hung ? "hung" : "died"} in attempt ${attempt}; once more\n${run.stderr}\n`,
    );
  }
}

/** Process ids of QEMUs that were started with something in this directory. */
export function machinesOf(directory: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, "latin1");
        return line.startsWith("qemu-system") && line.includes(directory);
      } catch {
        return false; // it has ended meanwhile
      }
    })
    .map(Number);
}
