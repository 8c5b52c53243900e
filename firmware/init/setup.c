/* SPDX-License-Identifier: Apache-2.0 */
#include "setup.h"

#include "../guest/sys.h"

#include <asm/statfs.h>
#include <linux/fs.h>
#include <linux/if.h>
#include <linux/sockios.h>

/* Every kernel has this directory in its built-in initramfs. It becomes the place where the root is mounted. */
#define STAGE "/root"

enum {
	DEVICE_TRIES = 20,
	DEVICE_PAUSE_MS = 10,
	END_GRACE_MS = 200,
	END_PAUSE_MS = 5,
	SLOW_CALL_CYCLES = 100 * 1000,
	STATFS_READ_ONLY = 1,
	READ_AHEAD_SECTORS = 32, /* 16 KiB */
};

void setup_mount_dev(void)
{
	long result = sys_mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);

	if (result == -ENOENT) {
		sys_mkdir("/dev", 0755);
		sys_mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	}
}

/* One attempt with one type. A device that is still being probed gets a little time. */
static long mount_device(const char *device, const char *type, unsigned long flags)
{
	long result = 0;

	for (int i = 0; i < DEVICE_TRIES; i++) {
		result = sys_mount(device, STAGE, type, flags, NULL);
		if (result != -ENOENT && result != -ENXIO)
			break;
		sys_sleep_ms(DEVICE_PAUSE_MS);
	}
	return result;
}

static long mount_root(const struct run_request *request)
{
	static const char types[][9] = {"ext4", "squashfs"};
	unsigned long flags = request->flags & RUN_READ_ONLY ? MS_RDONLY : 0;

	if (*request->type)
		return mount_device(request->device, request->type, flags);

	long result = -EINVAL;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		/* EINVAL: no such file system here. EACCES, EROFS: a disk that cannot be written. */
		result = mount_device(request->device, types[i], flags | MS_SILENT);
		if (result == -EACCES || result == -EROFS)
			result = mount_device(request->device, types[i], flags | MS_RDONLY | MS_SILENT);
		if (result != -EINVAL && result != -ENODEV)
			break;
	}
	return result;
}

/*
 * On a software KVM reading ahead costs more than it brings: each page that nobody asks for takes a third of a
 * millisecond. There a system call takes 200 microseconds too, a hundred times what it takes elsewhere, which is how to
 * tell. Counted in cycles of a few GHz; the smaller of two, in case of an interrupt.
 */
static int kernel_is_slow(void)
{
	uint64_t least = ~0UL;

	for (int i = 0; i < 2; i++) {
		uint64_t before = cycles();

		sys3(__NR_getppid, 0, 0, 0);
		uint64_t taken = cycles() - before;

		if (taken < least)
			least = taken;
	}
	return least > SLOW_CALL_CYCLES;
}

static void limit_read_ahead(const char *device)
{
	long fd = sys_open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	sys_ioctl((int)fd, BLKRASET, (void *)READ_AHEAD_SECTORS);
	sys_close((int)fd);
}

long setup_enter_root(struct run_request *request, struct message *message)
{
	long result;

	if (request->flags & RUN_NO_DISK)
		return 0;
	result = mount_root(request);
	if (result == -ENOENT) {
		sys_mkdir(STAGE, 0700);
		result = mount_root(request);
	}
	if (result < 0) {
		message_add(message, "cannot mount ");
		message_add(message, request->device);
		if (*request->type) {
			message_add(message, " as ");
			message_add(message, request->type);
		}
		if (result == -EINVAL)
			message_add(message, ": no known file system on it");
		else
			message_add_errno(message, result);
		return result;
	}
	struct statfs status;

	if (sys3(__NR_statfs, (long)STAGE, (long)&status, 0) >= 0 && status.f_flags & STATFS_READ_ONLY)
		request->flags |= RUN_READ_ONLY;
	if (kernel_is_slow())
		limit_read_ahead(request->device);
	result = sys_chdir(STAGE);
	/* A root without /dev keeps the one it may have inside; commands can still run. */
	sys_mount("/dev", "dev", NULL, MS_MOVE, NULL);
	if (result >= 0)
		result = sys_mount(".", "/", NULL, MS_MOVE, NULL);
	if (result >= 0)
		result = sys_chroot(".");
	if (result < 0) {
		message_add(message, "cannot move to the root file system");
		message_add_errno(message, result);
		return result;
	}
	sys_chdir("/");
	return 0;
}

static void bring_up_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	long fd = sys3(__NR_socket, 2 /* AF_INET */, 2 | 02000000 /* SOCK_DGRAM | SOCK_CLOEXEC */, 0);

	if (fd < 0)
		return;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	sys_ioctl((int)fd, SIOCSIFFLAGS, &request);
	sys_close((int)fd);
}

void setup_furnish(const struct run_request *request)
{
	if (request->flags & RUN_NO_DISK) {
		sys_mkdir("/proc", 0555);
		sys_mkdir("/sys", 0555);
		sys_mkdir("/tmp", 01777);
		sys_mkdir("/run", 0755);
	}
	sys_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	sys_mount("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	sys_mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	if (request->flags & RUN_READ_ONLY)
		sys_mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	sys_mkdir("/dev/pts", 0755);
	sys_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666,gid=5");
	sys_mkdir("/dev/shm", 01777);
	sys_mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	sys_symlink("/proc/self/fd", "/dev/fd");
	sys_symlink("/proc/self/fd/0", "/dev/stdin");
	sys_symlink("/proc/self/fd/1", "/dev/stdout");
	sys_symlink("/proc/self/fd/2", "/dev/stderr");
	bring_up_loopback();
	if (*request->hostname)
		sys3(__NR_sethostname, (long)request->hostname, (long)text_length(request->hostname), 0);
}

/* Reaps for at most this long. Returns 1 when no child is left. */
static int reap_for(int milliseconds)
{
	for (;;) {
		long pid = sys_wait(NULL, WNOHANG);

		if (pid < 0)
			return 1;
		if (pid > 0)
			continue;
		if (milliseconds <= 0)
			return 0;
		sys_sleep_ms(END_PAUSE_MS);
		milliseconds -= END_PAUSE_MS;
	}
}

void setup_end_processes(void)
{
	/* From PID 1, -1 means everybody else; orphans are our children. */
	if (sys_kill(-1, SIGTERM) < 0 || reap_for(END_GRACE_MS))
		return;
	sys_kill(-1, SIGKILL);
	reap_for(END_GRACE_MS * 5);
}

void setup_close_root(const struct run_request *request)
{
	if (request->flags & (RUN_NO_DISK | RUN_READ_ONLY))
		return;
	/* Includes what the command mounted; sync alone would leave the root marked as in use. */
	sys3(__NR_sync, 0, 0, 0);
	sys_mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

void setup_restart(void)
{
	for (;;) {
		sys4(__NR_reboot, (long)REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_RESTART, 0);
		sys_sleep_ms(1000);
	}
}
