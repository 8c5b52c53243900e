/** Images that consist of their files' names and contents, for tests of boot configurations. */
import { buildBzImage } from "../../../boot/testing/build-bzimage.ts";
import type { DirectoryEntry, FileNode, FileSystem } from "../../filesystem/filesystem.ts";
import type { Volume, VolumeContent } from "../../filesystem/disk-image.ts";
import type { SearchableImage } from "../search.ts";

/** Content of a file; `-> target` in an array is a symbolic link. */
export type FakeFiles = Readonly<Record<string, string | Uint8Array | readonly ["->", string]>>;

export interface FakeVolume {
  /** The whole disk if left out. */
  readonly number?: number;
  readonly uuid?: string;
  readonly label?: string;
  readonly partitionUuid?: string;
  readonly partitionLabel?: string;
  readonly type?: string;
  readonly files?: FakeFiles;
  /** Instead of files. */
  readonly content?: VolumeContent;
}

/** A kernel that is recognised as one. */
export const KERNEL = buildBzImage();
export const INITRD = "initrd";

export function fakeImage(
  volumes: readonly FakeVolume[],
  scheme: "gpt" | "mbr" | "none" = "gpt",
): SearchableImage {
  return {
    name: "disk.img",
    table: { scheme, partitions: [], warnings: [] },
    volumes: volumes.map(fakeVolume),
    withAllowance: (_bytes, action) => action(),
  };
}

function fakeVolume(volume: FakeVolume): Volume {
  const { number, uuid, label, partitionUuid, partitionLabel, type = "linux", files = {}, content } = volume;
  const name = number === undefined ? "disk.img" : `disk.img:${number}`;
  const filesystem: FileSystem = { type: "ext4", name, label, uuid, warnings: [], root: fakeTree(files) };
  return {
    name,
    partition:
      number === undefined
        ? undefined
        : {
            number,
            start: 0,
            size: 0,
            type,
            typeName: "Linux",
            uuid: partitionUuid,
            label: partitionLabel,
            bootable: false,
          },
    content: content ?? { kind: "filesystem", filesystem },
  };
}

function fakeTree(files: FakeFiles): FileNode {
  const root = new FakeNode("directory");
  for (const [path, content] of Object.entries(files)) {
    const names = path.split("/").filter((name) => name !== "");
    const last = names.pop()!;
    let directory = root;
    for (const name of names) {
      const next = directory.children.get(name) ?? new FakeNode("directory");
      directory.children.set(name, next);
      directory = next;
    }
    directory.children.set(last, fakeFile(content));
  }
  return root;
}

function fakeFile(content: FakeFiles[string]): FakeNode {
  if (typeof content === "string") return new FakeNode("file", new TextEncoder().encode(content));
  if (content instanceof Uint8Array) return new FakeNode("file", content);
  return new FakeNode("symlink", new TextEncoder().encode(content[1]));
}

class FakeNode implements FileNode {
  readonly type: "file" | "directory" | "symlink";
  readonly mode = 0o644;
  readonly uid = 0;
  readonly gid = 0;
  readonly mtime = 0;
  readonly links = 1;
  readonly inode = 1;
  readonly size: number;
  readonly children = new Map<string, FakeNode>();
  readonly #bytes: Uint8Array;

  constructor(type: FakeNode["type"], bytes: Uint8Array = new Uint8Array()) {
    this.type = type;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  *entries(): Generator<DirectoryEntry> {
    for (const [name, node] of this.children) yield { name, node: () => node };
  }

  lookup(name: string): FileNode | undefined {
    return this.children.get(name);
  }

  *content(start = 0, end = this.size): Generator<{ offset: number; bytes: Uint8Array }> {
    yield { offset: start, bytes: this.#bytes.subarray(start, end) };
  }

  target(): string {
    return new TextDecoder().decode(this.#bytes);
  }
}
