/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include "../guest/sys.h"

enum {
	BACKLOG = 512,
};

static long listen_on(int family, const void *address, size_t length)
{
	long fd = sys3(__NR_socket, family, SOCKET_STREAM | SOCKET_CLOEXEC | SOCKET_NONBLOCK, 0);

	if (fd < 0)
		return fd;
	long result = sys3(__NR_bind, fd, (long)address, (long)length);

	if (result >= 0)
		result = sys3(__NR_listen, fd, BACKLOG, 0);
	if (result < 0) {
		sys_close((int)fd);
		return result;
	}
	return fd;
}

#ifndef TSVM_TEST

#define CID_ANY 0xffffffffu
#define CID_HOST 2u

/* <linux/vm_sockets.h> wants a C library. */
struct sockaddr_vm {
	uint16_t family;
	uint16_t reserved;
	uint32_t port;
	uint32_t cid;
	uint32_t zero;
};

long agent_listen(void)
{
	const struct sockaddr_vm address = {.family = FAMILY_VSOCK, .cid = CID_ANY, .port = AGENT_VSOCK_PORT};

	return listen_on(FAMILY_VSOCK, &address, sizeof(address));
}

long agent_accept(int listener)
{
	struct sockaddr_vm address = {0};
	int length = sizeof(address);
	long fd = sys4(__NR_accept4, listener, (long)&address, (long)&length, SOCKET_CLOEXEC | SOCKET_NONBLOCK);

	/* A program in this guest, or in a guest of this guest, comes from another address. */
	if (fd >= 0 && (address.family != FAMILY_VSOCK || address.cid != CID_HOST)) {
		sys_close((int)fd);
		return -ECONNABORTED;
	}
	return fd;
}

#else

/* For tests: a unix socket in the working directory stands in for vsock, and whoever connects for the host. */
long agent_listen(void)
{
	static const struct {
		uint16_t family;
		char path[16];
	} address = {FAMILY_UNIX, "agent.sock"};

	return listen_on(FAMILY_UNIX, &address, sizeof(address));
}

long agent_accept(int listener)
{
	return sys4(__NR_accept4, listener, 0, 0, SOCKET_CLOEXEC | SOCKET_NONBLOCK);
}

#endif
