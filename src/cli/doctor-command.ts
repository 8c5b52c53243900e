/** `tsvm doctor`: what this host can do, each finding with what to do about it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, freemem, release, totalmem } from "node:os";
import { TsvmError } from "../errors.ts";
import { IoUring } from "../ffi/io-uring.ts";
import { bundledFile } from "../images/bundled.ts";
import { isSoftwareKvm } from "../kvm/host.ts";
import { Kvm } from "../kvm/kvm.ts";
import { vcpuLimit } from "../kvm/limits.ts";
import { MiB } from "../kvm/memory-map.ts";
import { print } from "./output.ts";

type Verdict = "ok" | "note" | "missing";

interface Finding {
  readonly topic: string;
  readonly verdict: Verdict;
  readonly text: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
}

const MARK: Record<Verdict, string> = { ok: "ok  ", note: "note", missing: "MISS" };
/** A small Linux guest and tsvm itself. */
const COMFORTABLE_MEMORY = 256 * MiB;

/** Prints the findings; exit status 1 where a guest could not be booted. */
export function doctorCommand({ json }: { json?: boolean }): number {
  const findings = [
    ...kvmFindings(),
    hostFinding(),
    memoryFinding(),
    hugePageFinding(),
    diskFinding(),
    guestFinding(),
    ...toolFindings(),
  ];
  const ready = findings.every(({ topic, verdict }) => verdict !== "missing" || topic === "tool");
  if (json === true) {
    print(`${JSON.stringify({ ready, findings }, null, 2)}\n`);
  } else {
    for (const { topic, verdict, text, hint } of findings) {
      print(`${MARK[verdict]}  ${topic.padEnd(8)}${text}\n`);
      if (hint !== undefined) print(`              → ${hint}\n`);
    }
    print(ready ? "\nThis host can boot guests.\n" : "\nThis host cannot boot guests yet.\n");
  }
  return ready ? 0 : 1;
}

function kvmFindings(): Finding[] {
  let kvm: Kvm;
  try {
    kvm = Kvm.open();
  } catch (error) {
    return [failure("kvm", error)];
  }
  try {
    void kvm.createVm().close();
    const findings: Finding[] = [
      { topic: "kvm", verdict: "ok", text: `/dev/kvm works, up to ${vcpuLimit(kvm)} vCPUs in a machine` },
    ];
    if (!isSoftwareKvm()) {
      findings.push({ topic: "kvm", verdict: "ok", text: "hardware virtualization (VMX or SVM)" });
      return findings;
    }
    const assisted =
      kvm.checkExtension("KVM_CAP_SYNC_REGS") > 0 &&
      kvm.checkExtension("KVM_CAP_EXIT_ON_EMULATION_FAILURE") > 0;
    findings.push({
      topic: "kvm",
      verdict: assisted ? "note" : "missing",
      text: "software KVM: the processor shows neither VMX nor SVM, so guest kernels are emulated and slow",
      hint: assisted
        ? "guests boot, kernel work costs about 100 times more; use a host with virtualization for real figures"
        : "this KVM cannot hand over instructions it lacks (KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_SYNC_REGS)",
    });
    return findings;
  } catch (error) {
    return [failure("kvm", error)];
  } finally {
    kvm.close();
  }
}

function hostFinding(): Finding {
  const processors = cpus();
  return {
    topic: "host",
    verdict: "ok",
    text: `Linux ${release()}, ${processors.length} × ${processors[0]?.model.trim() ?? "unknown processor"}, Node ${process.version}`,
  };
}

function memoryFinding(): Finding {
  const mebibytes = (bytes: number): string => `${Math.floor(bytes / MiB)} MiB`;
  // MemAvailable counts what the page cache would give back, which freemem does not on older Nodes.
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readText("/proc/meminfo"));
  const available = match === null ? freemem() : Number(match[1]) * 1024;
  const low = available < COMFORTABLE_MEMORY;
  return {
    topic: "memory",
    verdict: low ? "note" : "ok",
    text: `${mebibytes(available)} of ${mebibytes(totalmem())} available`,
    hint: low ? "a small guest wants 64 MiB, and tsvm itself about 60 MiB" : undefined,
  };
}

function hugePageFinding(): Finding {
  const reserved = Number(readText("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").trim() || "0");
  const transparent =
    /\[(\w+)\]/.exec(readText("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))?.[1] ?? "unknown";
  return {
    topic: "memory",
    verdict: "ok",
    text: `huge pages: ${reserved} of 2 MiB reserved and free; transparent ones for guest memory: ${transparent}`,
  };
}

function diskFinding(): Finding {
  try {
    new IoUring(1).close();
    return { topic: "disk", verdict: "ok", text: "io_uring: disks work on many requests at a time" };
  } catch (error) {
    return {
      topic: "disk",
      verdict: "note",
      text: `no io_uring (${error instanceof Error ? error.message : String(error)}): disks do one request after the other`,
      hint: "look at sysctl kernel.io_uring_disabled, and at the seccomp filter if this is a container",
    };
  }
}

function guestFinding(): Finding {
  try {
    bundledFile("vmlinux");
    bundledFile("rootfs.ext4");
    bundledFile("init");
    return { topic: "guest", verdict: "ok", text: "the bundled Linux guest is complete" };
  } catch (error) {
    return failure("guest", error);
  }
}

function toolFindings(): Finding[] {
  return [toolFinding("qemu-img", "qemu-utils", "converts and checks disk images")];
}

function toolFinding(tool: string, debianPackage: string, purpose: string): Finding {
  try {
    const [line = ""] = execFileSync(tool, ["--version"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).split("\n");
    return { topic: "tool", verdict: "ok", text: line.trim() };
  } catch {
    return {
      topic: "tool",
      verdict: "missing",
      text: `${tool} (${purpose}) is not installed; booting does not need it`,
      hint: `apt-get install ${debianPackage}`,
    };
  }
}

function failure(topic: string, error: unknown): Finding {
  const hint = error instanceof TsvmError ? error.hint : undefined;
  return { topic, verdict: "missing", text: error instanceof Error ? error.message : String(error), hint };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
