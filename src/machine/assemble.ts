/** Turns a description into a {@link MachinePlan}: opens, allocates and loads everything short of running it. */
import { acpiTables, type AcpiTables } from "../boot/acpi/index.ts";
import { joinCommandLine, virtioMmioParameter } from "../boot/command-line.ts";
import { loadKernel, type LoadedKernel } from "../boot/load-kernel.ts";
import { AcpiPower } from "../devices/acpi-power.ts";
import { Cmos } from "../devices/cmos.ts";
import { Serial } from "../devices/serial.ts";
import { BALLOON_COUNTER_BYTES } from "../devices/virtio/balloon/balloon-counters.ts";
import { balloonModel } from "../devices/virtio/balloon/balloon.ts";
import { GuestStatistics } from "../devices/virtio/balloon/guest-statistics.ts";
import { PAGE } from "../devices/virtio/balloon/page-runs.ts";
import { BlkCounters } from "../devices/virtio/blk-counters.ts";
import { blkModel } from "../devices/virtio/blk.ts";
import { consoleModel, type WindowSize } from "../devices/virtio/console.ts";
import {
  ACTIVITY_COUNTER_BYTES,
  CONSOLE_COUNTER_BYTES,
  ENTROPY_COUNTER_BYTES,
} from "../devices/virtio/device-counters.ts";
import { R } from "../devices/virtio/mmio.ts";
import { NET_COUNTER_BYTES } from "../devices/virtio/net/net-counters.ts";
import { rngModel } from "../devices/virtio/rng.ts";
import { VSOCK_COUNTER_BYTES } from "../devices/virtio/vsock/vsock-counters.ts";
import { VirtioState, type VirtioModel } from "../devices/virtio/state.ts";
import { openDisk } from "../disk/open.ts";
import { TsvmError } from "../errors.ts";
import { close } from "../ffi/libc.ts";
import { vcpuCpuid } from "../kvm/cpuid.ts";
import { GuestMemory } from "../kvm/guest-memory.ts";
import { isSoftwareKvm } from "../kvm/host.ts";
import { Kvm } from "../kvm/kvm.ts";
import { VIRTIO_MMIO_BASE, VIRTIO_MMIO_SIZE } from "../kvm/memory-map.ts";
import type { Vm } from "../kvm/vm.ts";
import { openBootFiles } from "./boot-files.ts";
import type { Cleanup } from "./cleanup.ts";
import { ControlBlock } from "./control.ts";
import { ACPI_POWER_IRQ, ACPI_POWER_PORT, CMOS_PORT, COM1_IRQ, COM1_PORT, wordsOf } from "./devices.ts";
import { createEventFd } from "./doorbell.ts";
import { CONTROL_PORT_NAME } from "./guest-init.ts";
import type { OpenNetwork } from "./networks.ts";
import { createInputPipe, createOutputPipe, type WorkerPipe } from "./pipe.ts";
import type { MachinePlan, VcpuPlan, VirtioBackendPlan, VirtioPlan } from "./plan.ts";
import { SharedLayout } from "./shared-layout.ts";
import type { ResolvedMachine } from "./resolve.ts";
import type { OpenVsock } from "./vsock.ts";

