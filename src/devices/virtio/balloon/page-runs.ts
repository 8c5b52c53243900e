/** The balloon counts memory in pages of 4096 bytes, whatever the guest's own are (virtio 1.2, section 5.5.6). */
export const PAGE = 4096;

/**
 * Sorts page numbers and calls `use` for each run of neighbours, so that one call to the host does for many pages. A page that is
 * named more than once counts once.
 */
export function forEachRun(pages: Uint32Array, use: (first: number, count: number) => void): void {
  if (pages.length === 0) return;
  pages.sort();
  let first = pages[0]!;
  let next = first + 1;
  for (let index = 1; index < pages.length; index++) {
    const page = pages[index]!;
    if (page === next) next++;
    else if (page > next) {
      use(first, next - first);
      first = page;
      next = page + 1;
    }
  }
  use(first, next - first);
}
