/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls without a C library. Every wrapper returns what the kernel returned: a negative errno on failure.
 *
 * Only the kernel's own UAPI headers are used (Debian: linux-libc-dev). x86-64 only.
 */
#ifndef TSVM_SYS_H
#define TSVM_SYS_H

#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <asm-generic/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#ifndef O_PATH
#define O_PATH 010000000
#endif

typedef int64_t ssize;

static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static inline long sys4(long number, long a, long b, long c, long d)
{
	long result;
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

static inline long sys3(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

/* What the UAPI headers leave to a C library. */
#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGKILL 9
#define SIGUSR1 10
#define SIGUSR2 12
#define SIGPIPE 13
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGNAL_MAX 64
#define SIGNAL_BIT(n) (1UL << ((n) - 1))

#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x01000000
#define P_PID 1

#define POLLIN 1
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16
#define POLLRDHUP 0x2000

#define TCGETS 0x5401
#define TIOCSCTTY 0x540E
#define TIOCSWINSZ 0x5414
#define FIONREAD 0x541B
#define TCSBRK 0x5409
#define TIOCGPTN 0x80045430
#define TIOCSPTLCK 0x40045431
#define TIOCGPTPEER 0x5441

/* SOCK_STREAM and others of these are enumeration constants of the C library, which some of the kernel's headers include. */
#define FAMILY_UNIX 1
#define FAMILY_VSOCK 40
#define SOCKET_STREAM 1
#define SOCKET_NONBLOCK 04000
#define SOCKET_CLOEXEC 02000000

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFLNK 0120000

#define CLOCK_REALTIME 0
#define PR_SET_NAME 15

#define REBOOT_MAGIC1 0xfee1dead
#define REBOOT_MAGIC2 672274793
#define REBOOT_RESTART 0x01234567

#define MAP_PRIVATE_ANONYMOUS 0x22
#define PROT_READ_WRITE 3

struct pollfd {
	int fd;
	short events;
	short revents;
};

struct timespec64 {
	int64_t seconds;
	int64_t nanoseconds;
};

/* The time stamp counter. */
static inline uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline long sys_read(int fd, void *buffer, size_t length)
{
	return sys3(__NR_read, fd, (long)buffer, (long)length);
}

static inline long sys_write(int fd, const void *buffer, size_t length)
{
	return sys3(__NR_write, fd, (long)buffer, (long)length);
}

static inline long sys_open(const char *path, int flags)
{
	return sys3(__NR_open, (long)path, flags, 0);
}

static inline long sys_close(int fd)
{
	return sys3(__NR_close, fd, 0, 0);
}

static inline long sys_poll(struct pollfd *fds, unsigned count, int milliseconds)
{
	return sys3(__NR_poll, (long)fds, count, milliseconds);
}

static inline long sys_ioctl(int fd, unsigned long request, void *argument)
{
	return sys3(__NR_ioctl, fd, (long)request, (long)argument);
}

static inline long sys_dup2(int from, int to)
{
	return sys3(__NR_dup2, from, to, 0);
}

static inline long sys_pipe2(int fds[2], int flags)
{
	return sys3(__NR_pipe2, (long)fds, flags, 0);
}

static inline long sys_fcntl(int fd, int command, long argument)
{
	return sys3(__NR_fcntl, fd, command, argument);
}

static inline long sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
			     const char *data)
{
	return sys6(__NR_mount, (long)source, (long)target, (long)type, (long)flags, (long)data, 0);
}

static inline long sys_mkdir(const char *path, int mode)
{
	return sys3(__NR_mkdir, (long)path, mode, 0);
}

static inline long sys_symlink(const char *target, const char *path)
{
	return sys3(__NR_symlink, (long)target, (long)path, 0);
}

static inline long sys_openat(int directory, const char *path, int flags, int mode)
{
	return sys4(__NR_openat, directory, (long)path, flags, mode);
}

static inline long sys_unlinkat(int directory, const char *path)
{
	return sys3(__NR_unlinkat, directory, (long)path, 0);
}

static inline long sys_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	return sys4(__NR_renameat, from_directory, (long)from, to_directory, (long)to);
}

