/** What a monitor tells of its VM as metrics for Prometheus. docs/metrics.md has the list. */
import type { MonitorStats } from "../protocol.ts";
import type { Exposition, Labels } from "./exposition.ts";

/** ms. */
const SECOND = 1000;

/** What monitors that an older tsvm has started leave out. */
type Told = Partial<MonitorStats>;

export function addVm(to: Exposition, name: string, stats: Told): void {
  const vm: Labels = { vm: name };
  addProcess(to, vm, stats);
  addDisks(to, vm, stats);
  addNetworks(to, vm, stats);
  addSmallDevices(to, vm, stats);
  addBalloon(to, vm, stats);
}

function addProcess(to: Exposition, vm: Labels, stats: Told): void {
  const { cpuTime, vcpuTimes, ioCpuTime, uptime, cpus, memory, resident, guestResident, exits, devices } =
    stats;
  if (cpuTime !== undefined)
    to.counter(
      "tsvm_vm_cpu_seconds_total",
      "CPU time of the VM's process, the guest's included.",
      vm,
      cpuTime / SECOND,
    );
  const thread = "CPU time of one thread of the machine, since the machine was started.";
  for (const [index, time] of (vcpuTimes ?? []).entries())
    to.counter("tsvm_vm_thread_cpu_seconds_total", thread, { ...vm, thread: `vcpu${index}` }, time / SECOND);
  if (typeof ioCpuTime === "number")
    to.counter("tsvm_vm_thread_cpu_seconds_total", thread, { ...vm, thread: "io" }, ioCpuTime / SECOND);
  if (typeof uptime === "number")
    to.gauge("tsvm_vm_uptime_seconds", "Time since the guest's first instruction.", vm, uptime / SECOND);
  if (cpus !== undefined) to.gauge("tsvm_vm_cpus", "Virtual processors.", vm, cpus);
  if (memory !== undefined) to.gauge("tsvm_vm_memory_bytes", "Memory that the guest was given.", vm, memory);
  if (typeof guestResident === "number") {
    const help = "Guest memory that the host really has to keep.";
    to.gauge("tsvm_vm_memory_resident_bytes", help, vm, guestResident);
  }
  if (resident !== undefined)
    to.gauge(
      "tsvm_vm_process_resident_bytes",
      "Memory of the VM's process, guest memory included.",
      vm,
      resident,
    );
  for (const [kind, count] of Object.entries(exits ?? {}))
    to.counter("tsvm_vm_exits_total", "Exits from the guest to tsvm.", { ...vm, kind }, count);
  for (const { name, interrupts, notifications } of devices ?? []) {
    const labels = { ...vm, device: name };
    to.counter(
      "tsvm_device_interrupts_total",
      "Interrupts that a virtio device has raised.",
      labels,
      interrupts,
    );
    const help = "How often the guest has woken a virtio device.";
    to.counter("tsvm_device_notifications_total", help, labels, notifications);
  }
}

function addDisks(to: Exposition, vm: Labels, { disks }: Told): void {
  for (const [index, disk] of (disks ?? []).entries()) {
    const labels = { ...vm, disk: `vd${String.fromCharCode(0x61 + index)}` };
    to.gauge("tsvm_disk_info", "The image of a disk.", { ...labels, path: disk.path }, 1);
    to.counter("tsvm_disk_reads_total", "Read requests.", labels, disk.reads);
    to.counter("tsvm_disk_read_bytes_total", "Bytes read.", labels, disk.readBytes);
    to.counter("tsvm_disk_writes_total", "Write requests.", labels, disk.writes);
    to.counter("tsvm_disk_written_bytes_total", "Bytes written.", labels, disk.writtenBytes);
    to.counter("tsvm_disk_flushes_total", "Flush requests.", labels, disk.flushes);
    to.counter("tsvm_disk_discards_total", "Requests to discard or to write zeroes.", labels, disk.discards);
    to.counter("tsvm_disk_errors_total", "Requests that have failed.", labels, disk.errors);
    to.counter("tsvm_disk_throttled_total", "Waits for a rate limit.", labels, disk.throttled);
    const help = "How long requests have taken, without waits for a rate limit.";
    for (const [operation, counts] of Object.entries(disk.latency ?? {}))
      to.histogram("tsvm_disk_request_duration_seconds", help, { ...labels, operation }, counts);
  }
}

