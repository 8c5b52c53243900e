import type { FileType } from "../../disk/filesystem/filesystem.ts";
import type { Listing } from "../../disk/filesystem/read.ts";
import { printable } from "./text.ts";

const TYPE_LETTER: Record<FileType, string> = {
  file: "-",
  directory: "d",
  symlink: "l",
  "char-device": "c",
  "block-device": "b",
  fifo: "p",
  socket: "s",
};

/** As `ls -ln` prints it, the time in UTC. */
export function listingLine({
  name,
  type,
  mode,
  uid,
  gid,
  size,
  mtime,
  links,
  target,
  device,
}: Listing): string {
  const bytes = device === undefined ? `${size}` : `${device.major},${device.minor}`;
  const time = new Date(mtime * 1000);
  const date = Number.isNaN(time.getTime()) ? "?" : time.toISOString().slice(0, 16).replace("T", " ");
  const columns = [
    `${links}`.padStart(3),
    `${uid}`.padStart(5),
    `${gid}`.padStart(5),
    bytes.padStart(10),
    date,
  ];
  const arrow = target === undefined ? "" : ` -> ${printable(target)}`;
  return `${TYPE_LETTER[type]}${permissions(mode)} ${columns.join(" ")} ${printable(name)}${arrow}`;
}

function permissions(mode: number): string {
  const letters = [...[6, 3, 0].map((shift) => (mode >> shift) & 7)].map((bits) => [
    bits & 4 ? "r" : "-",
    bits & 2 ? "w" : "-",
    bits & 1 ? "x" : "-",
  ]);
  const special = [mode & 0o4000, mode & 0o2000, mode & 0o1000];
  return letters
    .map(([read, write, execute], index) => {
      if (special[index] === 0) return `${read}${write}${execute}`;
      const letter = index === 2 ? "t" : "s";
      return `${read}${write}${execute === "x" ? letter : letter.toUpperCase()}`;
    })
    .join("");
}
