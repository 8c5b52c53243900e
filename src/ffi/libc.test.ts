import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  EAGAIN,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  EPIPE,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLIN,
  MADV_DONTDUMP,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_NONBLOCK,
  PROT_READ,
  PROT_WRITE,
  SYS_gettid,
} from "./constants.ts";
import { errnoName, SystemCallError } from "./errno.ts";
import * as libc from "./libc.ts";
import { allocateNative } from "./native-buffer.ts";

describe("errnoName", () => {
  it("knows the names of Linux", () => {
    expect(errnoName(2)).toBe("ENOENT");
    expect(errnoName(11)).toMatch(/^(EAGAIN|EWOULDBLOCK)$/);
    expect(errnoName(22)).toBe("EINVAL");
    expect(errnoName(4711)).toBe("errno 4711");
  });
});

describe("check", () => {
  it("gives results other than -1 back", () => {
    expect(libc.check(0, "call")).toBe(0);
    expect(libc.check(17, "call")).toBe(17);
  });

  it("turns -1 into an error that names call, subject and errno", () => {
    const failure = (): number => libc.check(libc.close(-1), "close", "the lid");
    expect(failure).toThrow(SystemCallError);
    expect(failure).toThrow("the lid: close failed: EBADF");
    try {
      failure();
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_SYSTEM_CALL", call: "close", errno: 9, errnoName: "EBADF" });
    }
  });
});

