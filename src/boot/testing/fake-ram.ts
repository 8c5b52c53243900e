/** Guest memory for tests: pages in a map, made when first written. */
import { readSync } from "node:fs";
import type { GuestRam, RamRegion } from "../guest-ram.ts";

const PAGE = 0x1_0000;

/** An access outside RAM. No TsvmError on purpose: boot code must never make one. */
export class OutsideRamError extends Error {
  override name = "OutsideRamError";
}

export class FakeRam implements GuestRam {
  readonly regions: readonly RamRegion[];
  readonly #pages = new Map<number, Uint8Array>();

  constructor(...regions: RamRegion[]) {
    this.regions = regions;
  }

  /** RAM from 0 on. */
  static ofMiB(mib: number): FakeRam {
    return new FakeRam({ gpa: 0, size: mib * 2 ** 20 });
  }

  /** RAM with the hole from 3 to 4 GiB, as a machine with more than 3 GiB has it. */
  static withHole(gib: number): FakeRam {
    return new FakeRam({ gpa: 0, size: 3 * 2 ** 30 }, { gpa: 2 ** 32, size: (gib - 3) * 2 ** 30 });
  }

  contains(gpa: number, length: number): boolean {
    return this.regions.some(
      (region) =>
        Number.isInteger(gpa) &&
        Number.isInteger(length) &&
        length >= 0 &&
        gpa >= region.gpa &&
        gpa + length <= region.gpa + region.size,
    );
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length);
    for (let done = 0; done < bytes.length;) {
      const at = gpa + done;
      const page = this.#page(at);
      const part = bytes.subarray(done, done + PAGE - (at % PAGE));
      page.set(part, at % PAGE);
      done += part.length;
    }
  }

  read(gpa: number, length: number): Uint8Array {
    this.#check(gpa, length);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const at = gpa + done;
      const count = Math.min(length - done, PAGE - (at % PAGE));
      const page = this.#pages.get(Math.floor(at / PAGE));
      if (page !== undefined) bytes.set(page.subarray(at % PAGE, (at % PAGE) + count), done);
      done += count;
    }
    return bytes;
  }

  readFile(gpa: number, fd: number, offset: number, length: number): void {
    this.#check(gpa, length);
    const bytes = new Uint8Array(length);
    if (readSync(fd, bytes, 0, length, offset) !== length) throw new OutsideRamError("the file ends early");
    this.write(gpa, bytes);
  }

  u8(gpa: number): number {
    return this.#view(gpa, 1).getUint8(0);
  }

  u16(gpa: number): number {
    return this.#view(gpa, 2).getUint16(0, true);
  }

  u32(gpa: number): number {
    return this.#view(gpa, 4).getUint32(0, true);
  }

  u64(gpa: number): bigint {
    return this.#view(gpa, 8).getBigUint64(0, true);
  }

  /** The text at `gpa` up to its NUL. */
  cString(gpa: number): string {
    let end = gpa;
    while (this.u8(end) !== 0) end++;
    return new TextDecoder().decode(this.read(gpa, end - gpa));
  }

  #view(gpa: number, length: number): DataView {
    return new DataView(this.read(gpa, length).buffer);
  }

  #check(gpa: number, length: number): void {
    if (!this.contains(gpa, length)) {
      throw new OutsideRamError(`0x${gpa.toString(16)} + ${length} bytes is not RAM`);
    }
  }

  #page(gpa: number): Uint8Array {
    const number = Math.floor(gpa / PAGE);
    let page = this.#pages.get(number);
    if (page === undefined) this.#pages.set(number, (page = new Uint8Array(PAGE)));
    return page;
  }
}
