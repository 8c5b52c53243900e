import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../../devices/histogram.ts";
import { check, findTool, tool } from "../../../test/support/needs.ts";
import type { MonitorStats } from "../protocol.ts";
import { parseExposition } from "../testing/parse-exposition.ts";
import { Exposition } from "./exposition.ts";
import { addVm } from "./vm-metrics.ts";

function latency(...ms: number[]): LatencyHistogram["counts"] {
  const histogram = new LatencyHistogram();
  for (const one of ms) histogram.record(one);
  return histogram.counts;
}

const DISK = {
  path: '/srv/a "quoted"\\disk\nwith a line.img',
  reads: 3,
  readBytes: 12_288,
  writes: 0,
  writtenBytes: 0,
  flushes: 1,
  discards: 0,
  errors: 0,
  throttled: 0,
  latency: {
    read: latency(0.0005, 0.003, 20_000),
    write: latency(),
    flush: latency(2.5),
    discard: latency(),
  },
};
const STATS: MonitorStats = {
  cpuTime: 1500,
  guestCpuTime: 1200,
  resident: 2 ** 27,
  guestResident: 2 ** 26,
  memory: 2 ** 28,
  cpus: 2,
  exits: { io: 1, mmio: 2, assist: 0, interrupted: 4 },
  disks: [DISK, { ...DISK, path: "/b" }],
  networks: [
    {
      name: "user",
      receivedFrames: 1,
      receivedBytes: 2 ** 53,
      sentFrames: 3,
      sentBytes: 4,
      dropped: 5,
      throttled: 6,
    },
  ],
  balloon: {
    target: 5,
    actual: 4096,
    connected: true,
    inflatedBytes: 4096,
    deflatedBytes: 0,
    reportedBytes: 8192,
    errors: 0,
    guest: { age: 250, free: 1, total: 2, available: 3, caches: 4, swapIn: 5, swapOut: 6, oomKills: 7 },
  },
  vsock: {
    sentPackets: 1,
    sentBytes: 2,
    receivedPackets: 3,
    receivedBytes: 4,
    connections: 5,
    open: 1,
    refused: 0,
    errors: 0,
  },
  console: { sentBytes: 10, receivedBytes: 20 },
  entropy: { requests: 1, bytes: 64 },
  devices: [{ name: "vda", interrupts: 7, notifications: 8 }],
  uptime: 90_000,
  vcpuTimes: [600, 500],
  ioCpuTime: 100,
};

function written(...vms: [name: string, stats: Partial<MonitorStats>][]): string {
  const exposition = new Exposition();
  for (const [name, stats] of vms) addVm(exposition, name, stats);
  return exposition.toString();
}

/** The value of one series. */
function valueOf(text: string, name: string, labels: Record<string, string>): number | undefined {
  for (const { samples } of parseExposition(text).values()) {
    const found = samples.find(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
    if (found !== undefined) return found.value;
  }
  return undefined;
}

describe("metrics of a VM", () => {
  const text = written(["web", STATS], ["db", STATS]);

  it("follow the format, the VMs of one metric together", () => {
    const families = parseExposition(text);
    for (const [name, { type, help, samples }] of families) {
      expect(name).toMatch(/^tsvm_[a-z0-9_]+$/);
      expect(name.endsWith("_total")).toBe(type === "counter");
      expect(help).not.toBe("");
      expect(new Set(samples.map(({ labels }) => labels.vm))).toEqual(new Set(["web", "db"]));
    }
  });

  it("are in seconds and bytes", () => {
    expect(valueOf(text, "tsvm_vm_cpu_seconds_total", { vm: "web" })).toBe(1.5);
    expect(valueOf(text, "tsvm_vm_thread_cpu_seconds_total", { vm: "web", thread: "vcpu1" })).toBe(0.5);
    expect(valueOf(text, "tsvm_vm_uptime_seconds", { vm: "web" })).toBe(90);
    expect(valueOf(text, "tsvm_disk_read_bytes_total", { vm: "db", disk: "vdb" })).toBe(12_288);
    expect(valueOf(text, "tsvm_network_received_bytes_total", { vm: "web", network: "eth0" })).toBe(2 ** 53);
    expect(valueOf(text, "tsvm_guest_memory_age_seconds", { vm: "web" })).toBe(0.25);
    expect(valueOf(text, "tsvm_vm_exits_total", { vm: "web", kind: "interrupted" })).toBe(4);
  });

  it("keep any path", () => {
    expect(valueOf(text, "tsvm_disk_info", { vm: "web", disk: "vda", path: DISK.path })).toBe(1);
  });

  it("have histograms whose buckets add up", () => {
    const name = "tsvm_disk_request_duration_seconds";
    const { samples } = parseExposition(text).get(name)!;
    const read = samples.filter(
      ({ labels }) => labels.vm === "web" && labels.disk === "vda" && labels.operation === "read",
    );
    const buckets = read.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels.le!.replace("Inf", "Infinity")));
    expect(bounds).toEqual(bounds.toSorted((a, b) => a - b));
    expect(bounds.at(-1)).toBe(Infinity);
    const counts = buckets.map(({ value }) => value);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect([counts[0], counts[1], counts[2], counts.at(-2), counts.at(-1)]).toEqual([1, 1, 2, 2, 3]);
    expect(read.find((sample) => sample.name === `${name}_count`)?.value).toBe(3);
    expect(read.find((sample) => sample.name === `${name}_sum`)?.value).toBeCloseTo(20.000_003_5, 9);
  });

  it("leave out what the monitor of an older tsvm does not tell, and a machine between two lives has not", () => {
    const { cpuTime, cpus, memory, resident } = STATS;
    const old = parseExposition(
      written(["web", { cpuTime, cpus, memory, resident, exits: {}, disks: null }]),
    );
    expect([...old.keys()]).toEqual([
      "tsvm_vm_cpu_seconds_total",
      "tsvm_vm_cpus",
      "tsvm_vm_memory_bytes",
      "tsvm_vm_process_resident_bytes",
    ]);
    expect(written()).toBe("");
  });

  it("are all in docs/metrics.md", () => {
    const docs = readFileSync(new URL("../../../docs/metrics.md", import.meta.url), "utf8");
    const named = new Set(docs.match(/tsvm_[a-z0-9_]+/g));
    expect([...parseExposition(text).keys()].filter((name) => !named.has(name))).toEqual([]);
  });

  check("please promtool", [tool("promtool", "prometheus")], () => {
    const complaints = execFileSync(findTool("promtool")!, ["check", "metrics"], {
      input: text,
      encoding: "utf8",
    });
    expect(complaints).toBe("");
  });
});

describe("numbers", () => {
  it.each([
    [NaN, "NaN"],
    [Infinity, "+Inf"],
    [-Infinity, "-Inf"],
    [1e300, "1e+300"],
    [0, "0"],
  ])("%d", (value, text) => {
    const exposition = new Exposition();
    exposition.gauge("a", "A\\B\nC.", {}, value);
    expect(exposition.toString()).toBe(`# HELP a A\\\\B\\nC.\n# TYPE a gauge\na ${text}\n`);
    parseExposition(exposition.toString());
  });
});
