/** Synthetic bzImages: valid headers over code that nobody runs. */
import { BOOT_FLAG, HEADER_MAGIC, setup_header } from "../boot-params.ts";
import { writePacked } from "../fields.ts";

export interface BzImageOptions {
  /** Field values that differ from those of a usual kernel. */
  readonly header?: Partial<setup_header>;
  /** Bytes of protected-mode code. */
  readonly codeSize?: number;
  readonly version?: string;
}

const SETUP_SECTS = 4;
const VERSION_AT = 0x400;

/** A kernel that loads at 16 MiB and wants 8 MiB there. */
export function buildBzImage(options: BzImageOptions = {}): Uint8Array {
  const { codeSize = 0x4000, version = "6.1.0-test (x@y) #1 SMP", header = {} } = options;
  const code = (SETUP_SECTS + 1) * 512;
  const image = new Uint8Array(code + codeSize);
  image.set(new TextEncoder().encode(`${version}\0`), VERSION_AT);
  for (let index = 0; index < codeSize; index++) image[code + index] = index % 251;
  writePacked(setup_header, image, {
    setup_sects: SETUP_SECTS,
    syssize: codeSize / 16,
    boot_flag: BOOT_FLAG,
    // A short jump to 0x26c: there the header ends.
    jump: 0x6aeb,
    header: HEADER_MAGIC,
    version: 0x020f,
    kernel_version: VERSION_AT - 0x200,
    loadflags: 1,
    initrd_addr_max: 0x7fff_ffff,
    kernel_alignment: 0x20_0000,
    relocatable_kernel: 1,
    xloadflags: 0x3,
    cmdline_size: 2047,
    pref_address: 0x100_0000n,
    init_size: 0x80_0000,
    ...header,
  });
  return image;
}
