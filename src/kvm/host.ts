import { closeSync, openSync, readSync } from "node:fs";

let software: boolean | undefined;

/**
 * Whether this host's KVM works without virtualization instructions of the processor, so that it emulates guest kernels
 * instruction by instruction: the processor flags show neither VMX nor SVM.
 */
export function isSoftwareKvm(): boolean {
  return (software ??= !/^flags\b.*\b(vmx|svm)\b/m.test(firstProcessor()));
}

/** The beginning of /proc/cpuinfo: one processor is enough, and a large host has hundreds. */
function firstProcessor(): string {
  const fd = openSync("/proc/cpuinfo", "r");
  try {
    const buffer = Buffer.alloc(8192);
    return buffer.toString("latin1", 0, readSync(fd, buffer, 0, buffer.length, 0));
  } finally {
    closeSync(fd);
  }
}
