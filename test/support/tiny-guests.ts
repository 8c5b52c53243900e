/** The tiny guests of firmware/tiny, and a few more that only tests need. Machine code is 32-bit, without paging. */
interface TinyGuests {
  pvhGuest(code: Uint8Array): Buffer;
  ONE_BYTE_AND_TRIPLE_FAULT: Uint8Array;
  ONE_BYTE_AND_RESET: Uint8Array;
  ONE_BYTE_AND_HALT: Uint8Array;
  ENDLESS_LOOP: Uint8Array;
  portReads(port: number, count: number): Uint8Array;
  mmioReads(address: number, count: number): Uint8Array;
}

const module: string = "../../firmware/tiny/pvh-guest.mjs";
export const {
  pvhGuest,
  ONE_BYTE_AND_TRIPLE_FAULT,
  ONE_BYTE_AND_RESET,
  ONE_BYTE_AND_HALT,
  ENDLESS_LOOP,
  portReads,
  mmioReads,
} = (await import(module)) as TinyGuests;

/** `mov al, 0xfe; out 0x64, al; hlt` */
const RESET = [0xb0, 0xfe, 0xe6, 0x64, 0xf4];
/** `mov dx, 0x3f8` */
const SERIAL_PORT = [0x66, 0xba, 0xf8, 0x03];

/** Prints text, then resets. */
export function printAndReset(text: string): Uint8Array {
  const print = [...Buffer.from(text, "latin1")].flatMap((byte) => [0xb0, byte, 0xee]);
  return Uint8Array.from([...SERIAL_PORT, ...print, ...RESET]);
}

/** Prints text with one `rep outsb`, then resets. */
export function printStringAndReset(text: string): Uint8Array {
  const code = [
    ...SERIAL_PORT,
    0xbe, // mov esi, text
    0,
    0,
    0x10,
    0,
    0xb9, // mov ecx, length
    ...[0, 8, 16, 24].map((shift) => (text.length >>> shift) & 0xff),
    0xf3,
    0x6e, // rep outsb
    ...RESET,
  ];
  code[5] = code.length; // of a guest that lies at 1 MiB
  return Uint8Array.from([...code, ...Buffer.from(text, "latin1")]);
}

/** Prints what it reads from the serial port until it has read a line feed, then resets. */
export const ECHO_LINE = Uint8Array.from([
  ...[0x66, 0xba, 0xfd, 0x03], // again: mov dx, line status
  ...[0xec, 0xa8, 0x01, 0x74, 0xf7], // in al, dx; test al, 1; jz again
  ...SERIAL_PORT,
  ...[0xec, 0xee], // in al, dx; out dx, al
  ...[0x3c, 0x0a, 0x75, 0xeb], // cmp al, '\n'; jne again
  ...RESET,
]);

/** `aesenc xmm0, xmm1` after CR4.OSFXSR has been set: neither a software KVM's emulator nor tsvm has it. */
export const UNSUPPORTED = Uint8Array.from([
  ...[0x0f, 0x20, 0xe0], // mov eax, cr4
  ...[0x0d, 0x00, 0x02, 0x00, 0x00], // or eax, OSFXSR
  ...[0x0f, 0x22, 0xe0], // mov cr4, eax
  ...[0x66, 0x0f, 0x38, 0xdc, 0xc1], // aesenc xmm0, xmm1, at 0x10000b
  ...RESET,
]);
