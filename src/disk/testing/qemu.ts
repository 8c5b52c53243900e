/** The judges: QEMU's own tools. */
import { execFileSync, spawnSync } from "node:child_process";
import { tool } from "../../../test/support/needs.ts";

export const QEMU_IMG = tool("qemu-img", "qemu-utils");

export function qemuImg(...args: string[]): string {
  return execFileSync("qemu-img", args, { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 }).toString();
}

/** @param commands What qemu-io is told, one after the other. */
export function qemuIo(path: string, format: string, ...commands: string[]): string {
  const output = execFileSync("qemu-io", ["-f", format, ...commands.flatMap((one) => ["-c", one]), path], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  }).toString();
  if (/failed|error|mismatch/i.test(output)) throw new Error(output);
  return output;
}

export interface QemuCheck {
  readonly corruptions: number;
  readonly leaks: number;
  readonly errors: number;
  readonly output: string;
}

export function qemuCheck(path: string): QemuCheck {
  const { stdout, stderr } = spawnSync("qemu-img", ["check", "-f", "qcow2", "--output=json", path], {
    timeout: 60_000,
    encoding: "utf8",
  });
  const at = stdout.indexOf("{");
  if (at < 0) return { corruptions: 0, leaks: 0, errors: 1, output: stdout + stderr };
  const json = JSON.parse(stdout.slice(at)) as Record<string, number | undefined>;
  return {
    corruptions: json.corruptions ?? 0,
    leaks: json.leaks ?? 0,
    errors: json["check-errors"] ?? 0,
    output: stdout + stderr,
  };
}

/** Undefined if both show the same; otherwise what qemu-img says. */
export function qemuCompare(a: string, aFormat: string, b: string, bFormat: string): string | undefined {
  const { status, stdout, stderr } = spawnSync("qemu-img", ["compare", "-f", aFormat, "-F", bFormat, a, b], {
    timeout: 60_000,
    encoding: "utf8",
  });
  return status === 0 ? undefined : stdout + stderr;
}
