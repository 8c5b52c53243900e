/* SPDX-License-Identifier: Apache-2.0 */
/* A way to the host: the control port, or a connection to the agent. */
#ifndef TSVM_PORT_H
#define TSVM_PORT_H

#include "frames.h"
#include "util.h"

struct outcome {
	enum exit_kind kind;
	uint32_t value;
	struct message message; /* for EXIT_NOT_STARTED */
};

/* Non-blocking. */
struct port {
	int fd;
	/* A connection that can be lost, and is not found again. The control port only waits for its host end. */
	int connection;
	/* Bytes from the host that nobody has looked at yet: in[in_start..in_end]. */
	size_t in_start;
	size_t in_end;
	size_t in_size;
	char *in;
	/* A frame that goes with the next one, in one write. */
	size_t held;
	char hold[64];
};

/* Writes all of it, waiting as long as that takes. Returns a negative errno if the host is gone. */
long port_send_all(struct port *port, const char *bytes, size_t length);
/* A frame with a short payload, of at most PORT_SHORT bytes. */
long port_send(struct port *port, uint8_t type, const void *payload, size_t length);
/* The same, together with the next one. `length` is at most that of `hold`, less a header. */
void port_hold(struct port *port, uint8_t type, const void *payload, size_t length);
long port_send_exit(struct port *port, const struct outcome *outcome);

#define PORT_SHORT 512
#define PORT_FOR_EVER (-1)

/* One read. 0: nothing there, or no room for more. Negative: the host is gone. */
long port_read(struct port *port);

/* Waits for something to read. Returns 0 when the time is over. */
int port_wait(struct port *port, int *milliseconds);

/* Makes sure of at least `wanted` unread bytes. Returns 0 when the time is over or the port is gone. */
int port_fill(struct port *port, size_t wanted, int *milliseconds);

/* Waits for the header of the next frame. Returns 0 when there was none in time, or bytes that are no frame. */
int port_next(struct port *port, struct frame *frame, int *milliseconds);

/* The payload of a frame whose header was read, with one zero byte behind it; NULL as above. `arena` may be NULL. */
char *port_payload(struct port *port, struct frame *frame, int *milliseconds, struct arena *arena);

/* Waits for one whole frame of this type and returns its payload. Frames of other types are dropped. */
char *port_receive(struct port *port, uint8_t type, size_t *length, int milliseconds);

/* What could not be done: "WHAT: no such file or directory". */
void not_started(struct outcome *outcome, long error, const char *what);
/* What makes no sense. */
void refuse(struct outcome *outcome, const char *why);

#endif
