/**
 * Copies files out of a guest, which may send anything. What it sends is put below one directory of the host's and nowhere else: a
 * name is one component, and each step is taken relative to an open directory (`/proc/self/fd/N/name`, since Node has no openat), so
 * that no symbolic link leads away, neither one that the guest has sent nor one that somebody puts there meanwhile.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lutimes, mkdir, open, rename, stat, symlink, unlink, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { errnoName } from "../ffi/errno.ts";
import type { AgentConnection } from "./connection.ts";
import type { CopyResult } from "./copy-to.ts";
import { decodeEntry, type Entry } from "./entries.ts";
import { AgentError, protocolError } from "./errors.ts";
import { Problems } from "./problems.ts";
import { decodeAgentExit, FrameType, printable } from "./protocol.ts";

/** What is taken at most. */
export interface CopyLimits {
  /** Files, links and directories. */
  readonly entries?: number | undefined;
  /** Of the files' content. */
  readonly bytes?: number | undefined;
}

export interface Destination {
  readonly path: string;
  /** What the copy is called where `path` is a directory that exists; undefined: what is in it goes there. */
  readonly name: string | undefined;
}

const DEEPEST = 128;
const PERMISSIONS = 0o777;
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_WRONLY, O_CREAT, O_EXCL } = constants;

interface Level {
  readonly directory: FileHandle;
  /** For messages. */
  readonly path: string;
  /** Made by us, to be given this mode and time at the end. */
  readonly entry: Entry | undefined;
}

interface OpenFile {
  /** Undefined: its content is dropped. */
  readonly handle: FileHandle | undefined;
  readonly temporary: Buffer;
  readonly final: Buffer;
  readonly path: string;
  readonly entry: Entry;
}

/** Takes what the guest sends. Throws a CopyError where anything is missing. */
export async function receiveTree(
  connection: AgentConnection,
  destination: Destination,
  limits: CopyLimits = {},
): Promise<CopyResult> {
  const receiver = new Receiver(destination, limits);
  try {
    for (;;) {
      const { type, payload } = await connection.next();
      if (type === FrameType.Exit) {
        const exit = decodeAgentExit(payload);
        if (exit.kind === "not-started")
          throw new AgentError("ERR_AGENT_REFUSED", `in the guest: ${exit.message}`, { errno: exit.errno });
        return receiver.finish();
      }
      await receiver.take(type, payload);
    }
  } finally {
    await receiver.close();
  }
}

class Receiver {
  readonly #destination: Destination;
  readonly #limits: { readonly entries: number; readonly bytes: number };
  readonly #problems = new Problems();
  readonly #levels: Level[] = [];
  /** The directory in which the top lies. */
  #base: FileHandle | undefined;
  #topDone = false;
  /** Directories entered inside one that could not be made. */
  #skipped = 0;
  #file: OpenFile | undefined;
  #entries = 0;
  #files = 0;
  #bytes = 0;

  constructor(destination: Destination, { entries = Infinity, bytes = Infinity }: CopyLimits) {
    this.#destination = destination;
    this.#limits = { entries, bytes };
  }

  async take(type: number, payload: Buffer): Promise<void> {
    switch (type) {
      case FrameType.Entry:
        return this.#takeEntry(decodeEntry(payload));
      case FrameType.Data:
        return this.#takeData(payload);
      case FrameType.FileEnd:
        if (payload.length !== 4) throw protocolError("a file's end of the wrong length");
        return this.#endFile(payload.readUInt32LE(0));
      case FrameType.Leave:
        return this.#leave();
      case FrameType.Problem: {
        if (payload.length < 4) throw protocolError("a short problem frame");
        const code = errnoName(payload.readUInt32LE(0));
        this.#problems.add({ path: printable(payload.subarray(4)), side: "guest", code });
        return;
      }
      default:
        throw protocolError(`a frame of type ${type}`);
    }
  }

