/**
 * The tables by which a kernel without ACPI finds processors, I/O APIC and interrupt wiring: a floating pointer structure
 * in the EBDA that leads to a configuration table. Intel MultiProcessor Specification 1.4, chapter 4.
 */
import { bytes, struct, u16, u32, u8 } from "../ffi/struct.ts";
import { ProcessorCountError } from "./errors.ts";
import { MP_FLOATING_POINTER_ADDRESS, MP_TABLE_ADDRESS } from "./layout.ts";

/** APIC ids have 8 bits and 0xff addresses all processors at once. */
export const MAX_MP_PROCESSORS = 255;

const LOCAL_APIC_ADDRESS = 0xfee0_0000;
const IO_APIC_ADDRESS = 0xfec0_0000;
const IO_APIC_PINS = 24;

/** Specification revision 1.4. */
const SPEC_REVISION = 4;

/** Section 4.1. */
const mpf_intel = struct("mpf_intel", {
  signature: bytes(4),
  physptr: u32,
  /** In units of 16 bytes. */
  length: u8,
  specification: u8,
  checksum: u8,
  /** feature1 = 0: there is a configuration table. feature2 bit 7 = 0: virtual wire mode, no IMCR. */
  feature: bytes(5),
});

/** Section 4.2. */
const mpc_table = struct("mpc_table", {
  signature: bytes(4),
  length: u16,
  spec: u8,
  checksum: u8,
  oem: bytes(8),
  productid: bytes(12),
  oemptr: u32,
  oemsize: u16,
  oemcount: u16,
  lapic: u32,
  reserved: u32,
});

const MP_PROCESSOR = 0;
const MP_BUS = 1;
const MP_IOAPIC = 2;
const MP_INTSRC = 3;
const MP_LINTSRC = 4;

const CPU_ENABLED = 1;
const CPU_BOOTPROCESSOR = 2;
/** Section 4.3.1: version of an APIC integrated into the processor, which KVM's is. */
const APIC_VERSION = 0x14;
/** A Pentium Pro; nobody uses it, CPUID tells more. */
const CPU_SIGNATURE = 0x600;
/** FPU and APIC. */
const CPU_FEATURE_FLAGS = 0x201;
const mpc_cpu = struct("mpc_cpu", {
  type: u8,
  apicid: u8,
  apicver: u8,
  cpuflag: u8,
  cpufeature: u32,
  featureflag: u32,
  reserved: bytes(8),
});

const ISA_BUS = 0;
const mpc_bus = struct("mpc_bus", { type: u8, busid: u8, bustype: bytes(6) });

const IOAPIC_VERSION = 0x11;
const MPC_APIC_USABLE = 1;
const mpc_ioapic = struct("mpc_ioapic", { type: u8, apicid: u8, apicver: u8, flags: u8, apicaddr: u32 });

const mp_INT = 0;
const mp_NMI = 1;
const mp_ExtINT = 3;
/** Polarity and trigger as usual on the bus: on ISA active high and edge-triggered. */
const CONFORMS_TO_BUS = 0;
const ALL_LOCAL_APICS = 0xff;
/** Sections 4.3.4 and 4.3.5 share one layout; in a local entry `dstapic` and `dstirq` are a local APIC and its LINT pin. */
const mpc_intsrc = struct("mpc_intsrc", {
  type: u8,
  irqtype: u8,
  irqflag: u16,
  srcbus: u8,
  srcbusirq: u8,
  dstapic: u8,
  dstirq: u8,
});

/** The PIC's cascade: no device is ever on ISA IRQ 2. */
const CASCADE_IRQ = 2;

/** Both tables of a machine with `cpus` processors, each with the guest physical address it belongs to. */
export function mpTables(cpus: number): { gpa: number; bytes: Uint8Array }[] {
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_MP_PROCESSORS) {
    throw new ProcessorCountError(`${cpus} processors: an MP table describes 1 to ${MAX_MP_PROCESSORS}`);
  }
  return [
    { gpa: MP_FLOATING_POINTER_ADDRESS, bytes: floatingPointer() },
    { gpa: MP_TABLE_ADDRESS, bytes: configurationTable(cpus) },
  ];
}

