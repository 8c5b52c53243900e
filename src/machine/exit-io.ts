/** Port and MMIO exits: hands what is in the kvm_run page to the bus, and what the bus answers back. Allocates nothing. */
import type { Bus } from "../devices/bus.ts";
import { KVM_EXIT_IO_OUT, kvm_exit_io, kvm_exit_mmio, kvm_run } from "../kvm/abi/structs.ts";
import type { Vcpu } from "../kvm/vcpu.ts";

const EXIT = kvm_run.offset.exit;
const IO_DIRECTION = EXIT + kvm_exit_io.offset.direction;
const IO_SIZE = EXIT + kvm_exit_io.offset.size;
const IO_PORT = (EXIT + kvm_exit_io.offset.port) / 2;
const IO_COUNT = (EXIT + kvm_exit_io.offset.count) / 4;
const IO_DATA_OFFSET = (EXIT + kvm_exit_io.offset.data_offset) / 4;
const MMIO_ADDR = (EXIT + kvm_exit_mmio.offset.phys_addr) / 4;
const MMIO_DATA = EXIT + kvm_exit_mmio.offset.data;
const MMIO_LEN = (EXIT + kvm_exit_mmio.offset.len) / 4;
const MMIO_IS_WRITE = EXIT + kvm_exit_mmio.offset.is_write;

/** Completes KVM_EXIT_IO. */
export function completeIo(vcpu: Vcpu, bus: Bus): void {
  const { runPage, runPage16, runPage32 } = vcpu;
  const size = runPage[IO_SIZE]!;
  const port = runPage16[IO_PORT]!;
  const out = runPage[IO_DIRECTION] === KVM_EXIT_IO_OUT;
  let at = runPage32[IO_DATA_OFFSET]!;
  // A string instruction (rep outsb) brings several values at once.
  for (let count = runPage32[IO_COUNT]!; count > 0; count--) {
    if (out) bus.write(port, size, readScalar(runPage, at, size));
    else writeScalar(runPage, at, size, bus.read(port, size));
    at += size;
  }
}

/** Completes KVM_EXIT_MMIO. */
export function completeMmio(vcpu: Vcpu, bus: Bus): void {
  const { runPage, runPage32 } = vcpu;
  const address = runPage32[MMIO_ADDR]! + runPage32[MMIO_ADDR + 1]! * 2 ** 32;
  const length = runPage32[MMIO_LEN]!;
  const isWrite = runPage[MMIO_IS_WRITE] !== 0;
  // Registers are at most 32 bits wide: a wider access is several.
  for (let done = 0; done < length;) {
    const size = length - done >= 4 ? 4 : length - done === 3 ? 1 : length - done;
    if (isWrite) bus.write(address + done, size, readScalar(runPage, MMIO_DATA + done, size));
    else writeScalar(runPage, MMIO_DATA + done, size, bus.read(address + done, size));
    done += size;
  }
}

function readScalar(bytes: Uint8Array, at: number, size: number): number {
  let value = bytes[at]!;
  if (size > 1) value += bytes[at + 1]! * 0x100;
  if (size > 2) value += bytes[at + 2]! * 0x1_0000 + bytes[at + 3]! * 0x100_0000;
  return value;
}

function writeScalar(bytes: Uint8Array, at: number, size: number, value: number): void {
  bytes[at] = value;
  if (size > 1) bytes[at + 1] = value >>> 8;
  if (size > 2) {
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 24;
  }
}