struct stat;

static inline long sys_fstatat(int directory, const char *path, struct stat *status, int flags)
{
	return sys4(__NR_newfstatat, directory, (long)path, (long)status, flags);
}

static inline long sys_fstat(int fd, struct stat *status)
{
	return sys3(__NR_fstat, fd, (long)status, 0);
}

static inline long sys_chdir(const char *path)
{
	return sys3(__NR_chdir, (long)path, 0, 0);
}

static inline long sys_chroot(const char *path)
{
	return sys3(__NR_chroot, (long)path, 0, 0);
}

/* The program that a descriptor stands for. */
static inline long sys_execveat(int fd, char *const *argv, char *const *envp)
{
	return sys6(__NR_execveat, fd, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH, 0);
}

static inline long sys_execve(const char *path, char *const *argv, char *const *envp)
{
	return sys3(__NR_execve, (long)path, (long)argv, (long)envp);
}

static inline long sys_wait(int *status, int options)
{
	return sys4(__NR_wait4, -1, (long)status, options, 0);
}

static inline long sys_kill(int pid, int number)
{
	return sys3(__NR_kill, pid, number, 0);
}

static inline long sys_setsid(void)
{
	return sys3(__NR_setsid, 0, 0, 0);
}

struct rusage;

static inline long sys_wait4(int pid, int *status, int options, struct rusage *usage)
{
	return sys4(__NR_wait4, pid, (long)status, options, (long)usage);
}

/* Whether this child has ended. It stays a zombie, so its process id and group stay its own. */
static inline int sys_has_ended(int pid)
{
	int info[32] = {0}; /* siginfo_t: 0 in si_signo where there is nothing to tell */

	return sys6(__NR_waitid, P_PID, pid, (long)info, WEXITED | WNOHANG | WNOWAIT, 0, 0) < 0 || info[0] != 0;
}

static inline long sys_sigprocmask(int how, const unsigned long *set)
{
	return sys4(__NR_rt_sigprocmask, how, (long)set, 0, sizeof(*set));
}

/* Back to what the kernel does by itself. */
static inline long sys_default_action(int number)
{
	const unsigned long action[4] = {0}; /* handler SIG_DFL, flags, restorer, mask */

	return sys4(__NR_rt_sigaction, number, (long)action, 0, sizeof(unsigned long));
}

static inline long sys_signalfd(const unsigned long *set, int flags)
{
	return sys4(__NR_signalfd4, -1, (long)set, sizeof(*set), flags);
}

static inline void *sys_allocate(size_t length)
{
	long address = sys6(__NR_mmap, 0, (long)length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);

	return address < 0 && address > -4096 ? NULL : (void *)address;
}

static inline void sys_free(void *address, size_t length)
{
	if (address)
		sys3(__NR_munmap, (long)address, (long)length, 0);
}

static inline void sys_sleep_ms(int milliseconds)
{
	struct timespec64 time = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};

	sys3(__NR_nanosleep, (long)&time, 0, 0);
}

static inline __attribute__((noreturn)) void sys_exit(int status)
{
	for (;;)
		sys3(__NR_exit_group, status, 0, 0);
}

#define SPAWN_SHARED 0x100 /* CLONE_VM */
#define SPAWN_WAIT 0x4000 /* CLONE_VFORK */

/*
 * Runs function(argument), which must not return, in a child with a stack of its own: start.S.
 *
 * SPAWN_SHARED | SPAWN_WAIT | SIGCHLD is a vfork: the child shares our memory, and we wait until it has exec'ed or exited.
 * SPAWN_SHARED | SIGCHLD is a process beside us, with descriptors, signals and children of its own, in the same memory.
 * Both are much cheaper than fork where page tables are dear.
 */
long spawn(void (*function)(void *), void *argument, void *stack_top, unsigned long flags);

#endif
