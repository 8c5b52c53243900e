/** Constants of the Linux user-space ABI on x86-64, with the kernel's names. */

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_POPULATE = 0x8000;

export const MADV_DONTFORK = 10;
export const MADV_HUGEPAGE = 14;
export const MADV_DONTDUMP = 16;

export const MFD_CLOEXEC = 0x1;
export const MFD_HUGETLB = 0x4;
export const MFD_HUGE_2MB = 21 << 26;

export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;

export const EPOLL_CLOEXEC = O_CLOEXEC;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLHUP = 0x10;
export const EPOLLET = 0x8000_0000;

export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_GETLK = 5;
export const F_SETLK = 6;
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = O_NONBLOCK;
export const SOCK_CLOEXEC = O_CLOEXEC;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const MSG_PEEK = 0x2;

export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const AF_INET = 2;
export const SOCK_DGRAM = 2;

export const SIG_BLOCK = 0;

export const SYS_gettid = 186;
export const SYS_tgkill = 234;
export const SYS_io_uring_setup = 425;
export const SYS_io_uring_enter = 426;

export const BLKGETSIZE64 = 0x8008_1272;

/** linux/if_tun.h and linux/sockios.h. */
export const TUNSETIFF = 0x4004_54ca;
export const TUNSETOFFLOAD = 0x4004_54d0;
export const TUNSETVNETHDRSZ = 0x4004_54d8;
export const IFF_TAP = 0x0002;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
export const SIOCGIFMTU = 0x8921;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EACCES = 13;
export const EBUSY = 16;
export const EINVAL = 22;
export const EPIPE = 32;
export const EBADFD = 77;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const ECONNREFUSED = 111;

export const PAGE_SIZE = 4096;
