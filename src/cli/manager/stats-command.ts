/** `tsvm stats`: what running VMs use, once a second, or once. */
import { isatty } from "node:tty";
import { Manager } from "../../manager/manager.ts";
import { MonitorClient } from "../../manager/client.ts";
import type { MonitorStats } from "../../manager/protocol.ts";
import { isAlive } from "../../manager/record.ts";
import { onOutputFailure, outputFailure, print } from "../output.ts";
import { formatter, type Listing, type ListingFlags } from "./listing.ts";
import { durationText, sizeText } from "./quantities.ts";

export interface StatsFlags extends ListingFlags {
  readonly stream: boolean;
}

interface VmStats extends MonitorStats {
  readonly name: string;
  /** Of one processor of the host, in the time between two looks. */
  readonly cpuPercent: number;
}

const INTERVAL_MS = 1000;
/** Between the two looks that a single figure is made of. */
const SINGLE_INTERVAL_MS = 500;
const CLEAR = "\x1b[H\x1b[J";

const LISTING: Listing<VmStats> = {
  columns: [
    { header: "NAME", text: ({ name }) => name },
    { header: "CPU%", right: true, text: ({ cpuPercent }) => cpuPercent.toFixed(1) },
    { header: "CPU TIME", right: true, text: ({ cpuTime }) => durationText(cpuTime) },
    { header: "MEMORY", right: true, text: ({ resident }) => sizeText(resident) },
    {
      header: "GUEST",
      right: true,
      text: ({ guestResident }) => (guestResident === null ? "" : sizeText(guestResident)),
    },
    { header: "OF", right: true, text: ({ memory }) => sizeText(memory) },
    { header: "BALLOON", right: true, text: ({ balloon }) => balloonText(balloon) },
    {
      header: "EXITS",
      right: true,
      text: ({ exits }) => `${Object.values(exits).reduce((sum, one) => sum + one, 0)}`,
    },
    { header: "DISK READ", right: true, text: ({ disks }) => diskText(disks, "readBytes") },
    { header: "WRITTEN", right: true, text: ({ disks }) => diskText(disks, "writtenBytes") },
    { header: "RECEIVED", right: true, text: ({ networks }) => networkText(networks, "receivedBytes") },
    { header: "SENT", right: true, text: ({ networks }) => networkText(networks, "sentBytes") },
  ],
  fields: [
    ...[
      "name",
      "cpuPercent",
      "cpuTime",
      "guestCpuTime",
      "resident",
      "guestResident",
      "memory",
      "cpus",
      "exits",
      "disks",
      "networks",
      "balloon",
      "vsock",
      "console",
      "entropy",
      "devices",
      "uptime",
      "vcpuTimes",
      "ioCpuTime",
    ],
  ],
};

export async function statsCommand(names: readonly string[], flags: StatsFlags): Promise<void> {
  const format = formatter(LISTING, flags);
  const manager = new Manager();
  for (const name of names) manager.store.get(name);
  const watch = new Watch(manager, names);
  let ended = false;
  const unwatch = onOutputFailure(() => {
    ended = true;
  });
  const live = flags.stream && isatty(1) && flags.json !== true && flags.format === undefined;
  try {
    await watch.look();
    await pause(SINGLE_INTERVAL_MS);
    while (!ended) {
      const stats = await watch.look();
      // One document a line, where there are many.
      const text = flags.stream && flags.json === true ? `${JSON.stringify(stats)}\n` : format(stats);
      print(live ? `${CLEAR}${text}` : text);
      if (!flags.stream || outputFailure() !== undefined) return;
      await pause(INTERVAL_MS);
    }
  } finally {
    unwatch();
    watch.close();
  }
}

class Watch {
  readonly #manager: Manager;
  readonly #names: readonly string[];
  readonly #clients = new Map<string, MonitorClient>();
  readonly #before = new Map<string, { cpuTime: number; at: number }>();

  constructor(manager: Manager, names: readonly string[]) {
    this.#manager = manager;
    this.#names = names;
  }

  /** VMs that do not run, or not any more, are left out; those that were named must have run when it began. */
  async look(): Promise<VmStats[]> {
    const first = this.#before.size === 0 && this.#names.length > 0;
    const stats = await Promise.all(
      this.#running().map(async (name) => {
        try {
          return await this.#one(name);
        } catch (error) {
          this.#clients.delete(name);
          if (first) throw error;
          return undefined;
        }
      }),
    );
    return stats.filter((one) => one !== undefined);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #running(): string[] {
    if (this.#names.length > 0) return [...new Set(this.#names)];
    return this.#manager.store
      .all()
      .filter((vm) => vm.isHeld && isAlive(vm.readRecord().state))
      .map(({ name }) => name);
  }

  async #one(name: string): Promise<VmStats> {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = await this.#manager.connect(name);
      this.#clients.set(name, client);
    }
    const stats = await client.request("stats");
    const at = performance.now();
    const before = this.#before.get(name);
    this.#before.set(name, { cpuTime: stats.cpuTime, at });
    const percent = before === undefined ? 0 : (100 * (stats.cpuTime - before.cpuTime)) / (at - before.at);
    return { name, cpuPercent: Math.round(percent * 10) / 10, ...stats };
  }
}

function diskText(disks: MonitorStats["disks"], key: "readBytes" | "writtenBytes"): string {
  return disks === null ? "" : sizeText(disks.reduce((sum, disk) => sum + disk[key], 0));
}

/** A monitor that an older tsvm has started says nothing of networks and balloon. */
function networkText(
  networks: MonitorStats["networks"] | undefined,
  key: "receivedBytes" | "sentBytes",
): string {
  return networks === null || networks === undefined
    ? ""
    : sizeText(networks.reduce((sum, network) => sum + network[key], 0));
}

/** What the guest has given up; with what it is to give up, where that is more. */
function balloonText(balloon: MonitorStats["balloon"] | undefined): string {
  if (balloon === null || balloon === undefined) return "";
  const { actual, target } = balloon;
  return actual === target ? sizeText(actual) : `${sizeText(actual)} (${sizeText(target)})`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
