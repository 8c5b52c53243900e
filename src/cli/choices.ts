/** The words that options and arguments take: for their parsers, their help and the completion of shells. */

export const IMAGE_FORMATS = ["raw", "qcow2"] as const;
export const CACHE_MODES = ["writeback", "none", "unsafe"] as const;
export const CONSOLES = ["serial", "virtio"] as const;
export const HUGE_PAGES = ["none", "transparent", "hugetlb"] as const;
export const PREALLOCATIONS = ["off", "metadata", "falloc", "full"] as const;
export const COMPRESSIONS = ["zlib", "zstd"] as const;
export const REPAIRS = ["leaks", "all"] as const;
export const DEFINITION_FORMATS = ["yaml", "json", "libvirt", "firecracker"] as const;
export const SHELLS = ["bash", "zsh", "fish"] as const;
/** After the path of a --disk, and before their values; with what can stand behind them. */
export const DISK_WORDS = [
  "ro",
  "overlay",
  "ephemeral",
  ...IMAGE_FORMATS.map((format) => `format=${format}` as const),
  ...CACHE_MODES.map((mode) => `cache=${mode}` as const),
] as const;

/** `bash, zsh or fish`. */
export function listed(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)!}`;
}
