import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiskError } from "./errors.ts";
import { makeFile, type NewFileOptions } from "./new-file.ts";
import { openDisk } from "./open.ts";

let directory: string;
let target: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-new-file-"));
  target = join(directory, "image");
});
afterEach(() => rmSync(directory, { recursive: true }));

const write = (temporary: string): Promise<void> => Promise.resolve(writeFileSync(temporary, "new"));
const make = (path: string, options: Partial<NewFileOptions> = {}, fill = write): Promise<void> =>
  makeFile(path, { replace: false, ...options }, fill);
const content = (): string => readFileSync(target, "utf8");

describe("a new file", () => {
  it("has its name only when it is complete", async () => {
    await make(target, {}, async (temporary) => {
      expect(readdirSync(directory)).toEqual([basename(temporary)]);
      expect(dirname(temporary)).toBe(directory);
      await write(temporary);
    });
    expect(readdirSync(directory)).toEqual(["image"]);
    expect(content()).toBe("new");
  });

  it("leaves nothing if it fails, or is aborted in the last moment", async () => {
    const failing = make(target, {}, async (temporary) => {
      await write(temporary);
      throw new DiskError(target, "too bad");
    });
    await expect(failing).rejects.toThrow("too bad");
    const abort = new AbortController();
    const aborted = make(target, { signal: abort.signal }, async (temporary) => {
      await write(temporary);
      abort.abort();
    });
    await expect(aborted).rejects.toThrow("aborted");
    expect(readdirSync(directory)).toEqual([]);
  });

  it("has the permissions that are asked for", async () => {
    await make(target, { mode: 0o600 });
    expect(statSync(target).mode & 0o777).toBe(0o600);
  });

  it("may have the longest name that there is", async () => {
    const path = join(directory, "ä".repeat(127));
    await make(path);
    expect(readdirSync(directory)).toEqual([basename(path)]);
  });

  it("does not replace what is there, nor what comes while it is made", async () => {
    writeFileSync(target, "old");
    await expect(make(target)).rejects.toMatchObject({
      message: `disk ${target}: exists already`,
      hint: "--force replaces it",
    });
    const other = join(directory, "other");
    const late = make(other, {}, async (temporary) => {
      await write(temporary);
      writeFileSync(other, "somebody else's");
    });
    await expect(late).rejects.toThrow("exists already");
    expect(readFileSync(other, "utf8")).toBe("somebody else's");
    expect(readdirSync(directory).sort()).toEqual(["image", "other"]);
  });

  it.each([
    ["", "is not the name of a file"],
    ["nodir/image", "there is no directory nodir"],
    ["/dev/null/image", "there is no directory /dev/null"],
    ["/proc/image", "there is no directory /proc"],
    ["/", "is a directory"],
    ["/dev/null", "exists already"],
    ["x".repeat(300), "cannot be made: ENAMETOOLONG"],
  ])("cannot be %j", async (path, message) => {
    await expect(make(path)).rejects.toThrow(`disk ${path}: ${message}`);
  });
});

describe("a file that replaces one", () => {
  const replace = (path = target, options: Partial<NewFileOptions> = {}, fill = write): Promise<void> =>
    make(path, { replace: true, ...options }, fill);

  it("has its permissions, and is the old one as long as the new one is not complete", async () => {
    writeFileSync(target, "old");
    chmodSync(target, 0o640);
    await replace(target, {}, async (temporary) => {
      await write(temporary);
      expect(content()).toBe("old");
      expect(statSync(temporary).mode & 0o777).toBe(0o600);
    });
    expect(content()).toBe("new");
    expect(statSync(target).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toEqual(["image"]);
  });

  it("stays as it was if that fails", async () => {
    writeFileSync(target, "old");
    await expect(replace(target, {}, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(content()).toBe("old");
    expect(readdirSync(directory)).toEqual(["image"]);
  });

  it("need not be there", async () => {
    await replace();
    expect(content()).toBe("new");
  });

  it("may be behind a symbolic link, which stays one", async () => {
    mkdirSync(join(directory, "d"));
    const real = join(directory, "d/real");
    writeFileSync(real, "old");
    symlinkSync("d/real", target);
    await replace();
    expect(readlinkSync(target)).toBe("d/real");
    expect(readFileSync(real, "utf8")).toBe("new");
    expect(readdirSync(join(directory, "d"))).toEqual(["real"]);
  });

  it("is not a directory, a device, a link to nowhere, or what it is made from", async () => {
    symlinkSync("nowhere", target);
    await expect(replace()).rejects.toThrow("is a symbolic link that leads nowhere");
    expect(lstatSync(target).isSymbolicLink()).toBe(true);
    await expect(replace(directory)).rejects.toThrow("is a directory; --force replaces only files");
    await expect(replace("/dev/null")).rejects.toThrow("is a special file; --force replaces only files");
    const [source, same] = [join(directory, "source"), join(directory, "same")];
    writeFileSync(source, "old");
    linkSync(source, same);
    await expect(replace(same, { sources: [source] })).rejects.toThrow(`the new image needs ${source}`);
    expect(readFileSync(same, "utf8")).toBe("old");
  });

  it("is not in use by a machine, also not for reading", async () => {
    writeFileSync(target, Buffer.alloc(4096));
    for (const readOnly of [true, false]) {
      const { fd } = openDisk(target, { readOnly, ephemeral: false });
      await expect(replace()).rejects.toThrow("in use by another program");
      closeSync(fd);
    }
    await replace();
    expect(content()).toBe("new");
  });
});
