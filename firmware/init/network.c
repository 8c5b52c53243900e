/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the guest's interfaces, from the kernel's parameter ip=, and ip1=, ip2=, ... for further interfaces:
 *
 *	ip=ADDRESS:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS:DNS
 *
 * (Linux, Documentation/admin-guide/nfs/nfsroot.rst). Our kernel does not know the parameter, and so hands it to init
 * as an environment variable.
 */
#include "setup.h"

#include "../guest/sys.h"

#include <linux/if.h>
#include <linux/in.h>
#include <linux/route.h>
#include <linux/sockios.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define OUR_RESOLV_CONF "/run/resolv.conf"

enum {
	FIELDS = 9,
	FIELD_SIZE = 64,
	FIELD_ADDRESS = 0,
	FIELD_GATEWAY = 2,
	FIELD_NETMASK = 3,
	FIELD_DEVICE = 5,
	FIELD_DNS = 7,
	INTERFACE_TRIES = 50,
	INTERFACE_PAUSE_MS = 2,
};

typedef char fields[FIELDS][FIELD_SIZE];

/* "ip=" or "ip1=": what stands behind it, or NULL. */
static const char *address_parameter(const char *variable)
{
	if (variable[0] != 'i' || variable[1] != 'p')
		return NULL;
	variable += 2;
	while (*variable >= '0' && *variable <= '9')
		variable++;
	return *variable == '=' ? variable + 1 : NULL;
}

static void split(const char *text, fields into)
{
	size_t field = 0;
	size_t at = 0;

	for (; field < FIELDS; text++) {
		if (*text && *text != ':') {
			if (at < FIELD_SIZE - 1)
				into[field][at++] = *text;
			continue;
		}
		into[field++][at] = 0;
		at = 0;
		if (!*text)
			break;
	}
	for (; field < FIELDS; field++)
		into[field][0] = 0;
}

/* Dotted decimal, in network byte order. */
static int parse_ipv4(const char *text, uint32_t *address)
{
	uint32_t result = 0;

	for (int part = 0; part < 4; part++) {
		uint32_t value = 0;
		int digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 3; text++, digits++)
			value = value * 10 + (uint32_t)(*text - '0');
		if (!digits || value > 255 || *text != (part < 3 ? '.' : 0))
			return 0;
		text++;
		result |= value << (8 * part);
	}
	*address = result;
	return 1;
}

static struct sockaddr ipv4(uint32_t address)
{
	struct sockaddr_in in = {.sin_family = 2 /* AF_INET */, .sin_addr = {address}};
	struct sockaddr result;

	memcpy(&result, &in, sizeof(result));
	return result;
}

static void copy_name(char *to, const char *name)
{
	size_t i = 0;

	for (; name[i] && i < IFNAMSIZ - 1; i++)
		to[i] = name[i];
	to[i] = 0;
}

/* Returns how the first failing step failed. */
static long configure(int fd, fields value)
{
	struct ifreq request = {0};
	uint32_t address;
	uint32_t netmask;
	uint32_t gateway;
	long result;

	if (!parse_ipv4(value[FIELD_ADDRESS], &address) || !parse_ipv4(value[FIELD_NETMASK], &netmask))
		return -EINVAL;
	copy_name(request.ifr_name, value[FIELD_DEVICE]);
	request.ifr_addr = ipv4(address);
	/* The device may still be being probed. */
	for (int i = 0; i < INTERFACE_TRIES; i++) {
		result = sys_ioctl(fd, SIOCSIFADDR, &request);
		if (result != -ENODEV)
			break;
		sys_sleep_ms(INTERFACE_PAUSE_MS);
	}
	if (result < 0)
		return result;
	request.ifr_netmask = ipv4(netmask);
	result = sys_ioctl(fd, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (result >= 0)
		result = sys_ioctl(fd, SIOCSIFFLAGS, &request);
	if (result >= 0 && parse_ipv4(value[FIELD_GATEWAY], &gateway)) {
		struct rtentry route = {
			.rt_dst = ipv4(0),
			.rt_gateway = ipv4(gateway),
			.rt_genmask = ipv4(0),
			.rt_flags = RTF_UP | RTF_GATEWAY,
		};

		result = sys_ioctl(fd, SIOCADDRT, &route);
	}
	return result;
}

static void add_name_server(int fd, const char *address)
{
	static const char line[] = "nameserver ";
	uint32_t unused;

	if (!parse_ipv4(address, &unused))
		return;
	sys_write(fd, line, sizeof(line) - 1);
	sys_write(fd, address, text_length(address));
	sys_write(fd, "\n", 1);
}

/*
 * The root file system may be somebody's, and may not be writable: the list of name servers lies over whatever it has, as
 * in a container.
 */
static void show_name_servers(int read_only)
{
	if (sys_mount(OUR_RESOLV_CONF, RESOLV_CONF, NULL, MS_BIND, NULL) != -ENOENT || read_only)
		return;
	long fd = sys6(__NR_open, (long)RESOLV_CONF, O_WRONLY | O_CREAT | O_CLOEXEC, 0644, 0, 0, 0);

	if (fd < 0)
		return;
	sys_close((int)fd);
	sys_mount(OUR_RESOLV_CONF, RESOLV_CONF, NULL, MS_BIND, NULL);
}

void network_configure(char *const *environment, int read_only)
{
	long fd = -1;
	long names = -1;

	for (; *environment; environment++) {
		const char *parameter = address_parameter(*environment);
		static fields value;

		if (!parameter)
			continue;
		split(parameter, value);
		if (fd < 0)
			fd = sys3(__NR_socket, 2 /* AF_INET */, 2 | 02000000 /* SOCK_DGRAM | SOCK_CLOEXEC */, 0);
		if (fd < 0)
			return;
		if (configure((int)fd, value) < 0)
			continue;
		if (value[FIELD_DNS][0] && names < 0)
			names = sys6(__NR_open, (long)OUR_RESOLV_CONF, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644, 0, 0, 0);
		if (names >= 0)
			for (int i = FIELD_DNS; i < FIELDS; i++)
				add_name_server((int)names, value[i]);
	}
	if (fd >= 0)
		sys_close((int)fd);
	if (names >= 0) {
		sys_close((int)names);
		show_name_servers(read_only);
	}
}