/** Interrupt lines for virtio devices: what the timer, COM1, the clock, ACPI, the FPU and the cascade leave free. */
const VIRTIO_IRQS = [5, 6, 7, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/** The guest's byte streams. */
export interface MachinePipes {
  readonly serialOutput: WorkerPipe;
  readonly serialInput: WorkerPipe;
  /** Port 0 of the virtio console and the control port, where the machine has them. */
  readonly virtio:
    | {
        readonly output: WorkerPipe;
        readonly input: WorkerPipe;
        readonly controlOutput: WorkerPipe;
        readonly controlInput: WorkerPipe;
      }
    | undefined;
}

export interface Assembly {
  readonly plan: MachinePlan;
  /** KVM knows the guest's memory: before that no vCPU can run. */
  readonly memoryInPlace: Promise<void>;
  readonly vcpus: readonly VcpuPlan[];
  readonly pipes: MachinePipes;
  readonly control: ControlBlock;
  readonly kernel: LoadedKernel;
  /** What the guest kernel was told. */
  readonly commandLine: string;
  /** What the user should know of the disks, without being an error. */
  readonly warnings: readonly string[];
}

interface DeviceRequest {
  readonly model: VirtioModel;
  readonly backend: VirtioBackendPlan;
}

/** Everything made here is undone by `cleanup`, also when this throws half-way. */
export function assemble(
  machine: ResolvedMachine,
  kvm: Kvm,
  windowSize: WindowSize,
  networks: readonly OpenNetwork[],
  vsock: OpenVsock | undefined,
  cleanup: Cleanup,
): Assembly {
  const bootFiles = openBootFiles(machine);
  cleanup.add(() => bootFiles.close());
  const vm = kvm.createVm();
  cleanup.add(() => vm.close());
  vm.createInterruptControllers();
  const memory = GuestMemory.create(machine.memory, { hugePages: machine.hugePages });
  cleanup.add(() => memory.release());
  const memoryInPlace = vm.setGuestMemory(memory);
  memoryInPlace.catch(() => undefined); // of no interest where this function fails

  const layout = new SharedLayout();
  const control = layout.add(ControlBlock.bytes(machine.cpus));
  const cmos = layout.add(Cmos.STATE_BYTES);
  const serialState = layout.add(Serial.STATE_BYTES);
  const pipes = createPipes(machine, cleanup);
  const warnings: string[] = [];
  const requests: DeviceRequest[] = machine.disks.map((disk) => diskRequest(disk, layout, cleanup, warnings));
  for (const network of networks) requests.push(networkRequest(network, layout));
  if (vsock !== undefined) requests.push(vsockRequest(vsock, layout));
  if (pipes.virtio !== undefined) requests.push(consoleRequest(pipes.virtio, windowSize, layout));
  requests.push({
    model: rngModel(),
    backend: { type: "rng", counters: layout.add(ENTROPY_COUNTER_BYTES) },
  });
  if (machine.balloon !== undefined) requests.push(balloonRequest(machine.balloon, layout));

  const eventFd = (): number => {
    const fd = createEventFd();
    cleanup.add(() => close(fd));
    return fd;
  };
  const virtio = requests.map((request, index) => connectDevice(request, index, vm, layout, eventFd));
  const serialIrq = eventFd();
  vm.irqfd(serialIrq, COM1_IRQ);

  const acpiPower = machine.acpi ? { state: layout.add(AcpiPower.STATE_BYTES), irqFd: eventFd() } : undefined;
  if (acpiPower !== undefined) vm.irqfd(acpiPower.irqFd, ACPI_POWER_IRQ);

  const plan: MachinePlan = {
    shared: layout.allocate(),
    memory: memory.plan,
    vcpuMmapSize: kvm.getVcpuMmapSize(),
    syncRegs: enableEmulationExits(vm),
    serial: {
      state: serialState,
      irqFd: serialIrq,
      outputFd: pipes.serialOutput.fd,
      inputFd: pipes.serialInput.fd,
      readyFd: eventFd(),
    },
    cmos,
    acpiPower,
    virtio,
    ioControlFd: eventFd(),
    control,
  };
  for (const { model, state } of virtio) {
    new VirtioState(model, wordsOf(plan, state), () => undefined).initialize();
  }

  const commandLine = joinCommandLine(machine.commandLine, ...virtio.map(window).map(virtioMmioParameter));
  const acpi = machine.acpi ? describeInAcpi(machine, virtio) : undefined;
  const kernel = loadKernel(memory, { ...bootFiles, cmdline: commandLine, cpus: machine.cpus, acpi });
  bootFiles.close();
  const cpuid = kvm.getSupportedCpuid();
  const tscDeadline = kvm.checkExtension("KVM_CAP_TSC_DEADLINE_TIMER") > 0;
  const vcpus = Array.from({ length: machine.cpus }, (_, index): VcpuPlan => {
    const fd = vm.createVcpu(index);
    cleanup.add(() => close(fd));
    return {
      index,
      fd,
      cpuid: vcpuCpuid(cpuid, { index, cpus: machine.cpus, tscDeadline, softwareKvm: isSoftwareKvm() }),
      entry: index === 0 ? kernel.entry : undefined,
    };
  });

  return {
    plan,
    memoryInPlace,
    vcpus,
    control: new ControlBlock(plan.shared, control.offset, control.bytes),
    kernel,
    commandLine,
    pipes,
    warnings,
  };
}

function createPipes({ virtioConsole }: ResolvedMachine, cleanup: Cleanup): MachinePipes {
  return {
    // The serial port is written by vCPU threads, which wait where the I/O thread must not.
    serialOutput: createOutputPipe(cleanup, true),
    serialInput: createInputPipe(cleanup),
    virtio: virtioConsole
      ? {
          output: createOutputPipe(cleanup, false),
          input: createInputPipe(cleanup),
          controlOutput: createOutputPipe(cleanup, false),
          controlInput: createInputPipe(cleanup),
        }
      : undefined,
  };
}

function consoleRequest(
  pipes: NonNullable<MachinePipes["virtio"]>,
  size: WindowSize,
  layout: SharedLayout,
): DeviceRequest {
  const counters = layout.add(CONSOLE_COUNTER_BYTES);
  const ports = [
    { name: "", inputFd: pipes.input.fd, outputFd: pipes.output.fd },
    { name: CONTROL_PORT_NAME, inputFd: pipes.controlInput.fd, outputFd: pipes.controlOutput.fd },
  ];
  return { model: consoleModel(ports.length, size), backend: { type: "console", ports, size, counters } };
}

function window({ base, irq }: VirtioPlan): { base: number; size: number; irq: number } {
  return { base, size: VIRTIO_MMIO_SIZE, irq };
}

function diskRequest(
  disk: ResolvedMachine["disks"][number],
  layout: SharedLayout,
  cleanup: Cleanup,
  warnings: string[],
): DeviceRequest {
  const { path, readOnly, serial, rateLimits } = disk;
  const { plan, fds, size, warnings: complaints } = openDisk(path, disk);
  warnings.push(...complaints);
  for (const fd of fds) cleanup.add(() => close(fd));
  const counters = layout.add(BlkCounters.BYTES);
  return {
    model: blkModel({ size, readOnly }),
    backend: { type: "blk", path, disk: plan, serial, rateLimits, counters },
  };
}

function networkRequest({ model, ...network }: OpenNetwork, layout: SharedLayout): DeviceRequest {
  return { model, backend: { type: "net", ...network, counters: layout.add(NET_COUNTER_BYTES) } };
}

function vsockRequest({ model, cid, listenFd, portPath }: OpenVsock, layout: SharedLayout): DeviceRequest {
  const counters = layout.add(VSOCK_COUNTER_BYTES);
  return { model, backend: { type: "vsock", cid, listenFd, portPath, counters } };
}

function balloonRequest(
  { size, reporting, deflateOnOom, statsInterval }: NonNullable<ResolvedMachine["balloon"]>,
  layout: SharedLayout,
): DeviceRequest {
  return {
    model: balloonModel({ pages: Math.floor(size / PAGE), reporting, deflateOnOom }),
    backend: {
      type: "balloon",
      statsInterval: statsInterval === undefined ? undefined : statsInterval * 1000,
      counters: layout.add(BALLOON_COUNTER_BYTES),
      statistics: layout.add(GuestStatistics.BYTES),
    },
  };
}

function connectDevice(
  { model, backend }: DeviceRequest,
  index: number,
  vm: Vm,
  layout: SharedLayout,
  eventFd: () => number,
): VirtioPlan {
  const irq = VIRTIO_IRQS[index];
  if (irq === undefined) throw new TsvmError("ERR_DESCRIPTION", "more devices than interrupt lines");
  const base = VIRTIO_MMIO_BASE + index * VIRTIO_MMIO_SIZE;
  const irqFd = eventFd();
  vm.irqfd(irqFd, irq);
  const notifyFds = model.queueSizes.map((_, queue) => {
    const fd = eventFd();
    vm.ioeventfd(fd, base + R.QueueNotify, queue);
    return fd;
  });
  return {
    model,
    state: layout.add(VirtioState.bytes(model)),
    base,
    irq,
    irqFd,
    wakeFd: eventFd(),
    notifyFds,
    activity: layout.add(ACTIVITY_COUNTER_BYTES),
    backend,
  };
}

/** True where KVM hands instructions that its emulator lacks to us, with registers in the kvm_run page. */
function enableEmulationExits(vm: Vm): boolean {
  if (vm.checkExtension("KVM_CAP_EXIT_ON_EMULATION_FAILURE") > 0) {
    vm.enableCap("KVM_CAP_EXIT_ON_EMULATION_FAILURE", 1n);
  }
  const ALL_REGISTERS = 7;
  return (vm.checkExtension("KVM_CAP_SYNC_REGS") & ALL_REGISTERS) === ALL_REGISTERS;
}

function describeInAcpi({ cpus }: ResolvedMachine, virtio: readonly VirtioPlan[]): AcpiTables {
  return acpiTables({
    cpus,
    serialPort: { port: COM1_PORT, irq: COM1_IRQ },
    clock: { port: CMOS_PORT },
    power: { port: ACPI_POWER_PORT, irq: ACPI_POWER_IRQ },
    virtioMmio: virtio.map(window),
  });
}
