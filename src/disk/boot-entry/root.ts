/** Which partition `root=` means, and which one it should mean where a configuration does not say. */
import { ROOT_X86_64_TYPE } from "../partitions/gpt.ts";
import type { Volume } from "../filesystem/disk-image.ts";
import type { RootLocation } from "./boot-entry.ts";
import type { ReadableVolume, Search } from "./search.ts";

/** A root file system has one of these; one that starts has one of the first. */
const ROOT_MARKS = [
  ["/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/init", "/init"],
  ["/etc/os-release", "/usr/lib/os-release", "/etc/passwd"],
];

/** The volume that the last `root=` names, or why it is none of the image. Undefined if there is no `root=`. */
export function locateRoot(search: Search, commandLine: string): RootLocation | string | undefined {
  const value = [...commandLine.matchAll(/(?:^|\s)root="?([^\s"]+)/g)].at(-1)?.[1];
  if (value === undefined) return undefined;
  const matches = matcherFor(value);
  if (matches === undefined) return `root=${value} is not a partition of this image`;
  const volume = search.image.volumes.find(matches);
  return volume === undefined ? `root=${value} is not in this image` : locationOf(volume);
}

function locationOf({ partition, content }: Volume): RootLocation {
  return {
    partition: partition?.number,
    partitionUuid: partition?.uuid,
    filesystemUuid: content.kind === "filesystem" ? content.filesystem.uuid : undefined,
  };
}

function matcherFor(value: string): ((volume: Volume) => boolean) | undefined {
  const byName = /^(UUID|LABEL|PARTUUID|PARTLABEL)=(.*)$/.exec(value);
  const byLink = /^\/dev\/disk\/by-(uuid|label|partuuid|partlabel)\/(.*)$/.exec(value);
  const [, kind, name] = byName ?? byLink ?? [];
  if (kind !== undefined && name !== undefined) {
    const wanted = decodeLink(name);
    return ({ partition, content }) => {
      const fs = content.kind === "filesystem" ? content.filesystem : undefined;
      switch (kind.toUpperCase()) {
        case "UUID":
          return fs?.uuid?.toLowerCase() === wanted.toLowerCase();
        case "LABEL":
          return fs?.label === wanted;
        case "PARTUUID":
          return partition?.uuid?.toLowerCase() === wanted.toLowerCase();
        default:
          return partition?.label === wanted;
      }
    };
  }
  const device = /^\/dev\/(?:[shv]d[a-z]+|xvd[a-z]+|(?:nvme\d+n\d+|mmcblk\d+)(?:p(?=\d))?)(\d*)$/.exec(value);
  if (device === null) return undefined;
  const number = device[1] === "" ? undefined : Number(device[1]);
  return ({ partition }) => partition?.number === number;
}

/** udev writes odd characters in names of links as \x20. */
function decodeLink(name: string): string {
  return name.replaceAll(/\\x([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** `root=...` for the root file system that the image most likely has; undefined if it has none, or it has no name. */
export function rootParameter(search: Search, initrd: boolean): string | undefined {
  const place = likelyRoot(search);
  if (place === undefined) return undefined;
  // Without an initrd there is only the kernel, which knows partitions and no file systems by name.
  if (initrd && place.fs.uuid !== undefined) return `root=UUID=${place.fs.uuid}`;
  const uuid = place.volume.partition?.uuid;
  return uuid === undefined ? undefined : `root=PARTUUID=${uuid}`;
}

function likelyRoot(search: Search): ReadableVolume | undefined {
  for (const marks of ROOT_MARKS) {
    const roots = search.volumes.filter((place) =>
      marks.some((path) => search.entry(place, path) !== undefined),
    );
    if (roots.length > 0)
      return roots.find(({ volume }) => volume.partition?.type === ROOT_X86_64_TYPE) ?? roots[0];
  }
  return undefined;
}
