/** GRUB's names of devices, such as `hd0,gpt2`, and paths with them. */
import type { ReadableVolume, Search } from "../search.ts";

/** What GRUB calls a volume of the image, which is its first disk. */
export function deviceName({ volume }: ReadableVolume, scheme: string): string {
  if (volume.partition === undefined) return "hd0";
  return `hd0,${scheme === "gpt" ? "gpt" : "msdos"}${volume.partition.number}`;
}

/**
 * The volume of a device. Which number a disk has depends on the machine, so it is not looked at.
 * Undefined for what is not on a partition (`lvm/...`), or not readable.
 */
export function volumeOf(search: Search, device: string): ReadableVolume | undefined {
  const match = /^(?:hd|ahci|ata|usb|ehci|ohci|uhci|nvme|fd|cd)\d*(?:,(?:gpt|msdos|apple|bsd)?(\d+))?$/.exec(
    device.trim(),
  );
  if (match === null) return undefined;
  const number = match[1] === undefined ? undefined : Number(match[1]);
  return search.volumes.find(({ partition }) => partition === number);
}

/** Splits `(hd0,gpt2)/boot/grub` into device and path; without a device it is undefined. */
export function splitPath(path: string): { device: string | undefined; path: string } {
  const match = /^\(([^)]*)\)(.*)$/s.exec(path);
  return match === null ? { device: undefined, path } : { device: match[1]!, path: match[2]! };
}
