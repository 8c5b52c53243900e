import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { close } from "../../../ffi/libc.ts";
import { Service } from "../../testing/vsock-driver.ts";
import { listenVsock, VsockListenError } from "./listen.ts";
import { acceptUnix, connectUnix } from "./unix-socket.ts";

let directory: string;
let path: string;
let fdsBefore: number;
const openFiles = (): number => readdirSync("/proc/self/fd").length;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-listen-"));
  path = join(directory, "v.sock");
  fdsBefore = openFiles();
});
afterEach(() => {
  expect(openFiles()).toBe(fdsBefore);
  rmSync(directory, { recursive: true });
});

function refusal(at = path): VsockListenError {
  try {
    listenVsock(at).close();
  } catch (error) {
    expect(error).toBeInstanceOf(VsockListenError);
    expect(error).toMatchObject({ code: "ERR_VSOCK_LISTEN", hint: expect.stringMatching(/./) as string });
    return error as VsockListenError;
  }
  throw new Error("there is a listener");
}

function connects(listener: { fd: number }, to = path): void {
  const client = connectUnix(to);
  expect(client).toBeGreaterThanOrEqual(0);
  const server = acceptUnix(listener.fd);
  expect(server).toBeGreaterThanOrEqual(0);
  close(client);
  close(server);
}

describe("listenVsock", () => {
  it("makes a socket for its owner only, and removes it", () => {
    const listener = listenVsock(path);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    expect(listener.portPath).toBe(`${path}_`);
    connects(listener);
    listener.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("replaces what a dead server has left", () => {
    new Service(path).close();
    expect(existsSync(path)).toBe(true);
    const listener = listenVsock(path);
    connects(listener);
    listener.close();
    expect(existsSync(path)).toBe(false);
  });

  it("leaves a living server alone, and a file, and a link to one", () => {
    const other = new Service(path);
    expect(refusal().message).toMatch(/another program listens there/);
    connects(other);
    other.close();
    unlinkSync(path);
    writeFileSync(path, "text");
    expect(refusal().message).toMatch(/no socket/);
    symlinkSync(path, join(directory, "link"));
    expect(refusal(join(directory, "link")).message).toMatch(/no socket/);
    expect(existsSync(path)).toBe(true);
  });

  it("says that there is no such directory, or that it may not write there", () => {
    expect(refusal(join(directory, "none", "v")).message).toMatch(/ENOENT$/);
    expect(refusal(join(directory, "n".repeat(100), "v")).message).toMatch(/ENOENT$/);
    expect(refusal("/proc/v.sock").message).toMatch(/vsock socket \/proc\/v.sock: E/);
  });

  it("does not remove what has taken its place", () => {
    const listener = listenVsock(path);
    unlinkSync(path);
    writeFileSync(path, "mine");
    listener.close();
    expect(existsSync(path)).toBe(true);
  });

  it("takes paths that are longer than the kernel's limit, with names up to a limit of its own", () => {
    const deep = join(directory, "d".repeat(150));
    mkdirSync(deep);
    const long = join(deep, "s".repeat(76));
    const listener = listenVsock(long);
    expect(lstatSync(long).isSocket()).toBe(true);
    const port = `${listener.portPath}4294967294`;
    expect(Buffer.byteLength(port)).toBeLessThanOrEqual(107);
    const service = new Service(port);
    expect(lstatSync(`${long}_4294967294`).isSocket()).toBe(true);
    service.close();
    listener.close();
    expect(existsSync(long)).toBe(false);
    expect(refusal(join(deep, "s".repeat(77))).message).toMatch(/too long/);
  });
});
