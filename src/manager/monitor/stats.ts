import { readFileSync } from "node:fs";
import type { MachineDescription } from "../../machine/description.ts";
import type { Machine } from "../../machine/machine.ts";
import type { MonitorStats } from "../protocol.ts";

/** What a VM uses at this moment: its process, that is. */
export function monitorStats(description: MachineDescription, machine: Machine | undefined): MonitorStats {
  const { user, system } = process.cpuUsage();
  const { resident, shared } = residentMemory();
  const { cpus, memory } = description;
  return {
    cpuTime: (user + system) / 1000,
    resident,
    guestResident: machine === undefined ? null : shared,
    memory,
    cpus,
    exits: { ...machine?.exits },
    disks: null,
  };
}

/** Bytes, from proc_pid_status(5). Guest memory is a memfd, and nearly all that is shared memory here. */
function residentMemory(): { resident: number; shared: number } {
  const status = readFileSync("/proc/self/status", "latin1");
  const value = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { resident: value("VmRSS"), shared: value("RssShmem") };
}