function addNetworks(to: Exposition, vm: Labels, { networks }: Told): void {
  for (const [index, network] of (networks ?? []).entries()) {
    const labels = { ...vm, network: `eth${index}` };
    to.gauge("tsvm_network_info", "What a network is on the host.", { ...labels, host: network.name }, 1);
    to.counter(
      "tsvm_network_received_bytes_total",
      "Bytes that the guest has received.",
      labels,
      network.receivedBytes,
    );
    to.counter(
      "tsvm_network_received_frames_total",
      "Frames that the guest has received.",
      labels,
      network.receivedFrames,
    );
    to.counter("tsvm_network_sent_bytes_total", "Bytes that the guest has sent.", labels, network.sentBytes);
    to.counter(
      "tsvm_network_sent_frames_total",
      "Frames that the guest has sent.",
      labels,
      network.sentFrames,
    );
    to.counter(
      "tsvm_network_dropped_total",
      "Frames of the guest's that were dropped.",
      labels,
      network.dropped,
    );
    to.counter("tsvm_network_throttled_total", "Waits for a rate limit.", labels, network.throttled);
  }
}

function addSmallDevices(to: Exposition, vm: Labels, { vsock, console, entropy }: Told): void {
  if (vsock !== undefined && vsock !== null) {
    to.counter(
      "tsvm_vsock_received_bytes_total",
      "Bytes that the guest has received.",
      vm,
      vsock.receivedBytes,
    );
    to.counter(
      "tsvm_vsock_received_packets_total",
      "Packets that the guest has received.",
      vm,
      vsock.receivedPackets,
    );
    to.counter("tsvm_vsock_sent_bytes_total", "Bytes that the guest has sent.", vm, vsock.sentBytes);
    to.counter("tsvm_vsock_sent_packets_total", "Packets that the guest has sent.", vm, vsock.sentPackets);
    to.counter("tsvm_vsock_connections_total", "Connections that were accepted.", vm, vsock.connections);
    to.gauge("tsvm_vsock_open_connections", "Connections that there are now.", vm, vsock.open);
    to.counter("tsvm_vsock_refused_total", "Connections that were not accepted.", vm, vsock.refused);
    to.counter("tsvm_vsock_errors_total", "Packets that broke the protocol.", vm, vsock.errors);
  }
  if (console !== undefined && console !== null) {
    to.counter(
      "tsvm_console_sent_bytes_total",
      "Bytes that the guest has sent by the virtio console.",
      vm,
      console.sentBytes,
    );
    const help = "Bytes that the guest has received by the virtio console.";
    to.counter("tsvm_console_received_bytes_total", help, vm, console.receivedBytes);
  }
  if (entropy !== undefined && entropy !== null) {
    to.counter("tsvm_entropy_requests_total", "Requests for random bytes.", vm, entropy.requests);
    to.counter("tsvm_entropy_bytes_total", "Random bytes that the guest got.", vm, entropy.bytes);
  }
}

function addBalloon(to: Exposition, vm: Labels, { balloon }: Told): void {
  if (balloon === undefined || balloon === null) return;
  to.gauge("tsvm_balloon_target_bytes", "Memory that the guest is to give up.", vm, balloon.target);
  to.gauge(
    "tsvm_balloon_actual_bytes",
    "Memory that the guest has given up, as it says.",
    vm,
    balloon.actual,
  );
  to.counter("tsvm_balloon_inflated_bytes_total", "Memory put into the balloon.", vm, balloon.inflatedBytes);
  to.counter(
    "tsvm_balloon_deflated_bytes_total",
    "Memory taken out of the balloon.",
    vm,
    balloon.deflatedBytes,
  );
  to.counter(
    "tsvm_balloon_reported_bytes_total",
    "Free memory that the guest has told of.",
    vm,
    balloon.reportedBytes,
  );
  to.counter("tsvm_balloon_errors_total", "Pages that could not be taken.", vm, balloon.errors);
  const { guest } = balloon;
  if (guest === undefined) return;
  to.gauge(
    "tsvm_guest_memory_age_seconds",
    "Time since the guest has told its own figures.",
    vm,
    guest.age / SECOND,
  );
  const gauges = { total: guest.total, free: guest.free, available: guest.available, caches: guest.caches };
  for (const [what, bytes] of Object.entries(gauges)) {
    if (bytes !== undefined)
      to.gauge(`tsvm_guest_memory_${what}_bytes`, `Memory of the guest, as it says: ${what}.`, vm, bytes);
  }
  const counters = {
    swap_in_bytes: guest.swapIn,
    swap_out_bytes: guest.swapOut,
    major_faults: guest.majorFaults,
    minor_faults: guest.minorFaults,
    oom_kills: guest.oomKills,
  };
  for (const [what, count] of Object.entries(counters)) {
    if (count !== undefined)
      to.counter(
        `tsvm_guest_${what}_total`,
        `Of the guest, as it says: ${what.replaceAll("_", " ")}.`,
        vm,
        count,
      );
  }
}
