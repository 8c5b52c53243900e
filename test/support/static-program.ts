/** A Linux program without a compiler: an ELF file that prints a text and powers the machine off. */
const LOAD_ADDRESS = 0x40_0000;
const HEADERS = 64 + 56;

const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

export function printAndPowerOff(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const code = (textAddress: number): number[] => [
    ...[0xb8, ...u32(1)], // mov eax, SYS_write
    ...[0xbf, ...u32(1)], // mov edi, 1
    ...[0xbe, ...u32(textAddress)], // mov esi, text
    ...[0xba, ...u32(bytes.length)], // mov edx, length
    ...[0x0f, 0x05], // syscall
    ...[0xb8, ...u32(169)], // mov eax, SYS_reboot
    ...[0xbf, ...u32(0xfee1_dead)], // mov edi, LINUX_REBOOT_MAGIC1
    ...[0xbe, ...u32(672_274_793)], // mov esi, LINUX_REBOOT_MAGIC2
    ...[0xba, ...u32(0x4321_fedc)], // mov edx, LINUX_REBOOT_CMD_POWER_OFF
    ...[0x0f, 0x05], // syscall
    ...[0xeb, 0xfe],
  ];
  const size = HEADERS + code(0).length;
  return elf(Buffer.concat([Buffer.from(code(LOAD_ADDRESS + size)), bytes]));
}

/** A static x86-64 program of one segment. */
function elf(content: Uint8Array): Buffer {
  const headers = Buffer.alloc(HEADERS);
  const size = BigInt(HEADERS + content.length);
  headers.write("\x7fELF\x02\x01\x01", 0, "latin1"); // 64-bit, little endian
  headers.writeUInt16LE(2, 16); // ET_EXEC
  headers.writeUInt16LE(62, 18); // EM_X86_64
  headers.writeUInt32LE(1, 20);
  headers.writeBigUInt64LE(BigInt(LOAD_ADDRESS + HEADERS), 24); // e_entry
  headers.writeBigUInt64LE(64n, 32); // e_phoff
  headers.writeUInt16LE(64, 52);
  headers.writeUInt16LE(56, 54);
  headers.writeUInt16LE(1, 56); // e_phnum
  headers.writeUInt32LE(1, 64); // PT_LOAD
  headers.writeUInt32LE(5, 68); // readable, executable
  headers.writeBigUInt64LE(BigInt(LOAD_ADDRESS), 80);
  headers.writeBigUInt64LE(BigInt(LOAD_ADDRESS), 88);
  headers.writeBigUInt64LE(size, 96);
  headers.writeBigUInt64LE(size, 104);
  headers.writeBigUInt64LE(4096n, 112);
  return Buffer.concat([headers, content]);
}