  finish(): CopyResult {
    if (this.#file !== undefined || this.#levels.length > 0 || this.#skipped > 0)
      throw protocolError("the end inside a directory or file");
    this.#problems.throwIfAny();
    if (!this.#topDone) throw protocolError("the end without a file");
    return { files: this.#files, bytes: this.#bytes };
  }

  /** Leaves no descriptors and no half file behind. */
  async close(): Promise<void> {
    await this.#dropFile();
    for (const { directory } of this.#levels) await directory.close();
    await this.#base?.close();
  }

  async #takeEntry(entry: Entry): Promise<void> {
    if (this.#file !== undefined) throw protocolError("a file inside a file");
    const inside = this.#levels.length > 0 || this.#skipped > 0;
    if (this.#topDone && !inside) throw protocolError("more than one file");
    if (++this.#entries > this.#limits.entries) throw tooMuch(`${this.#limits.entries} files`);
    if (this.#levels.length + this.#skipped >= DEEPEST) throw protocolError(`directories ${DEEPEST} deep`);
    if (this.#skipped > 0) return this.#skip(entry);
    let place: Place;
    if (this.#topDone) {
      const level = this.#levels.at(-1)!;
      place = {
        directory: level.directory,
        name: entry.name,
        path: `${level.path}/${printable(entry.name)}`,
      };
    } else {
      this.#topDone = true;
      // An error here is the user's mistake, not one of many files.
      place = await this.#place(entry);
      this.#base = place.directory;
    }
    try {
      if (entry.kind === "directory") await this.#enter(place, entry);
      else if (entry.kind === "symlink") await this.#link(place, entry);
      else await this.#openFile(place, entry);
    } catch (error) {
      this.#problems.add({ path: place.path, side: "host", code: systemErrorCode(error) });
      this.#skip(entry, place);
    }
  }

  /** Where the top goes, as cp(1) has it. */
  async #place(entry: Entry): Promise<Place> {
    const { path, name } = this.#destination;
    const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw destinationError(path, error);
    });
    const isDirectory = entry.kind === "directory";
    if (status?.isDirectory() === true) {
      const directory = await openDestination(path);
      if (isDirectory && name === undefined) return { directory, name: undefined, path };
      const inside = name ?? printable(entry.name);
      return { directory, name: Buffer.from(inside), path: `${path.replace(/\/+$/, "")}/${inside}` };
    }
    if (status !== undefined && isDirectory) throw destinationError(path, { code: "ENOTDIR" });
    if (status === undefined && !isDirectory && path.endsWith("/"))
      throw destinationError(path, { code: "ENOENT" });
    return { directory: await openDestination(dirname(path)), name: Buffer.from(basename(path)), path };
  }

  async #enter({ directory, name, path }: Place, entry: Entry): Promise<void> {
    let made = false;
    const own = name === undefined ? at(directory, Buffer.from(".")) : at(directory, name);
    if (name !== undefined) {
      try {
        // Until its end we must be able to write into it, whatever it is to be like.
        await mkdir(own, (entry.mode & PERMISSIONS) | 0o700);
        made = true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
    const handle = await open(own as unknown as string, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    this.#levels.push({ directory: handle, path, entry: made ? entry : undefined });
  }

  async #link({ directory, name }: Place, entry: Entry): Promise<void> {
    const temporary = at(directory, temporaryName());
    await symlink(entry.target, temporary);
    try {
      await lutimes(temporary, entry.modified / 1000, entry.modified / 1000);
      await rename(temporary, at(directory, name!));
    } catch (error) {
      await unlink(temporary);
      throw error;
    }
    this.#files++;
  }

  async #openFile({ directory, name, path }: Place, entry: Entry): Promise<void> {
    const temporary = at(directory, temporaryName());
    // The umask applies, as to what cp makes; set-user-id does not come along.
    const handle = await open(
      temporary as unknown as string,
      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
      entry.mode & PERMISSIONS,
    );
    this.#file = { handle, temporary, final: at(directory, name!), path, entry };
  }

  /** What belongs to an entry that could not be made still comes, and is dropped. */
  #skip(entry: Entry, place?: Place): void {
    if (entry.kind === "directory") this.#skipped++;
    else if (entry.kind === "file") {
      const nowhere = Buffer.alloc(0);
      this.#file = { handle: undefined, temporary: nowhere, final: nowhere, path: place?.path ?? "", entry };
    }
  }

  async #takeData(bytes: Buffer): Promise<void> {
    if (this.#file === undefined) throw protocolError("data without a file");
    this.#bytes += bytes.length;
    if (this.#bytes > this.#limits.bytes) throw tooMuch(`${this.#limits.bytes} bytes`);
    const { handle } = this.#file;
    if (handle === undefined) return;
    try {
      for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten;
    } catch (error) {
      await this.#failFile(error);
    }
  }

  async #endFile(errno: number): Promise<void> {
    if (this.#file === undefined) throw protocolError("the end of a file that was not begun");
    const { handle, temporary, final, path, entry } = this.#file;
    if (errno !== 0) {
      this.#problems.add({ path: printable(entry.name), side: "guest", code: errnoName(errno) });
      await this.#dropFile();
    } else if (handle === undefined) {
      this.#file = undefined;
    } else {
      try {
        await handle.utimes(entry.modified / 1000, entry.modified / 1000);
        await rename(temporary, final);
        this.#file = undefined;
        this.#files++;
        await handle.close();
      } catch (error) {
        if (this.#file === undefined) throw error;
        this.#problems.add({ path, side: "host", code: systemErrorCode(error) });
        await this.#dropFile();
      }
    }
  }

  /** The file cannot be written any more; its content still comes. */
  async #failFile(error: unknown): Promise<void> {
    const file = this.#file!;
    this.#problems.add({ path: file.path, side: "host", code: systemErrorCode(error) });
    await this.#dropFile();
    this.#file = { ...file, handle: undefined };
  }

  async #dropFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file?.handle === undefined) return;
    await file.handle.close();
    await unlink(file.temporary).catch(() => undefined); // somebody else may have taken it away
  }

  async #leave(): Promise<void> {
    if (this.#file !== undefined || (this.#skipped === 0 && this.#levels.length === 0))
      throw protocolError("a directory is left that was not entered");
    if (this.#skipped > 0) {
      this.#skipped--;
      return;
    }
    const { directory, entry, path } = this.#levels.pop()!;
    try {
      if (entry !== undefined) {
        // Made with more rights than it is to have; the umask has taken its part already.
        const { mode } = await directory.stat();
        await directory.chmod(mode & entry.mode & PERMISSIONS);
        await directory.utimes(entry.modified / 1000, entry.modified / 1000);
      }
    } catch (error) {
      this.#problems.add({ path, side: "host", code: systemErrorCode(error) });
    } finally {
      await directory.close();
    }
  }
}

interface Place {
  readonly directory: FileHandle;
  /** Undefined: the directory itself. */
  readonly name: Buffer | undefined;
  /** For messages. */
  readonly path: string;
}

/** A path to `name` in an open directory, wherever that is by now. */
function at(directory: FileHandle, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory.fd}/`), name]);
}

function temporaryName(): Buffer {
  return Buffer.from(`.tsvm-cp.${randomBytes(8).toString("hex")}`);
}

async function openDestination(path: string): Promise<FileHandle> {
  try {
    return await open(path, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    throw destinationError(path, error as NodeJS.ErrnoException);
  }
}

function destinationError(path: string, error: { code?: string | undefined }): AgentError {
  return new AgentError("ERR_AGENT_LOCAL_PATH", `${path}: ${error.code ?? String(error)}`, {
    hint: "nothing was copied",
    cause: error,
  });
}

function tooMuch(what: string): AgentError {
  return new AgentError("ERR_AGENT_LIMIT", `the guest has sent more than ${what}`, {
    hint: "what came before is there",
  });
}

/** The symbolic errno. Throws what is no error of the file system. */
function systemErrorCode(error: unknown): string {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) throw error;
  return code;
}
