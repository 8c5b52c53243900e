import { describe, expect, it } from "vitest";
import * as ours from "./constants.ts";
import { canCompile, evaluateC } from "./testing/c-compiler.ts";

const HEADERS = [
  "sys/mman.h",
  "fcntl.h",
  "unistd.h",
  "signal.h",
  "errno.h",
  "sys/eventfd.h",
  "sys/epoll.h",
  "sys/socket.h",
  "sys/syscall.h",
  "linux/memfd.h",
  "linux/falloc.h",
  "linux/fs.h",
  "sys/socket.h",
  "linux/if_tun.h",
  "linux/sockios.h",
];
const OWN = { PAGE_SIZE: "sysconf(_SC_PAGESIZE)" };

/** What the headers of Linux 6.1 and glibc 2.36 say. */
const expected: Record<keyof typeof ours, number> = {
  PROT_READ: 1,
  PROT_WRITE: 2,
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_ANONYMOUS: 32,
  MAP_NORESERVE: 16384,
  MAP_POPULATE: 32768,
  MADV_DONTFORK: 10,
  MADV_HUGEPAGE: 14,
  MADV_DONTDUMP: 16,
  MFD_CLOEXEC: 1,
  MFD_HUGETLB: 4,
  MFD_HUGE_2MB: 1409286144,
  O_NONBLOCK: 2048,
  O_CLOEXEC: 524288,
  EFD_NONBLOCK: 2048,
  EFD_CLOEXEC: 524288,
  EPOLL_CLOEXEC: 524288,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLL_CTL_MOD: 3,
  EPOLLIN: 1,
  EPOLLOUT: 4,
  EPOLLHUP: 16,
  EPOLLET: 2147483648,
  F_GETFL: 3,
  F_SETFL: 4,
  F_GETLK: 5,
  F_SETLK: 6,
  F_OFD_GETLK: 36,
  F_OFD_SETLK: 37,
  F_RDLCK: 0,
  F_WRLCK: 1,
  F_UNLCK: 2,
  AF_UNIX: 1,
  SOCK_STREAM: 1,
  SOCK_NONBLOCK: 2048,
  SOCK_CLOEXEC: 524288,
  SHUT_RD: 0,
  SHUT_WR: 1,
  MSG_PEEK: 2,
  FALLOC_FL_KEEP_SIZE: 1,
  FALLOC_FL_PUNCH_HOLE: 2,
  FALLOC_FL_ZERO_RANGE: 16,
  SEEK_SET: 0,
  SEEK_DATA: 3,
  SEEK_HOLE: 4,
  SIG_BLOCK: 0,
  SYS_gettid: 186,
  SYS_tgkill: 234,
  SYS_io_uring_setup: 425,
  SYS_io_uring_enter: 426,
  BLKGETSIZE64: 2148012658,
  TUNSETIFF: 1074025674,
  TUNSETOFFLOAD: 1074025680,
  TUNSETVNETHDRSZ: 1074025688,
  IFF_TAP: 2,
  IFF_NO_PI: 4096,
  IFF_VNET_HDR: 16384,
  SIOCGIFMTU: 35105,
  AF_INET: 2,
  SOCK_DGRAM: 2,
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EACCES: 13,
  EBADFD: 77,
  ENXIO: 6,
  EAGAIN: 11,
  EBUSY: 16,
  EINVAL: 22,
  EPIPE: 32,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ECONNREFUSED: 111,
  PAGE_SIZE: 4096,
};

describe("constants of the Linux ABI", () => {
  it("are the committed numbers", () => {
    expect({ ...ours }).toEqual(expected);
  });

  it.skipIf(!canCompile(HEADERS))(
    "are what the headers of this host say (needs gcc and linux headers)",
    () => {
      const expressions: Record<string, string> = {};
      for (const name of Object.keys(expected)) expressions[name] = `(unsigned)(${name})`;
      const actual = evaluateC(HEADERS, { ...expressions, ...OWN });
      expect(actual).toEqual(expected);
    },
  );
});
