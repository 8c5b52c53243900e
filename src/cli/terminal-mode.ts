import { ioctlBuffer } from "../ffi/libc.ts";
import { bytes, struct, u32, u8 } from "../ffi/struct.ts";

const TCGETS = 0x5401;
const TCSETS = 0x5402;
const OPOST = 0x1;

/** struct termios of the kernel, <asm-generic/termbits.h>. */
const termios = struct("termios", {
  c_iflag: u32,
  c_oflag: u32,
  c_cflag: u32,
  c_lflag: u32,
  c_line: u8,
  c_cc: bytes(19),
});

/**
 * Makes the terminal on `fd` show output byte by byte. Node's raw mode still turns each line feed into carriage return and line
 * feed; the guest's terminal has done that already where it is wanted. setRawMode(false) undoes it.
 */
export function passOutputThrough(fd: number): void {
  const state = termios.pack();
  if (ioctlBuffer(fd, TCGETS, state) !== 0) return; // no terminal any more
  const { c_oflag } = termios.unpack(state);
  new DataView(state.buffer).setUint32(termios.offset.c_oflag, c_oflag & ~OPOST, true);
  ioctlBuffer(fd, TCSETS, state);
}
