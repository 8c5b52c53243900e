/** The page tables with which a 64-bit kernel is entered. Intel SDM volume 3A, section 4.5 (4-level paging). */
import { PAGE_SIZE } from "./quantities.ts";

const PRESENT_WRITABLE = 0x3;
/** PS: the entry maps a 2 MiB page itself instead of pointing to a table. */
const LARGE_PAGE = 0x80;
const ENTRIES = 512;
const LARGE_PAGE_SIZE = 0x20_0000;
/** One page directory maps 1 GiB. */
const DIRECTORIES = 4;

/**
 * Tables that map the first 4 GiB onto themselves, for CR3 = `base`: PML4, page directory pointer table and four page
 * directories, a page each. 2 MiB pages, because not every processor has those of 1 GiB.
 *
 * 4 GiB hold all that boot.rst ("64-bit Boot Protocol") wants mapped: the kernel with its init_size, zero page and
 * command line. The loader puts none of them higher.
 */
export function identityPageTables(base: number): Uint8Array {
  // An entry is 64 bits; here all addresses are below 4 GiB, so that upper halves stay zero and no BigInt is needed.
  const words = new Uint32Array((2 + DIRECTORIES) * ENTRIES * 2);
  const set = (table: number, entry: number, value: number): void => {
    words[(table * ENTRIES + entry) * 2] = value;
  };
  set(0, 0, base + PAGE_SIZE + PRESENT_WRITABLE);
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    set(1, directory, base + (2 + directory) * PAGE_SIZE + PRESENT_WRITABLE);
    for (let entry = 0; entry < ENTRIES; entry++) {
      const address = (directory * ENTRIES + entry) * LARGE_PAGE_SIZE;
      set(2 + directory, entry, address + PRESENT_WRITABLE + LARGE_PAGE);
    }
  }
  return new Uint8Array(words.buffer);
}
