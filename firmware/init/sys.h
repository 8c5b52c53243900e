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
#define SIGKILL 9
#define SIGUSR1 10
#define SIGUSR2 12
#define SIGPIPE 13
#define SIGTERM 15
#define SIGCHLD 17
#define SIGNAL_MAX 64
#define SIGNAL_BIT(n) (1UL << ((n) - 1))

#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define WNOHANG 1

#define POLLIN 1
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16

#define TIOCSCTTY 0x540E
#define TIOCSWINSZ 0x5414
#define FIONREAD 0x541B
#define TCSBRK 0x5409

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

static inline long sys_chdir(const char *path)
{
	return sys3(__NR_chdir, (long)path, 0, 0);
}

static inline long sys_chroot(const char *path)
{
	return sys3(__NR_chroot, (long)path, 0, 0);
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

static inline long sys_sigprocmask(int how, const unsigned long *set)
{
	return sys4(__NR_rt_sigprocmask, how, (long)set, 0, sizeof(*set));
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

/*
 * vfork with a stack of its own: runs function(argument) in a child that shares our memory, while we wait until it has
 * exec'ed or exited. Much cheaper than fork where page tables are dear. The child must not return.
 */
long spawn_shared(void (*function)(void *), void *argument, void *stack_top);

#endif
