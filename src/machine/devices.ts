/** Builds a thread's own device objects over the shared state of a {@link MachinePlan}. */
import { Bus } from "../devices/bus.ts";
import { AcpiPower, type AcpiPowerEffects } from "../devices/acpi-power.ts";
import { Cmos } from "../devices/cmos.ts";
import { I8042 } from "../devices/i8042.ts";
import { Serial } from "../devices/serial.ts";
import { ActivityCounter, activityCounters } from "../devices/virtio/device-counters.ts";
import { VirtioMmio } from "../devices/virtio/mmio.ts";
import { VirtioState } from "../devices/virtio/state.ts";
import { write } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { VIRTIO_MMIO_SIZE } from "../kvm/memory-map.ts";
import { ring } from "./doorbell.ts";
import type { MachinePlan, SharedRange, VirtioPlan } from "./plan.ts";

export const COM1_PORT = 0x3f8;
export const COM1_IRQ = 4;
export const ACPI_POWER_PORT = 0x600;
export const ACPI_POWER_IRQ = 9;
const I8042_PORT = 0x60;
export const CMOS_PORT = 0x70;

export function wordsOf(machine: MachinePlan, { offset, bytes }: SharedRange): Int32Array {
  return new Int32Array(machine.shared, offset, bytes / 4);
}

export function serialOf(machine: MachinePlan): Serial {
  const { state, irqFd, outputFd, readyFd } = machine.serial;
  const byte = allocateNative(1);
  const value = new Uint8Array(byte.buffer);
  return new Serial(wordsOf(machine, state), {
    interrupt: () => ring(irqFd),
    transmit: (sent) => {
      value[0] = sent;
      // A full pipe blocks: the guest waits for whoever reads its console. A closed one loses the byte.
      write(outputFd, byte.address, 1);
    },
    receiveReady: () => ring(readyFd),
  });
}

export function virtioStateOf(
  machine: MachinePlan,
  { model, state, irqFd, activity }: VirtioPlan,
): VirtioState {
  const counters = activityCounters(machine.shared, activity.offset);
  return new VirtioState(model, wordsOf(machine, state), () => {
    counters.add(ActivityCounter.interrupts);
    ring(irqFd);
  });
}

export type PowerEffects = Omit<AcpiPowerEffects, "interrupt">;

/** The power registers, where the machine has ACPI. */
export function acpiPowerOf(machine: MachinePlan, effects: PowerEffects): AcpiPower | undefined {
  const { acpiPower } = machine;
  if (acpiPower === undefined) return undefined;
  const interrupt = (): void => ring(acpiPower.irqFd);
  return new AcpiPower(wordsOf(machine, acpiPower.state), { ...effects, interrupt });
}

/** The port I/O space of a vCPU thread. */
export function buildPioBus(machine: MachinePlan, effects: PowerEffects): Bus {
  const bus = new Bus();
  bus.insert(serialOf(machine), COM1_PORT, Serial.PORTS);
  bus.insert(new I8042(effects.reset), I8042_PORT, I8042.PORTS);
  bus.insert(new Cmos(wordsOf(machine, machine.cmos)), CMOS_PORT, Cmos.PORTS);
  const acpiPower = acpiPowerOf(machine, effects);
  if (acpiPower !== undefined) bus.insert(acpiPower, ACPI_POWER_PORT, AcpiPower.PORTS);
  return bus;
}

/** The MMIO space of a vCPU thread. `onUse` is called whenever a guest changes a virtio device's status. */
export function buildMmioBus(machine: MachinePlan, onUse: () => void): Bus {
  const bus = new Bus();
  for (const plan of machine.virtio) {
    const device = new VirtioMmio(virtioStateOf(machine, plan), () => {
      ring(plan.wakeFd);
      onUse();
    });
    bus.insert(device, plan.base, VIRTIO_MMIO_SIZE);
  }
  return bus;
}
