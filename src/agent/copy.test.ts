import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { check, ROOT_USER, suite, tool } from "../../test/support/needs.ts";
import { scratch } from "../../test/support/scratch.ts";
import { AgentClient } from "./client.ts";
import { encodeEntry, type Entry } from "./entries.ts";
import type { CopyError } from "./errors.ts";
import { encodeFrame, u32 } from "./frames.ts";
import { FrameType } from "./protocol.ts";
import { realAgent } from "./testing/real-agent.ts";
import { exitFrame, HELLO, ScriptedAgent } from "./testing/scripted-agent.ts";

const { directory } = scratch();
let directories = 0;
function fresh(): string {
  const path = join(directory, `d${directories++}`);
  mkdirSync(path);
  return path;
}

function makeTree(path: string): void {
  mkdirSync(join(path, "sub/deep"), { recursive: true });
  mkdirSync(join(path, "closed"));
  writeFileSync(join(path, "one"), "1", { mode: 0o640 });
  writeFileSync(join(path, "sub/deep/large"), Buffer.alloc(700_000, "x"));
  writeFileSync(Buffer.concat([Buffer.from(join(path, "sub/b")), Buffer.from([0xff, 0x64])]), "");
  symlinkSync("../../etc/passwd", join(path, "sub/link"));
  utimesSync(join(path, "one"), 1_000_000_000.25, 1_000_000_000.25);
  chmodSync(join(path, "closed"), 0o555);
  utimesSync(join(path, "sub"), 5, 5);
}

/** Names, kinds, modes, times and content of all below a directory. Names are bytes. */
function picture(path: string, prefix = ""): unknown[] {
  const names = readdirSync(path, { encoding: "latin1" }).sort();
  return names.flatMap((name) => {
    const inside = Buffer.concat([Buffer.from(`${path}/`), Buffer.from(name, "latin1")]);
    const { mode, mtimeMs } = lstatSync(inside);
    const shown = [`${prefix}${name}`, mode, Math.floor(mtimeMs)];
    switch (mode & constants.S_IFMT) {
      case constants.S_IFREG:
        return [[...shown, createHash("sha256").update(readFileSync(inside)).digest("hex")]];
      case constants.S_IFLNK:
        return [[...shown, readlinkSync(inside)]];
      case constants.S_IFDIR:
        return [shown, ...picture(join(path, name), `${prefix}${name}/`)];
      default:
        throw new Error(`${name}: what is that?`);
    }
  });
}

