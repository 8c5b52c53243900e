/** The kernel command line: composed and checked here, parsed by the guest (Documentation/admin-guide/kernel-parameters.rst). */
import { CommandLineError } from "./errors.ts";
import { COMMAND_LINE_SPACE } from "./layout.ts";
import { KiB, MiB, hex } from "./quantities.ts";

/** COMMAND_LINE_SIZE of x86 less the NUL: what a kernel takes whose file does not say. */
export const DEFAULT_CMDLINE_SIZE = 2047;

/**
 * Joins parts with blanks and drops empty ones. What stands behind a `--` in one of them goes to init and not to the kernel: it
 * comes behind all of the others.
 */
export function joinCommandLine(...parts: readonly (string | undefined)[]): string {
  const split = parts.map((part) => splitAtDashes(part ?? ""));
  const kernel = split.map(([own]) => own).filter((text) => text !== "");
  const init = split.map(([, behind]) => behind).filter((text) => text !== "");
  return [...kernel, ...(init.length > 0 ? ["--", ...init] : [])].join(" ");
}

/** What stands before and behind the first word `--` that is not in quotes, as parse_args() of the kernel sees it. */
function splitAtDashes(text: string): [string, string] {
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted;
    if (
      !quoted &&
      text.startsWith("--", at) &&
      /^\s?$/.test(text[at - 1] ?? "") &&
      /^\s?$/.test(text[at + 2] ?? "")
    )
      return [text.slice(0, at).trim(), text.slice(at + 2).trim()];
  }
  return [text.trim(), ""];
}

/**
 * `name=value`, in double quotes where the value has blanks, as the kernel's next_arg() undoes it.
 *
 * @throws {CommandLineError} for a double quote in the value: the kernel knows no way to escape it.
 */
export function kernelParameter(name: string, value: string): string {
  if (value.includes('"')) {
    throw new CommandLineError(
      `kernel parameter ${name}: a value cannot contain a double quote: ${value}`,
      "the kernel has no escape for it; use another quoting",
    );
  }
  return /\s/.test(value) ? `${name}="${value}"` : `${name}=${value}`;
}

export interface VirtioMmioDevice {
  /** Guest physical address of the register window. */
  readonly base: number;
  /** Bytes of the register window. */
  readonly size: number;
  readonly irq: number;
}

/** Tells Linux of a virtio-mmio device (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES): `virtio_mmio.device=4K@0xd0000000:5`. */
export function virtioMmioParameter({ base, size, irq }: VirtioMmioDevice): string {
  return `virtio_mmio.device=${sizeWithSuffix(size)}@${hex(base)}:${irq}`;
}

/** As the kernel's memparse() reads it. */
function sizeWithSuffix(size: number): string {
  if (size % MiB === 0) return `${size / MiB}M`;
  return size % KiB === 0 ? `${size / KiB}K` : `${size}`;
}

/**
 * The bytes for guest memory, final NUL included.
 *
 * @param cmdlineSize Longest command line the kernel takes, in bytes without NUL.
 */
export function encodeCommandLine(cmdline: string, cmdlineSize: number = DEFAULT_CMDLINE_SIZE): Uint8Array {
  // A newline would end the line for some readers of /proc/cmdline, a NUL for the kernel.
  const forbidden = /[\0\n\r]/.exec(cmdline);
  if (forbidden !== null) {
    const name =
      { "\0": "a NUL", "\n": "a line break", "\r": "a carriage return" }[forbidden[0]] ?? "a control";
    throw new CommandLineError(
      `the kernel command line contains ${name} character at position ${forbidden.index}`,
      "write all parameters on one line, separated by blanks",
    );
  }
  const text = new TextEncoder().encode(cmdline);
  const limit = Math.min(cmdlineSize, COMMAND_LINE_SPACE - 1);
  if (text.length > limit) {
    throw new CommandLineError(
      `the kernel command line has ${text.length} bytes, and this kernel takes at most ${limit}`,
      "leave out parameters, or move them into a file of the initrd or disk",
    );
  }
  const bytes = new Uint8Array(text.length + 1);
  bytes.set(text);
  return bytes;
}
