/**
 * Tiny guests for tests and benchmarks: a few bytes of 32-bit machine code at 1 MiB in an ELF file that starts through the
 * PVH entry point, as tsvm and QEMU both load it. No assembler needed.
 */

const LOAD_ADDRESS = 0x10_0000;
const EHDR = 64;
const PHDR = 56;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** An ELF file with `code` as its whole content. */
export function pvhGuest(code) {
  const note = Buffer.alloc(20);
  note.writeUInt32LE(4, 0); // namesz
  note.writeUInt32LE(4, 4); // descsz
  note.writeUInt32LE(XEN_ELFNOTE_PHYS32_ENTRY, 8);
  note.write("Xen\0", 12, "latin1");
  note.writeUInt32LE(LOAD_ADDRESS, 16);

  const headers = EHDR + 2 * PHDR;
  const noteOffset = headers;
  const codeOffset = noteOffset + note.length;
  const file = Buffer.alloc(codeOffset + code.length);
  file.write("\x7fELF\x02\x01\x01", 0, "latin1"); // 64-bit, little endian
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(62, 18); // EM_X86_64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(LOAD_ADDRESS), 24); // e_entry
  file.writeBigUInt64LE(BigInt(EHDR), 32); // e_phoff
  file.writeUInt16LE(EHDR, 52);
  file.writeUInt16LE(PHDR, 54);
  file.writeUInt16LE(2, 56); // e_phnum
  programHeader(file, EHDR, {
    type: 1,
    flags: 7,
    offset: codeOffset,
    address: LOAD_ADDRESS,
    size: code.length,
  });
  programHeader(file, EHDR + PHDR, { type: 4, flags: 4, offset: noteOffset, address: 0, size: note.length });
  note.copy(file, noteOffset);
  Buffer.from(code).copy(file, codeOffset);
  return file;
}

function programHeader(file, at, { type, flags, offset, address, size }) {
  file.writeUInt32LE(type, at);
  file.writeUInt32LE(flags, at + 4);
  file.writeBigUInt64LE(BigInt(offset), at + 8);
  file.writeBigUInt64LE(BigInt(address), at + 16);
  file.writeBigUInt64LE(BigInt(address), at + 24);
  file.writeBigUInt64LE(BigInt(size), at + 32);
  file.writeBigUInt64LE(BigInt(size), at + 40);
  file.writeBigUInt64LE(4n, at + 48);
}

/** `mov edx, port` */
const movDx = (port) => [0x66, 0xba, port & 0xff, port >> 8];
const movAl = (value) => [0xb0, value];
const OUT_DX_AL = 0xee;

/** Writes "!" to the serial port and makes a triple fault: it ends tsvm and QEMU alike. 16 bytes. */
export const ONE_BYTE_AND_TRIPLE_FAULT = Uint8Array.from([
  ...movDx(0x3f8),
  ...movAl(0x21),
  OUT_DX_AL,
  // An IDT without entries: the first exception cannot be delivered, nor the one that follows from that.
  0x0f,
  0x01,
  0x1d,
  ...dword(0x18_0000), // lidt [0x180000]: RAM that nobody has written to
  0x0f,
  0x0b, // ud2
]);

/** Writes "!" and asks the keyboard controller for a reset. */
export const ONE_BYTE_AND_RESET = Uint8Array.from([
  ...movDx(0x3f8),
  ...movAl(0x21),
  OUT_DX_AL,
  ...movAl(0xfe),
  0xe6,
  0x64, // out 0x64, al
  0xf4,
]);

/** Writes "!" and halts with interrupts off. */
export const ONE_BYTE_AND_HALT = Uint8Array.from([
  ...movDx(0x3f8),
  ...movAl(0x21),
  OUT_DX_AL,
  0xfa,
  0xf4,
  0xeb,
  0xfe,
]);

/** Masks all interrupts of the PICs and waits for one: idle for ever. */
export const IDLE = Uint8Array.from([
  ...movAl(0xff),
  0xe6,
  0x21,
  0xe6,
  0xa1,
  0xfb, // again: sti
  0xf4, // hlt
  0xeb,
  0xfc, // jmp again
]);

/** Spins for ever. */
export const ENDLESS_LOOP = Uint8Array.from([0xeb, 0xfe]);

/** Reads port `port` `count` times, then resets: `count` exits for port I/O. */
export function portReads(port, count) {
  return Uint8Array.from([
    ...movDx(port),
    0xb9,
    ...dword(count), // mov ecx, count
    0xec, // in al, dx
    0xe2,
    0xfd, // loop -3
    ...movAl(0xfe),
    0xe6,
    0x64,
    0xf4,
  ]);
}

/** Reads the 32-bit word at physical `address` `count` times, then resets: `count` exits for MMIO. */
export function mmioReads(address, count) {
  return Uint8Array.from([
    0xb9,
    ...dword(count),
    0xa1,
    ...dword(address), // mov eax, [address]
    0xe2,
    0xf9, // loop -7
    ...movAl(0xfe),
    0xe6,
    0x64,
    0xf4,
  ]);
}

function dword(value) {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
