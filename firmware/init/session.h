/* SPDX-License-Identifier: Apache-2.0 */
/* One command from start to end, with its input and output carried over the control port. */
#ifndef TSVM_SESSION_H
#define TSVM_SESSION_H

#include "control.h"
#include "util.h"

struct outcome {
	enum exit_kind kind;
	uint32_t value;
	struct message message; /* for EXIT_NOT_STARTED */
};

/* The control port, opened non-blocking. */
struct port {
	int fd;
	/* Bytes from the host that nobody has looked at yet. */
	size_t in_start;
	size_t in_end;
	char in[4096];
};

/* Writes all of it, waiting as long as that takes. */
void port_send(struct port *port, uint8_t type, const void *payload, size_t length);
void port_send_exit(struct port *port, const struct outcome *outcome);

/*
 * Waits for one whole frame of this type and returns its payload, one zero byte behind it. NULL when none came within
 * the time, or when what came was no frame. Frames of other types are dropped.
 */
char *port_receive(struct port *port, uint8_t type, size_t *length, int milliseconds);

/* Runs argv with pipes or, with RUN_TERMINAL or RUN_SHELL, on the terminal. port may be NULL: then nothing is carried. */
void session_run(struct port *port, const struct run_request *request, struct outcome *outcome);

#endif
