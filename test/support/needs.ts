/**
 * What a test needs of the host. A test that cannot run is skipped under a name that says what is missing:
 * `describe.skipIf(lacks(KVM))(...)` would hide the reason, `suite("…", [KVM], …)` shows it.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/** Undefined where the host has it, else what is missing. */
export type Need = () => string | undefined;

export const KVM: Need = () => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return existsSync("/dev/kvm") ? "permission for /dev/kvm" : "/dev/kvm";
  }
};

/** A KVM that emulates kernel code: the processor has neither VMX nor SVM. */
export const SOFTWARE_KVM: Need = () =>
  /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync("/proc/cpuinfo", "utf8"))
    ? "a software KVM, and this host has hardware virtualization"
    : KVM();

export const ROOT_USER: Need = () => (process.getuid?.() === 0 ? undefined : "root");

/** For tests that hide /dev/kvm from tsvm. */
export const MOUNT_NAMESPACE: Need = () => {
  const lacking = ROOT_USER() ?? tool("unshare", "util-linux")();
  if (lacking !== undefined) return lacking;
  try {
    execFileSync("unshare", ["--mount", "true"], { stdio: "ignore", timeout: 5000 });
    return undefined;
  } catch {
    return "permission for mount namespaces";
  }
};

/** A program in PATH, and the Debian package that has it. */
export function tool(name: string, debianPackage: string): Need {
  return () => (findTool(name) === undefined ? `${name} (apt-get install ${debianPackage})` : undefined);
}

/** Disk tools often lie in sbin, which is not in a user's PATH. */
export function findTool(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

export const MKE2FS = tool("mke2fs", "e2fsprogs");
export const E2FSCK = tool("e2fsck", "e2fsprogs");
export const DEBUGFS = tool("debugfs", "e2fsprogs");
export const QEMU_IMG = tool("qemu-img", "qemu-utils");
export const QEMU_IO = tool("qemu-io", "qemu-utils");
export const SCRIPT = tool("script", "bsdutils");

function missing(needs: readonly Need[]): string[] {
  return [...new Set(needs.map((need) => need()).filter((what) => what !== undefined))];
}

/** `describe` for tests with needs. */
export function suite(name: string, needs: readonly Need[], body: () => void): void {
  const lacking = missing(needs);
  describe.skipIf(lacking.length > 0)(withReason(name, lacking), body);
}

/** `test` with needs of its own. */
export function check(
  name: string,
  needs: readonly Need[],
  body: () => Promise<void> | void,
  timeout?: number,
): void {
  const lacking = missing(needs);
  test.skipIf(lacking.length > 0)(withReason(name, lacking), body, timeout);
}

function withReason(name: string, lacking: readonly string[]): string {
  return lacking.length === 0 ? name : `${name} (needs ${lacking.join(", ")})`;
}
