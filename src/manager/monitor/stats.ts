import type { MachineDescription } from "../../machine/description.ts";
import type { Machine } from "../../machine/machine.ts";
import type { MonitorStats } from "../protocol.ts";

/** What a VM uses at this moment: the machine, and the process that it is in. */
export function monitorStats(description: MachineDescription, machine: Machine | undefined): MonitorStats {
  const { user, system } = process.cpuUsage();
  const used = machine?.stats();
  return {
    cpuTime: (user + system) / 1000,
    guestCpuTime: used?.cpuTime.total ?? null,
    resident: process.memoryUsage.rss(),
    guestResident: used?.memory.resident ?? null,
    memory: description.memory,
    cpus: description.cpus,
    exits: { ...used?.exits },
    disks: used?.disks ?? null,
    networks: used?.networks ?? null,
    balloon: used?.balloon ?? null,
    vsock: used?.vsock ?? null,
    console: used?.console ?? null,
    entropy: used?.entropy ?? null,
    devices: used?.devices ?? null,
    uptime: used?.uptime ?? null,
    vcpuTimes: used?.cpuTime.vcpus ?? null,
    ioCpuTime: used?.cpuTime.io ?? null,
  };
}
