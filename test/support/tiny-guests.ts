/** The tiny guests of firmware/tiny, and a few more that only tests need. Machine code is 32-bit, without paging. */
interface TinyGuests {
  pvhGuest(code: Uint8Array): Buffer;
  ONE_BYTE_AND_TRIPLE_FAULT: Uint8Array;
  ONE_BYTE_AND_RESET: Uint8Array;
  ONE_BYTE_AND_HALT: Uint8Array;
  ENDLESS_LOOP: Uint8Array;
  IDLE: Uint8Array;
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
  IDLE,
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

/** Prints every byte that it reads from the serial port. */
export const ECHO = Uint8Array.from([
  ...[0x66, 0xba, 0xfd, 0x03], // again: mov dx, line status
  ...[0xec, 0xa8, 0x01, 0x74, 0xf7], // in al, dx; test al, 1; jz again
  ...SERIAL_PORT,
  ...[0xec, 0xee], // in al, dx; out dx, al
  ...[0xeb, 0xef], // jmp again
]);

/** Prints a text, then goes on with other code. */
export function printThen(text: string, code: Uint8Array): Uint8Array {
  const print = [...Buffer.from(text, "latin1")].flatMap((byte) => [0xb0, byte, 0xee]);
  return Uint8Array.from([...SERIAL_PORT, ...print, ...code]);
}

/** Prints "." for ever. */
export const PRINT_FOREVER = Uint8Array.from([...SERIAL_PORT, 0xb0, 0x2e, 0xee, 0xeb, 0xfd]);

/** `aesenc xmm0, xmm1` after CR4.OSFXSR has been set: neither a software KVM's emulator nor tsvm has it. */
export const UNSUPPORTED = Uint8Array.from([
  ...[0x0f, 0x20, 0xe0], // mov eax, cr4
  ...[0x0d, 0x00, 0x02, 0x00, 0x00], // or eax, OSFXSR
  ...[0x0f, 0x22, 0xe0], // mov cr4, eax
  ...[0x66, 0x0f, 0x38, 0xdc, 0xc1], // aesenc xmm0, xmm1, at 0x10000b
  ...RESET,
]);

/** `mov dx, port; mov al, value; out dx, al` */
const outByte = (port: number, value: number): number[] => [
  ...[0x66, 0xba, port & 0xff, port >> 8],
  ...[0xb0, value],
  0xee,
];
/** Registers of the ACPI power block, and what their tables say to write there. */
const SLEEP_CONTROL = 0x600;
const SOFT_OFF = 0x34;
const RESET_REGISTER = 0x602;
const OSPM = 0x603;
const EVENT = 0x604;
const SPIN = [0xeb, 0xfe];
/** `mov dx, event; again: in eax, dx; test eax, eax; jz again` */
const AWAIT_EVENT = [...[0x66, 0xba, EVENT & 0xff, EVENT >> 8], ...[0xed, 0x85, 0xc0, 0x74, 0xfb]];
const print = (byte: number): number[] => outByte(0x3f8, byte);
/** Says like a guest with ACPI that it has read the tables, and prints "r". */
const READY = [...outByte(OSPM, 1), ...print(0x72)];

/** Powers off through ACPI, and once more if that was not enough. */
export const POWER_OFF_TWICE = Uint8Array.from([
  ...print(0x21),
  ...outByte(SLEEP_CONTROL, SOFT_OFF),
  ...outByte(SLEEP_CONTROL, SOFT_OFF),
  ...print(0x3f),
  ...SPIN,
]);
/** Powers off many times with one `rep outsb`, then prints "?" and resets by the keyboard controller. */
export const POWER_OFF_BY_STRING = Uint8Array.from([
  ...outByte(SLEEP_CONTROL, 0), // leaves the port in dx
  ...[0xbe, 0x1b, 0x00, 0x10, 0x00], // mov esi, the bytes below
  ...[0xb9, 0x04, 0x00, 0x00, 0x00], // mov ecx, 4
  ...[0xf3, 0x6e], // rep outsb
  ...[0xf4, 0xeb, 0xfd], // hlt
  ...[0x00, 0x00, 0x00, 0x00, 0x00],
  ...[SOFT_OFF, SOFT_OFF, 0x00, SOFT_OFF],
]);
export const ACPI_RESET = Uint8Array.from([...print(0x21), ...outByte(RESET_REGISTER, 1), ...SPIN]);
/** Powers off when the power button is pressed. */
export const OBEYS_POWER_BUTTON = Uint8Array.from([
  ...READY,
  ...AWAIT_EVENT,
  ...print(0x62),
  ...outByte(SLEEP_CONTROL, SOFT_OFF),
  ...SPIN,
]);
/** Takes notice of the power button, prints "b" and goes on. */
export const DECLINES_POWER_BUTTON = Uint8Array.from([...READY, ...AWAIT_EVENT, ...print(0x62), ...SPIN]);
/** Says that it has read the tables, and resets as a system does that boots again. */
export const REBOOTS = Uint8Array.from([...READY, ...outByte(RESET_REGISTER, 1), ...SPIN]);
/** Prints "!" and knows nothing of ACPI. */
export const ONE_BYTE_AND_SPIN = Uint8Array.from([...print(0x21), ...SPIN]);
/** Has read its tables, and never looks at the button. */
export const IGNORES_POWER_BUTTON = Uint8Array.from([...READY, ...SPIN]);
