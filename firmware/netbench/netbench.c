// SPDX-License-Identifier: Apache-2.0
/*
 * Measures a stream between host and guest, over TCP or vsock. In the guest it is init, and serves; on the host it measures.
 *
 *	netbench=ADDRESS netbench	serves; as init it gives eth0 the address; ports 5001 to 5003, on TCP and vsock
 *	netbench WAY DIRECTION MS	one line: bytes or round trips, and nanoseconds
 *
 * WAY is tcp:HOST:OFFSET, vsock:CID or unix:PATH (tsvm's own socket); OFFSET is added to TCP ports. DIRECTION is send (host to
 * guest), receive (guest to host) or echo (one byte there and back, one after the other; a third number is the median in ns).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SINK = 5001, SOURCE = 5002, ECHO = 5003, CHUNK = 256 * 1024, MOST_TRIPS = 1 << 20 };

static char chunk[CHUNK];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* of no effect elsewhere */
}

/* ---- guest ---- */

static void set_address(const char *address, const char *netmask)
{
	struct ifreq request = {.ifr_name = "eth0"};
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	in->sin_family = AF_INET;
	inet_aton(address, &in->sin_addr);
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		perror("SIOCSIFADDR");
	inet_aton(netmask, &in->sin_addr);
	ioctl(fd, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static void serve_connection(int fd, int port)
{
	ssize_t got;

	no_delay(fd);
	/* The client speaks first: passt of Debian 12 completes a connection only then. */
	if (port == SOURCE && read(fd, chunk, 1) == 1)
		while (write(fd, chunk, CHUNK) > 0)
			;
	else if (port == ECHO)
		while ((got = read(fd, chunk, 64)) > 0 && write(fd, chunk, (size_t)got) == got)
			;
	else {
		uint64_t total = 0;

		while ((got = read(fd, chunk, CHUNK)) > 0)
			total += (uint64_t)got;
		/* Tells the sender that all of it is here. */
		if (write(fd, &total, sizeof(total)) < 0)
			perror("write");
	}
	exit(0);
}

static void listen_on(const struct sockaddr *address, socklen_t length, int port)
{
	int fd = socket(address->sa_family, SOCK_STREAM, 0);
	int one = 1;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, address, length) < 0 || listen(fd, 8) < 0)
		fail("listen");
	if (fork()) {
		close(fd);
		return;
	}
	for (;;) {
		int connection = accept(fd, NULL, NULL);

		if (connection >= 0 && fork() == 0)
			serve_connection(connection, port);
		if (connection >= 0)
			close(connection);
	}
}

static void serve(const char *address, const char *netmask)
{
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* Only of a guest: anywhere else eth0 is somebody's. */
	if (getpid() == 1)
		set_address(address, netmask);
	for (int port = SINK; port <= ECHO; port++) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
		struct sockaddr_vm vm = {
			.svm_family = AF_VSOCK, .svm_port = (unsigned)port, .svm_cid = VMADDR_CID_ANY};

		listen_on((struct sockaddr *)&in, sizeof(in), port);
		listen_on((struct sockaddr *)&vm, sizeof(vm), port);
	}
	puts("SERVING");
	fflush(stdout);
	for (;;)
		pause();
}

/* ---- host ---- */

static int connect_tcp(char *host, int port)
{
	char *colon = strrchr(host, ':');
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*colon = 0;
	in.sin_port = htons((uint16_t)(port + atoi(colon + 1)));
	inet_aton(host, &in.sin_addr);
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		fail("connect");
	no_delay(fd);
	return fd;
}

static int connect_vsock(const char *cid, int port)
{
	struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK, .svm_port = (unsigned)port, .svm_cid = (unsigned)atoi(cid)};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0)
		fail("connect");
	return fd;
}

static int connect_unix(const char *path, int port)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[64];
	size_t length = 0;

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		fail("connect");
	snprintf(line, sizeof(line), "CONNECT %d\n", port);
	if (write(fd, line, strlen(line)) < 0)
		fail("CONNECT");
	while (length < sizeof(line) - 1 && read(fd, line + length, 1) == 1 && line[length] != '\n')
		length++;
	if (strncmp(line, "OK ", 3))
		fail("no OK");
	return fd;
}

static int connect_to(char *way, int port)
{
	char *colon = strchr(way, ':');

	*colon = 0;
	if (!strcmp(way, "tcp"))
		return connect_tcp(colon + 1, port);
	return strcmp(way, "vsock") ? connect_unix(colon + 1, port) : connect_vsock(colon + 1, port);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_echo(int fd, uint64_t end)
{
	static uint32_t trips[MOST_TRIPS];
	size_t count = 0;
	uint64_t begin = now();
	uint64_t last = begin;

	while (last < end && count < MOST_TRIPS) {
		if (write(fd, chunk, 1) != 1 || read(fd, chunk, 1) != 1)
			fail("echo");
		uint64_t time = now();

		trips[count++] = (uint32_t)(time - last);
		last = time;
	}
	qsort(trips, count, sizeof(*trips), compare);
	printf("%zu %llu %u\n", count, (unsigned long long)(last - begin), trips[count / 2]);
}

static void measure(int fd, const char *direction, uint64_t nanoseconds)
{
	uint64_t begin = now();
	uint64_t end = begin + nanoseconds;
	uint64_t bytes = 0;

	if (!strcmp(direction, "echo")) {
		measure_echo(fd, end);
		return;
	}
	if (!strcmp(direction, "send")) {
		while (now() < end) {
			ssize_t wrote = write(fd, chunk, CHUNK);

			if (wrote < 0)
				fail("write");
			bytes += (uint64_t)wrote;
		}
		uint64_t arrived = 0;

		shutdown(fd, SHUT_WR);
		if (read(fd, &arrived, sizeof(arrived)) != sizeof(arrived) || arrived != bytes)
			fail("not all has arrived");
	} else {
		if (write(fd, chunk, 1) != 1)
			fail("write");
		while (now() < end) {
			ssize_t got = read(fd, chunk, CHUNK);

			if (got <= 0)
				fail("read");
			bytes += (uint64_t)got;
		}
	}
	printf("%llu %llu\n", (unsigned long long)bytes, (unsigned long long)(now() - begin));
}

int main(int argc, char **argv)
{
	if (getenv("netbench")) {
		serve(getenv("netbench"), "255.255.255.0");
	} else if (argc == 4) {
		int port = !strcmp(argv[2], "send") ? SINK : !strcmp(argv[2], "echo") ? ECHO : SOURCE;

		measure(connect_to(argv[1], port), argv[2], (uint64_t)atoll(argv[3]) * 1000000u);
	} else {
		fputs("usage: see the head of netbench.c\n", stderr);
		return 2;
	}
	return 0;
}