describe("calls", () => {
  const open: number[] = [];
  const keep = (fd: number): number => {
    open.push(fd);
    return fd;
  };
  afterEach(() => {
    for (const fd of open.splice(0)) closeSync(fd);
  });
  const buffer = allocateNative(4096);
  const bytes = new Uint8Array(buffer.buffer);

  it("eventfd counts, and has nothing to read afterwards", () => {
    const fd = keep(libc.check(libc.eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
    const count = new DataView(buffer.buffer);
    count.setBigUint64(0, 39n, true);
    expect(libc.write(fd, buffer.address, 8)).toBe(8);
    expect(libc.read(fd, buffer.address, 8)).toBe(8);
    expect(count.getBigUint64(0, true)).toBe(42n);
    expect(libc.read(fd, buffer.address, 8)).toBe(-1);
    expect(libc.errno()).toBe(EAGAIN);
    expect(libc.write(fd, buffer.address, 4)).toBe(-1);
    expect(errnoName(libc.errno())).toBe("EINVAL");
  });

  it("pipe2 makes a pipe that is full at some point, ends, and breaks", () => {
    const fds = new Int32Array(2);
    libc.check(libc.pipe2(fds, O_CLOEXEC | O_NONBLOCK), "pipe2");
    const [readFd, writeFd] = [fds[0]!, fds[1]!];
    bytes.fill(7);
    expect(libc.read(readFd, buffer.address, 4096)).toBe(-1);
    expect(libc.errno()).toBe(EAGAIN);
    let written = 0;
    for (let got = libc.write(writeFd, buffer.address, 4096); got > 0;) {
      written += got;
      got = libc.write(writeFd, buffer.address, 4096);
    }
    expect(libc.errno()).toBe(EAGAIN);
    expect(written).toBe(64 * 1024);
    libc.close(writeFd);
    let read = 0;
    for (let got = libc.read(readFd, buffer.address, 4096); got > 0;) {
      read += got;
      got = libc.read(readFd, buffer.address, 4096);
    }
    expect(read).toBe(written);
    libc.close(readFd);

    libc.check(libc.pipe2(fds, O_CLOEXEC), "pipe2");
    libc.close(fds[0]!);
    // Node ignores SIGPIPE: a broken pipe is an errno, not the end of the process.
    expect(libc.write(keep(fds[1]!), buffer.address, 1)).toBe(-1);
    expect(libc.errno()).toBe(EPIPE);
  });

  it("epoll tells which eventfd was written to", () => {
    const epollFd = keep(libc.check(libc.epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
    const fds = [0, 1].map(() => keep(libc.check(libc.eventfd(0, EFD_CLOEXEC), "eventfd")));
    for (const [index, fd] of fds.entries()) {
      const event = new Uint32Array([EPOLLIN, 100 + index, 0]);
      libc.check(libc.epoll_ctl(epollFd, EPOLL_CTL_ADD, fd, event), "epoll_ctl");
      expect(libc.epoll_ctl(epollFd, EPOLL_CTL_ADD, fd, event)).toBe(-1);
      expect(errnoName(libc.errno())).toBe("EEXIST");
    }
    expect(libc.epoll_wait(epollFd, buffer.address, 4, 0)).toBe(0);
    new BigUint64Array(buffer.buffer)[8] = 1n;
    libc.write(fds[1]!, buffer.address + 64, 8);
    expect(libc.epoll_wait(epollFd, buffer.address, 4, 0)).toBe(1);
    expect(new Uint32Array(buffer.buffer)[1]).toBe(101);
    libc.check(libc.epoll_ctl(epollFd, EPOLL_CTL_DEL, fds[1]!, new Uint32Array(3)), "epoll_ctl");
    expect(libc.epoll_wait(epollFd, buffer.address, 4, 0)).toBe(0);
  });

  it("pread and pwrite take offsets beyond 4 GiB, preadv and pwritev too", () => {
    const fd = keep(libc.check(libc.memfd_create("test", MFD_CLOEXEC), "memfd_create"));
    const far = 5 * 2 ** 30 + 3;
    bytes.set([1, 2, 3, 4]);
    expect(libc.pwrite(fd, buffer.address, 4, far)).toBe(4);
    expect(fstatSync(fd).size).toBe(far + 4);
    expect(libc.pread(fd, buffer.address + 8, 4, far)).toBe(4);
    expect([...bytes.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    const iov = new BigUint64Array(buffer.buffer, 1024, 2);
    iov.set([BigInt(buffer.address), 4n]);
    expect(libc.pwritev(fd, buffer.address + 1024, 1, far + 100)).toBe(4);
    iov[0] = BigInt(buffer.address + 16);
    expect(libc.preadv(fd, buffer.address + 1024, 1, far + 100)).toBe(4);
    expect([...bytes.subarray(16, 20)]).toEqual([1, 2, 3, 4]);
    expect(libc.ftruncate(fd, far)).toBe(0);
    expect(fstatSync(fd).size).toBe(far);
    expect(libc.ftruncate(fd, -1)).toBe(-1);
    expect(errnoName(libc.errno())).toBe("EINVAL");
  });

  it("an address that is not mapped is an error of the call, not of the process", () => {
    const directory = mkdtempSync(join(tmpdir(), "tsvm-libc-"));
    try {
      writeFileSync(join(directory, "file"), "content");
      const fd = keep(openSync(join(directory, "file"), "r"));
      expect(libc.pread(fd, 0x1000, 4, 0)).toBe(-1);
      expect(errnoName(libc.errno())).toBe("EFAULT");
      expect(libc.pread(fd, 2 ** 47 + 0x1000, 4, 0)).toBe(-1);
      expect(errnoName(libc.errno())).toBe("EFAULT");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("mmap gives addresses that other calls and views share", () => {
    const fd = keep(libc.check(libc.memfd_create("test", MFD_CLOEXEC), "memfd_create"));
    libc.check(libc.ftruncate(fd, 8192), "ftruncate");
    const address = libc.mmap(8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    new Uint8Array(libc.view(address + 4096, 4096)).set(Buffer.from("hello"));
    expect(libc.pread(fd, buffer.address, 5, 4096)).toBe(5);
    expect(Buffer.from(bytes.subarray(0, 5)).toString()).toBe("hello");
    expect(libc.munmap(address, 8192)).toBe(0);
  });

  it.each([0, -1, NaN, Infinity, 2 ** 60])("mmap of %s bytes throws", (length) => {
    expect(() => libc.mmap(length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS)).toThrow(
      /^mmap failed: E(INVAL|NOMEM)$/,
    );
  });

  it("syscall reaches what has no wrapper", () => {
    const tid = libc.syscall(SYS_gettid, 0, 0, 0);
    expect(readFileSync(`/proc/self/task/${tid}/status`, "utf8")).toContain(`Pid:\t${tid}\n`);
  });
});

describe("allocateNative", () => {
  it("rounds up to pages of zeros", () => {
    const { buffer, address } = allocateNative(4097);
    expect(buffer.byteLength).toBe(8192);
    expect(address % 4096).toBe(0);
    expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
  });

  it("is unmapped when nothing refers to it any more, and not before", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const mapped = (address: number): boolean => libc.madvise(address, 4096, MADV_DONTDUMP) === 0;
    const [kept, keptAt] = ((): [Uint8Array, number] => {
      const native = allocateNative(4096);
      return [new Uint8Array(native.buffer), native.address];
    })();
    // Several, since something else may be mapped where one of them was.
    const dropped = Array.from({ length: 16 }, () => allocateNative(4096).address);
    expect(dropped.every(mapped)).toBe(true);
    await vi.waitFor(() => {
      collect();
      expect(dropped.every(mapped)).toBe(false);
    });
    expect(mapped(keptAt)).toBe(true);
    expect(kept.every((byte) => byte === 0)).toBe(true);
  });
});
