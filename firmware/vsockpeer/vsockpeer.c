/*
 * The guest's side of the vsock tests and measurements.
 *
 *   vsockpeer    listens, says "ready", and serves each connection in a process of its own:
 *     port 1000   echoes until the end, then ends
 *     port 1001   reads to the end, then answers "BYTES CHECKSUM\n"
 *     port 1002   reads 8 bytes, a number in little-endian order, and sends so many bytes of the pattern
 *     port 1003   reads one byte and breaks off
 *     port 1004   never reads; ends when something comes to port 1005
 *     port 1006   reads two such numbers, a port and a length, connects to that port of the host, sends so many bytes of the
 *                 pattern, ends its output, and passes back what comes; or else the name of the error
 *
 * Byte i of the pattern is (31 i + i / 256) mod 256; the checksum is FNV-1a of 32 bits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#define FIRST_PORT 1000
#define PORTS 7
#define HOLD 4

static unsigned char buffer[64 * 1024];

static void fail(const char *what)
{
	fprintf(stderr, "vsockpeer: %s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static struct sockaddr_vm address(unsigned int cid, unsigned int port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };

	return a;
}

static void send_all(int fd, const unsigned char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

		if (sent < 0)
			fail("send");
		bytes += sent;
		length -= sent;
	}
}

static void send_pattern(int fd, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes;) {
		size_t n = 0;

		for (; n < sizeof(buffer) && at < bytes; n++, at++)
			buffer[n] = 31 * at + at / 256;
		send_all(fd, buffer, n);
	}
}

static void answer_sum(int fd)
{
	uint32_t sum = 2166136261u;
	uint64_t bytes = 0;
	char line[64];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t i = 0; i < got; i++)
			sum = (sum ^ buffer[i]) * 16777619u;
		bytes += got;
	}
	if (got < 0)
		fail("read");
	send_all(fd, (unsigned char *)line, sprintf(line, "%llu %08x\n", (unsigned long long)bytes, sum));
}

static void echo(int fd)
{
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		send_all(fd, buffer, got);
	if (got < 0)
		fail("read");
}

static void visit_host(int fd, uint64_t port, uint64_t bytes)
{
	struct sockaddr_vm a = address(VMADDR_CID_HOST, port);
	int host = socket(AF_VSOCK, SOCK_STREAM, 0);
	ssize_t got;

	if (host < 0)
		fail("socket");
	if (connect(host, (struct sockaddr *)&a, sizeof(a)) < 0) {
		const char *name = strerrorname_np(errno);

		send_all(fd, (const unsigned char *)name, strlen(name));
		return;
	}
	send_pattern(host, bytes);
	shutdown(host, SHUT_WR);
	while ((got = read(host, buffer, sizeof(buffer))) > 0)
		send_all(fd, buffer, got);
	if (got < 0)
		fail("read");
	close(host);
}

static void serve_one(int fd, int which)
{
	uint64_t bytes, visit[2];

	switch (which) {
	case 0:
		echo(fd);
		break;
	case 1:
		answer_sum(fd);
		break;
	case 2:
		if (recv(fd, &bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes))
			send_pattern(fd, bytes);
		break;
	case 6:
		if (recv(fd, visit, sizeof(visit), MSG_WAITALL) == sizeof(visit))
			visit_host(fd, visit[0], visit[1]);
		break;
	case 3:
		if (read(fd, buffer, 1) < 0)
			fail("read");
		break;
	}
	close(fd);
}

int main(void)
{
	struct pollfd listeners[PORTS];
	int held = -1;

	signal(SIGCHLD, SIG_IGN);
	for (int which = 0; which < PORTS; which++) {
		struct sockaddr_vm a = address(VMADDR_CID_ANY, FIRST_PORT + which);
		int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
			fail("listen");
		listeners[which] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(listeners, PORTS, -1) < 0)
			fail("poll");
		for (int which = 0; which < PORTS; which++) {
			int fd;

			if (!(listeners[which].revents & POLLIN))
				continue;
			fd = accept(listeners[which].fd, NULL, NULL);
			if (fd < 0)
				fail("accept");
			if (which == HOLD) {
				held = fd;
				continue;
			}
			if (which == HOLD + 1) {
				close(held);
			} else if (fork() == 0) {
				serve_one(fd, which);
				_exit(0);
			}
			close(fd);
		}
	}
}
