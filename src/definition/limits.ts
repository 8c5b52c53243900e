/** What no host has more of. */

/** Bytes: x86-64 has physical addresses of 52 bits at most (AMD64 Architecture Programmer's Manual, volume 2, 5.1). */
export const MOST_MEMORY = 2 ** 52;