suite("copies with the real agent", [tool("gcc", "gcc")], () => {
  const client = new AgentClient(realAgent(directory).connect);

  test("a tree goes in and comes out as it was", async () => {
    const base = fresh();
    makeTree(join(base, "tree"));
    const put = await client.copyTo(join(base, "tree"), join(base, "guest"));
    expect(put).toEqual({ files: 4, bytes: 700_001 });
    expect(picture(join(base, "guest"))).toEqual(picture(join(base, "tree")));
    expect(await client.copyFrom(join(base, "guest"), join(base, "back"))).toEqual(put);
    expect(picture(join(base, "back"))).toEqual(picture(join(base, "tree")));
  });

  test("names, as cp has them", async () => {
    const base = fresh();
    mkdirSync(join(base, "source"));
    writeFileSync(join(base, "source/file"), "content");
    mkdirSync(join(base, "exists"));
    const both = async (from: string, to: string): Promise<void> => {
      await client.copyTo(join(base, from), join(base, "exists", `put-${to}`));
      await client.copyFrom(join(base, from), join(base, "exists", `got-${to}`));
    };
    await both("source/file", "named");
    await both("source", "tree");
    mkdirSync(join(base, "exists/put-dir"));
    mkdirSync(join(base, "exists/got-dir"));
    await both("source/file", "dir");
    await both("source", "dir");
    await both("source", "dir/");
    await both("source/.", "dir");
    await both("source/.", "new");
    const names = readdirSync(join(base, "exists"), { recursive: true }) as string[];
    for (const way of ["put", "got"]) {
      expect(
        names
          .filter((name) => name.startsWith(way))
          .map((name) => name.slice(4))
          .sort(),
      ).toEqual([
        "dir",
        "dir/file",
        "dir/source",
        "dir/source/file",
        "named",
        "new",
        "new/file",
        "tree",
        "tree/file",
      ]);
    }
  });

  test("places that cannot be", async () => {
    const base = fresh();
    writeFileSync(join(base, "file"), "");
    mkdirSync(join(base, "dir"));
    const put = client.copyTo(join(base, "dir"), join(base, "file"));
    await expect(put).rejects.toMatchObject({ code: "ERR_AGENT_REFUSED", errno: 20 });
    for (const [from, to, code] of [
      ["dir", "file", "ENOTDIR"],
      ["file", "missing/", "ENOENT"],
    ]) {
      const got = client.copyFrom(join(base, from!), join(base, to!));
      await expect(got).rejects.toMatchObject({ code: "ERR_AGENT_LOCAL_PATH" });
      await expect(got).rejects.toThrow(`${join(base, to!)}: ${code}`);
    }
    await expect(client.copyFrom(join(base, "file"), join(base, "no/such"))).rejects.toThrow(
      `${join(base, "no")}: ENOENT`,
    );
    await expect(client.copyTo(join(base, "missing"), "/x")).rejects.toThrow(
      `${join(base, "missing")}: ENOENT`,
    );
    await expect(client.copyFrom(join(base, "missing"), base)).rejects.toMatchObject({ errno: 2 });
    await expect(client.copyFrom("", base)).rejects.toThrow('copyFrom: guestPath: ""');
    expect(readdirSync(base).sort()).toEqual(["dir", "file"]);
  });

  test("symbolic links that are named themselves", async () => {
    const base = fresh();
    writeFileSync(join(base, "file"), "content");
    symlinkSync("file", join(base, "link"));
    await client.copyTo(join(base, "link"), join(base, "put"));
    await client.copyTo(join(base, "link"), join(base, "put-followed"), { follow: true });
    await client.copyFrom(join(base, "link"), join(base, "got"));
    await client.copyFrom(join(base, "link"), join(base, "got-followed"), { follow: true });
    for (const way of ["put", "got"]) {
      expect(readlinkSync(join(base, way))).toBe("file");
      expect(lstatSync(join(base, `${way}-followed`)).isFile()).toBe(true);
    }
  });

  test("files that exist in memory only", async () => {
    const base = fresh();
    await client.writeFiles(
      { "main.sh": { content: "#!/bin/sh\n", mode: 0o755 }, "data/a": "ä", "data/b/c": Buffer.from([1, 2]) },
      join(base, "work/here"),
      { parents: true },
    );
    expect(statSync(join(base, "work/here/main.sh")).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(base, "work/here/data/a"), "utf8")).toBe("ä");
    expect([...readFileSync(join(base, "work/here/data/b/c"))]).toEqual([1, 2]);
    for (const path of ["../x", "/x", "a//b", "a/./b", "", "a\0"])
      await expect(client.writeFiles({ [path]: "" }, base)).rejects.toThrow(
        "a relative path without . and ..",
      );
  });

  test("what cannot be copied is told, and the rest is there", async () => {
    const base = fresh();
    makeTree(join(base, "tree"));
    execFileSync("mkfifo", [join(base, "tree/pipe")]);
    const put = await client.copyTo(join(base, "tree"), join(base, "put")).catch((error: unknown) => error);
    expect((put as CopyError).problems).toEqual([
      { path: join(base, "tree/pipe"), side: "host", code: "ENOTSUP" },
    ]);
    const got = await client.copyFrom(join(base, "tree"), join(base, "got")).catch((error: unknown) => error);
    expect((got as CopyError).problems).toEqual([
      { path: join(base, "tree/pipe"), side: "guest", code: "ENOTSUP" },
    ]);
    mkdirSync(join(base, "half/one"), { recursive: true });
    writeFileSync(join(base, "half/sub"), "in the way");
    const half = await client.copyFrom(`${base}/put/.`, join(base, "half")).catch((error: unknown) => error);
    expect((half as CopyError).problems.map(({ path, code }) => [path, code]).sort()).toEqual([
      [join(base, "half/one"), "EISDIR"],
      [join(base, "half/sub"), "ENOTDIR"],
    ]);
    expect((half as CopyError).code).toBe("ERR_AGENT_COPY");
    expect(readdirSync(join(base, "half")).sort()).toEqual(["closed", "one", "sub"]);
  });

  test("limits on what comes out, with nothing left of half a file", async () => {
    const base = fresh();
    makeTree(join(base, "tree"));
    await expect(
      client.copyFrom(join(base, "tree"), join(base, "a"), { limits: { bytes: 1000 } }),
    ).rejects.toMatchObject({ code: "ERR_AGENT_LIMIT" });
    await expect(
      client.copyFrom(join(base, "tree"), join(base, "b"), { limits: { entries: 2 } }),
    ).rejects.toMatchObject({ code: "ERR_AGENT_LIMIT" });
    const names = readdirSync(base, { recursive: true }) as string[];
    expect(names.filter((name) => name.includes(".tsvm-cp."))).toEqual([]);
  });

  check("owner in the guest", [ROOT_USER], async () => {
    const base = fresh();
    writeFileSync(join(base, "file"), "");
    await client.copyTo(join(base, "file"), join(base, "put"), { owner: "nobody:0" });
    expect([statSync(join(base, "put")).uid, statSync(join(base, "put")).gid]).toEqual([65534, 0]);
    await expect(client.copyTo(join(base, "file"), "/x", { owner: "no-such-user" })).rejects.toThrow(
      "no-such-user",
    );
  });

  test("aborting in the middle", async () => {
    const base = fresh();
    const controller = new AbortController();
    const copying = client.copyFrom("/proc", join(base, "proc"), { signal: controller.signal });
    while (!existsSync(join(base, "proc"))) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort(new Error("enough"));
    await expect(copying).rejects.toThrow("enough");
  });
});

