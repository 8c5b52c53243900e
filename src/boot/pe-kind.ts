/** Recognises programs in PE format, which EFI firmware runs. Microsoft PE/COFF specification. */
import type { FileHead } from "./file-head.ts";

const PE_OFFSET = 0x3c;
const NUMBER_OF_SECTIONS = 6;
const SIZE_OF_OPTIONAL_HEADER = 20;
const COFF_HEADER_SIZE = 24;
const SUBSYSTEM = 68;
const SECTION_HEADER_SIZE = 40;
const MAX_SECTIONS = 96;
/** EFI application, boot service driver, runtime driver, ROM. */
const EFI_SUBSYSTEMS = [10, 11, 12, 13];

export type PeKind = "unified-kernel-image" | "efi-program" | "windows-program" | "dos-program";

/** What kind of PE program this is, or undefined if it is none. */
export function peKind(head: FileHead): { kind: PeKind; description: string } | undefined {
  if (!head.has(0, "MZ")) return undefined;
  const pe = head.u32(PE_OFFSET);
  if (!head.has(pe, "PE\0\0")) return { kind: "dos-program", description: "a DOS program" };
  const optional = pe + COFF_HEADER_SIZE;
  const sections = optional + head.u16(pe + SIZE_OF_OPTIONAL_HEADER);
  const count = Math.min(head.u16(pe + NUMBER_OF_SECTIONS), MAX_SECTIONS);
  for (let index = 0; index < count; index++) {
    // systemd-stub: the kernel is the section of this name.
    if (head.has(sections + index * SECTION_HEADER_SIZE, ".linux\0\0")) {
      return { kind: "unified-kernel-image", description: "a unified kernel image (an EFI program)" };
    }
  }
  return EFI_SUBSYSTEMS.includes(head.u16(optional + SUBSYSTEM))
    ? { kind: "efi-program", description: "an EFI program" }
    : { kind: "windows-program", description: "a Windows program" };
}
