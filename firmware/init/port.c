/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"
#include "sys.h"

enum {
	PAUSE_MS = 2,
};

/*
 * poll() for one event. A port whose host end is not open reports a hang-up at once and for ever, so wait by the clock
 * then. Returns 0 when the time is over.
 */
static int wait_for(struct port *port, short event, int *milliseconds)
{
	struct pollfd poll = {port->fd, event, 0};

	while (*milliseconds > 0) {
		sys_poll(&poll, 1, *milliseconds);
		if (poll.revents & event)
			return 1;
		sys_sleep_ms(PAUSE_MS);
		*milliseconds -= PAUSE_MS;
	}
	return 0;
}

static void send_all(struct port *port, const char *bytes, size_t length)
{
	while (length) {
		long written = sys_write(port->fd, bytes, length);

		if (written > 0) {
			bytes += written;
			length -= (size_t)written;
		} else if (written == -EAGAIN || written == 0) {
			int forever = 1 << 30;

			wait_for(port, POLLOUT, &forever);
		} else if (written != -EINTR) {
			return;
		}
	}
}

void port_send(struct port *port, uint8_t type, const void *payload, size_t length)
{
	char frame[FRAME_HEADER + 512];

	if (length > sizeof(frame) - FRAME_HEADER)
		length = sizeof(frame) - FRAME_HEADER;
	frame_header(frame, type, (uint32_t)length);
	memcpy(frame + FRAME_HEADER, payload, length);
	send_all(port, frame, FRAME_HEADER + length);
}

void port_send_exit(struct port *port, const struct outcome *outcome)
{
	char payload[8 + sizeof(outcome->message.text)];

	store_u32(payload, outcome->kind);
	store_u32(payload + 4, outcome->value);
	memcpy(payload + 8, outcome->message.text, outcome->message.length);
	port_send(port, FRAME_EXIT, payload, 8 + outcome->message.length);
}

/* Makes sure of at least `wanted` unread bytes. Returns 0 when the time is over or the port is gone. */
static int fill(struct port *port, size_t wanted, int *milliseconds)
{
	while (port->in_end - port->in_start < wanted) {
		if (port->in_start) {
			memmove(port->in, port->in + port->in_start, port->in_end - port->in_start);
			port->in_end -= port->in_start;
			port->in_start = 0;
		}
		long got = sys_read(port->fd, port->in + port->in_end, sizeof(port->in) - port->in_end);

		if (got > 0)
			port->in_end += (size_t)got;
		else if (got < 0 && got != -EAGAIN && got != -EINTR)
			return 0;
		else if (!wait_for(port, POLLIN, milliseconds))
			return 0;
	}
	return 1;
}

char *port_receive(struct port *port, uint8_t type, size_t *length, int milliseconds)
{
	struct frame frame;
	size_t used;

	for (;;) {
		if (!fill(port, FRAME_HEADER, &milliseconds))
			return NULL;
		if (frame_parse(port->in + port->in_start, port->in_end - port->in_start, &frame, &used) != PARSE_FRAME)
			return NULL;
		port->in_start += used;

		char *payload = frame.type == type ? sys_allocate((size_t)frame.length + 1) : NULL;
		char *at = payload;

		if (frame.type == type && !payload)
			return NULL;
		while (frame.left) {
			if (!fill(port, 1, &milliseconds))
				return NULL;
			size_t part = port->in_end - port->in_start;

			if (part > frame.left)
				part = frame.left;
			if (payload) {
				memcpy(at, port->in + port->in_start, part);
				at += part;
			}
			port->in_start += part;
			frame.left -= (uint32_t)part;
		}
		if (payload) {
			*length = frame.length;
			return payload;
		}
	}
}