function floatingPointer(): Uint8Array {
  const pointer = mpf_intel.pack({
    signature: ascii("_MP_"),
    physptr: MP_TABLE_ADDRESS,
    length: 1,
    specification: SPEC_REVISION,
  });
  return withChecksum(pointer, mpf_intel.offset.checksum);
}

function configurationTable(cpus: number): Uint8Array {
  // APIC ids of processors and I/O APICs share one number space (section 3.6.6).
  const ioApicId = cpus;
  const entries = [
    ...Array.from({ length: cpus }, (_, apicid) => processor(apicid)),
    mpc_bus.pack({ type: MP_BUS, busid: ISA_BUS, bustype: ascii("ISA   ") }),
    mpc_ioapic.pack({
      type: MP_IOAPIC,
      apicid: ioApicId,
      apicver: IOAPIC_VERSION,
      flags: MPC_APIC_USABLE,
      apicaddr: IO_APIC_ADDRESS,
    }),
    ...interruptSources(ioApicId),
    // Virtual wire mode (section 3.6.2.2): the PIC's output arrives at LINT0 of the boot processor.
    mpc_intsrc.pack({ type: MP_LINTSRC, irqtype: mp_ExtINT, dstapic: 0, dstirq: 0 }),
    mpc_intsrc.pack({ type: MP_LINTSRC, irqtype: mp_NMI, dstapic: ALL_LOCAL_APICS, dstirq: 1 }),
  ];
  const length = entries.reduce((sum, entry) => sum + entry.length, mpc_table.size);
  const table = new Uint8Array(length);
  table.set(
    mpc_table.pack({
      signature: ascii("PCMP"),
      length,
      spec: SPEC_REVISION,
      oem: ascii("TSVM    "),
      productid: ascii("TSVM        "),
      oemcount: entries.length,
      lapic: LOCAL_APIC_ADDRESS,
    }),
  );
  let offset = mpc_table.size;
  for (const entry of entries) {
    table.set(entry, offset);
    offset += entry.length;
  }
  return withChecksum(table, mpc_table.offset.checksum);
}

function processor(apicid: number): Uint8Array {
  return mpc_cpu.pack({
    type: MP_PROCESSOR,
    apicid,
    apicver: APIC_VERSION,
    cpuflag: CPU_ENABLED | (apicid === 0 ? CPU_BOOTPROCESSOR : 0),
    cpufeature: CPU_SIGNATURE,
    featureflag: CPU_FEATURE_FLAGS,
  });
}

/**
 * IRQ n at pin n for every pin, the timer included: so KVM's irqchip routes GSI n unless told otherwise
 * (`default_routing` in arch/x86/kvm/irq_comm.c), while PC hardware and QEMU wire the timer to pin 2. A wrong entry for it costs
 * a Linux guest the "8254 timer not connected to IO-APIC" detour in check_timer().
 * Pins 16 to 23 are no ISA interrupts, but an entry makes Linux set up the pin under that same number, edge-triggered,
 * which is how irqfds of virtio-mmio devices fire.
 */
function interruptSources(ioApicId: number): Uint8Array[] {
  const sources: Uint8Array[] = [];
  for (let irq = 0; irq < IO_APIC_PINS; irq++) {
    if (irq === CASCADE_IRQ) continue;
    sources.push(
      mpc_intsrc.pack({
        type: MP_INTSRC,
        irqtype: mp_INT,
        irqflag: CONFORMS_TO_BUS,
        srcbus: ISA_BUS,
        srcbusirq: irq,
        dstapic: ioApicId,
        dstirq: irq,
      }),
    );
  }
  return sources;
}

/** Sets the byte at `offset` so that all bytes sum to 0 modulo 256. */
function withChecksum(table: Uint8Array, offset: number): Uint8Array {
  table[offset] = 0;
  table[offset] = -table.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return table;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
