/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include "sys.h"

enum {
	PAUSE_MS = 2,
};

/*
 * poll() for one event. A control port whose host end is not open reports a hang-up at once and for ever, so wait by the
 * clock then. Returns 0 when the time is over.
 */
static int wait_for(struct port *port, short event, int *milliseconds)
{
	struct pollfd poll = {port->fd, event, 0};

	while (*milliseconds != 0) {
		long ready = sys_poll(&poll, 1, *milliseconds);

		if (ready == 0)
			break;
		/* The read or write that follows tells what has become of a connection. */
		if (ready > 0 && (poll.revents & event || port->connection))
			return 1;
		sys_sleep_ms(PAUSE_MS);
		if (*milliseconds > 0)
			*milliseconds = *milliseconds > PAUSE_MS ? *milliseconds - PAUSE_MS : 0;
	}
	*milliseconds = 0;
	return 0;
}

long port_send_all(struct port *port, const char *bytes, size_t length)
{
	while (length) {
		long written = sys_write(port->fd, bytes, length);

		if (written > 0) {
			bytes += written;
			length -= (size_t)written;
		} else if (written == -EAGAIN || written == 0) {
			int forever = PORT_FOR_EVER;

			wait_for(port, POLLOUT, &forever);
		} else if (written != -EINTR) {
			return written;
		}
	}
	return 0;
}

long port_send(struct port *port, uint8_t type, const void *payload, size_t length)
{
	char frames[sizeof(port->hold) + FRAME_HEADER + PORT_SHORT];
	char *frame = frames + port->held;

	if (length > PORT_SHORT)
		length = PORT_SHORT;
	memcpy(frames, port->hold, port->held);
	frame_header(frame, type, (uint32_t)length);
	memcpy(frame + FRAME_HEADER, payload, length);
	length += port->held + FRAME_HEADER;
	port->held = 0;
	return port_send_all(port, frames, length);
}

void port_hold(struct port *port, uint8_t type, const void *payload, size_t length)
{
	frame_header(port->hold, type, (uint32_t)length);
	memcpy(port->hold + FRAME_HEADER, payload, length);
	port->held = FRAME_HEADER + length;
}

long port_send_exit(struct port *port, const struct outcome *outcome)
{
	char payload[8 + sizeof(outcome->message.text)];

	store_u32(payload, outcome->kind);
	store_u32(payload + 4, outcome->value);
	memcpy(payload + 8, outcome->message.text, outcome->message.length);
	return port_send(port, FRAME_EXIT, payload, 8 + outcome->message.length);
}

long port_read(struct port *port)
{
	if (port->in_start) {
		memmove(port->in, port->in + port->in_start, port->in_end - port->in_start);
		port->in_end -= port->in_start;
		port->in_start = 0;
	}
	if (port->in_end == port->in_size)
		return 0;
	long got = sys_read(port->fd, port->in + port->in_end, port->in_size - port->in_end);

	if (got > 0)
		port->in_end += (size_t)got;
	else if (got == 0 && port->connection)
		return -ECONNRESET;
	else if (got == -EAGAIN || got == -EINTR)
		return 0;
	return got;
}

int port_wait(struct port *port, int *milliseconds)
{
	return wait_for(port, POLLIN, milliseconds);
}

int port_fill(struct port *port, size_t wanted, int *milliseconds)
{
	while (port->in_end - port->in_start < wanted) {
		long got = port_read(port);

		if (got < 0 || (got == 0 && !wait_for(port, POLLIN, milliseconds)))
			return 0;
	}
	return 1;
}

int port_next(struct port *port, struct frame *frame, int *milliseconds)
{
	size_t used;

	if (!port_fill(port, FRAME_HEADER, milliseconds) ||
	    frame_parse(port->in + port->in_start, port->in_end - port->in_start, frame, &used) != PARSE_FRAME)
		return 0;
	port->in_start += used;
	return 1;
}

/* Takes what is left of the payload, into `at` if that is given. */
static int take_payload(struct port *port, struct frame *frame, char *at, int *milliseconds)
{
	while (frame->left) {
		if (!port_fill(port, 1, milliseconds))
			return 0;
		size_t part = port->in_end - port->in_start;

		if (part > frame->left)
			part = frame->left;
		if (at) {
			memcpy(at, port->in + port->in_start, part);
			at += part;
		}
		port->in_start += part;
		frame->left -= (uint32_t)part;
	}
	return 1;
}

char *port_payload(struct port *port, struct frame *frame, int *milliseconds, struct arena *arena)
{
	char *payload = arena_take(arena, (size_t)frame->length + 1);

	return payload && take_payload(port, frame, payload, milliseconds) ? payload : NULL;
}

char *port_receive(struct port *port, uint8_t type, size_t *length, int milliseconds)
{
	struct frame frame;

	for (;;) {
		if (!port_next(port, &frame, &milliseconds))
			return NULL;
		if (frame.type == type) {
			*length = frame.length;
			return port_payload(port, &frame, &milliseconds, NULL);
		}
		if (!take_payload(port, &frame, NULL, &milliseconds))
			return NULL;
	}
}

void not_started(struct outcome *outcome, long error, const char *what)
{
	outcome->kind = EXIT_NOT_STARTED;
	outcome->value = (uint32_t)-error;
	message_add(&outcome->message, what);
	message_add_errno(&outcome->message, error);
}

void refuse(struct outcome *outcome, const char *why)
{
	outcome->kind = EXIT_NOT_STARTED;
	outcome->value = EINVAL;
	message_add(&outcome->message, why);
}
