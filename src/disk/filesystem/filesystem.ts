/** What every file system looks like to those who read it. Read-only; every method throws FilesystemError on damage. */

export type FileType = "file" | "directory" | "symlink" | "char-device" | "block-device" | "fifo" | "socket";

/** Some of a file's content. */
export interface Piece {
  /** Where in the file, in bytes. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface FileNode {
  readonly type: FileType;
  /** Permission bits, with set-user-ID, set-group-ID and sticky: at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; of a symbolic link, the length of its target. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Number of names. 1 where the file system does not count them. */
  readonly links: number;
  /** Unique in its file system. */
  readonly inode: number;
  /** What a device node stands for. */
  readonly device?: { readonly major: number; readonly minor: number } | undefined;

  /** Of a directory, without `.` and `..`, in the order of the disk. */
  entries(): Iterable<DirectoryEntry>;
  /** Of a directory: what has this name, or undefined. */
  lookup(name: string): FileNode | undefined;
  /**
   * Of a file: the content from `start` to `end` (by default, all), in ascending order and in pieces of at most 1 MiB.
   * What is left out is zero: holes of sparse files are.
   */
  content(start?: number, end?: number): Iterable<Piece>;
  /** Of a symbolic link: where it points. */
  target(): string;
}

export interface DirectoryEntry {
  readonly name: string;
  node(): FileNode;
}

export interface FileSystem {
  /** Such as `ext4`, as mount(8) calls it. */
  readonly type: string;
  /** What errors call it: the image, and its partition. */
  readonly name: string;
  readonly label: string | undefined;
  /** As blkid prints it and `root=UUID=` takes it. */
  readonly uuid: string | undefined;
  /** What is odd about it but does not keep it from being read. */
  readonly warnings: readonly string[];
  readonly root: FileNode;
}