const entry = (kind: Entry["kind"], name: string, more: Partial<Entry> = {}): Buffer =>
  encodeEntry({ kind, name: Buffer.from(name), mode: 0o644, modified: 1e12, size: 0, ...more });
const link = (name: string, target: string): Buffer =>
  entry("symlink", name, { target: Buffer.from(target) });
const data = (text: string): Buffer => encodeFrame(FrameType.Data, Buffer.from(text));
const fileEnd = encodeFrame(FrameType.FileEnd, u32(0));
const leave = encodeFrame(FrameType.Leave);
const file = (name: string, text: string): Buffer =>
  Buffer.concat([entry("file", name), data(text), fileEnd]);
const top = entry("directory", "top", { mode: 0o755 });

/** What `copyFrom` makes of an agent that sends this. */
async function receive(path: string, ...frames: readonly Buffer[]): Promise<unknown> {
  const agent = new ScriptedAgent(HELLO, ({ type }, self) => {
    if (type === FrameType.Get) self.say(...frames, exitFrame(0, 0));
  });
  const result: unknown = await new AgentClient(agent.connect)
    .copyFrom("/top", path)
    .catch((error: unknown) => error);
  expect(agent.closed).toBe(true);
  return result;
}

describe("a guest that sends what it should not", () => {
  test("links that it sends are not followed", async () => {
    const base = fresh();
    const outside = fresh();
    writeFileSync(join(outside, "precious"), "precious");
    const result = await receive(
      join(base, "copy"),
      top,
      link("dir", outside),
      Buffer.concat([entry("directory", "dir", { mode: 0o777 }), file("planted", "x"), leave]),
      link("file", join(outside, "precious")),
      file("file", "overwritten"),
      leave,
    );
    expect((result as CopyError).problems).toEqual([
      { path: join(base, "copy/dir"), side: "host", code: "ENOTDIR" },
    ]);
    expect(readdirSync(outside)).toEqual(["precious"]);
    expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious");
    expect(statSync(outside).mode & 0o777).not.toBe(0o777);
    expect(lstatSync(join(base, "copy/file")).isFile()).toBe(true);
    expect(readFileSync(join(base, "copy/file"), "utf8")).toBe("overwritten");
    expect(readlinkSync(join(base, "copy/dir"))).toBe(outside);
  });

  test("its rights do not come along", async () => {
    const base = fresh();
    const umask = process.umask(0o022);
    try {
      await receive(
        join(base, "copy"),
        entry("directory", "top", { mode: 0o7777 }),
        Buffer.concat([entry("file", "set-user-id", { mode: 0o6777 }), fileEnd]),
        leave,
      );
    } finally {
      process.umask(umask);
    }
    expect(statSync(join(base, "copy")).mode & 0o7777).toBe(0o755);
    expect(statSync(join(base, "copy/set-user-id")).mode & 0o7777).toBe(0o755);
  });

  const raw = (kind: number, name: Buffer, target = ""): Buffer =>
    encodeFrame(FrameType.Entry, u32(kind), Buffer.alloc(24), name, Buffer.of(0), Buffer.from(`${target}\0`));
  const name = (text: string): Buffer => raw(1, Buffer.from(text));
  test.each<[string, Buffer]>([
    ["a name that leads up", Buffer.concat([top, name("..")])],
    ["a name that leads nowhere", Buffer.concat([top, name(".")])],
    ["a path", Buffer.concat([top, name("a/b")])],
    ["an absolute path", Buffer.concat([top, name("/etc/passwd")])],
    ["no name", Buffer.concat([top, name("")])],
    ["a long name", Buffer.concat([top, name("n".repeat(256))])],
    ["bytes behind an entry", encodeFrame(FrameType.Entry, u32(1), Buffer.alloc(24), Buffer.from("a\0\0x"))],
    ["an entry without an end", encodeFrame(FrameType.Entry, u32(1), Buffer.alloc(24), Buffer.from("a\0b"))],
    ["an entry cut short", encodeFrame(FrameType.Entry, u32(1))],
    ["an unknown kind", raw(9, Buffer.from("a"))],
    ["a link to nothing", raw(3, Buffer.from("a"))],
    ["a long link", raw(3, Buffer.from("a"), "t".repeat(5000))],
    ["a file with a target", raw(1, Buffer.from("a"), "target")],
    ["a file inside a file", Buffer.concat([entry("file", "a"), entry("file", "b")])],
    ["more than one top", Buffer.concat([file("a", ""), file("b", "")])],
    ["a directory left twice", Buffer.concat([top, leave, leave])],
    ["a directory left inside a file", Buffer.concat([top, entry("file", "a"), leave])],
    ["a directory that does not end", top],
    ["a file that does not end", entry("file", "a")],
    ["data without a file", data("x")],
    ["the end of no file", fileEnd],
    ["a short end of a file", Buffer.concat([entry("file", "a"), encodeFrame(FrameType.FileEnd)])],
    ["a short problem", encodeFrame(FrameType.Problem)],
    ["nothing at all", Buffer.alloc(0)],
    ["directories without end", Buffer.concat(Array.from({ length: 200 }, () => top))],
    ["an unknown frame", encodeFrame(0x7a)],
  ])("%s", async (_, frames) => {
    const base = fresh();
    mkdirSync(join(base, "into"));
    const result = await receive(join(base, "into"), frames);
    expect(result).toMatchObject({ code: "ERR_AGENT_PROTOCOL" });
    expect(readdirSync(base)).toEqual(["into"]);
    const names = readdirSync(base, { recursive: true }) as string[];
    expect(names.filter((found) => found.includes(".tsvm-cp."))).toEqual([]);
  });

  test("a file that it could not read to its end is not there, and is told", async () => {
    const base = fresh();
    const half = Buffer.concat([entry("file", "half"), data("ha"), encodeFrame(FrameType.FileEnd, u32(5))]);
    const result = await receive(join(base, "copy"), top, half, leave);
    expect((result as CopyError).problems).toEqual([{ path: "half", side: "guest", code: "EIO" }]);
    expect(readdirSync(join(base, "copy"))).toEqual([]);
  });

  test("problems without end are counted, and a thousand kept, without control characters", async () => {
    const base = fresh();
    const problem = encodeFrame(FrameType.Problem, u32(13), Buffer.from("\x1b[2Jpath"));
    const result = await receive(
      join(base, "copy"),
      top,
      leave,
      ...Array.from({ length: 5000 }, () => problem),
    );
    expect((result as CopyError).problems.length).toBe(1000);
    expect((result as Error).message).toBe("not copied: ?[2Jpath (in the guest: EACCES), and 4999 more");
  });

  test("one that refuses a copy while it is sent", async () => {
    const agent = new ScriptedAgent(HELLO, ({ type }, self) => {
      if (type === FrameType.Put) self.say(exitFrame(2, 28, "/x: no space"));
    });
    const base = fresh();
    writeFileSync(join(base, "large"), Buffer.alloc(5_000_000));
    const copying = new AgentClient(agent.connect).copyTo(base, "/x");
    await expect(copying).rejects.toMatchObject({ code: "ERR_AGENT_REFUSED", errno: 28 });
  });
});
