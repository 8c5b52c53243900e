/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control port: frames in both directions over a virtio-console port.
 *
 *	u8 type, u8[3] zero, u32 length, payload		(little endian)
 *
 * docs/guest.md describes every frame.
 */
#ifndef TSVM_CONTROL_H
#define TSVM_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 1

enum {
	FRAME_HEADER = 8,
	/* What one frame from the host may hold. Far beyond what execve takes in a guest of 64 MiB. */
	FRAME_LIMIT = 1024 * 1024,
	/* What one write to the port takes: larger ones are cut short by the driver. */
	CONTROL_CHUNK = 32 * 1024,
};

/* guest to host */
#define FRAME_HELLO 'H'
#define FRAME_STDOUT 'O'
#define FRAME_STDERR 'E'
#define FRAME_EXIT 'X'
/* host to guest */
#define FRAME_RUN 'R'
#define FRAME_STDIN 'I'
#define FRAME_STDIN_CLOSED 'C'
#define FRAME_SIGNAL 'S'
#define FRAME_WINDOW 'W'

enum exit_kind {
	EXIT_STATUS = 0,
	EXIT_SIGNAL = 1,
	EXIT_NOT_STARTED = 2,
};

/* One frame as it comes in. Payloads arrive in pieces, whatever the host's writes looked like. */
struct frame {
	uint8_t type;
	uint32_t length;
	/* How much of the payload the reader has still to take. */
	uint32_t left;
};

enum parse_result {
	PARSE_MORE, /* not a whole header yet */
	PARSE_FRAME, /* *frame is filled in, the header is consumed */
	PARSE_BROKEN, /* this is no frame header: the stream cannot be trusted any more */
};

/* Looks at `available` bytes and tells in *used how many of them it took. */
enum parse_result frame_parse(const void *bytes, size_t available, struct frame *frame, size_t *used);

void frame_header(void *at, uint8_t type, uint32_t length);

/* flags of FRAME_RUN */
#define RUN_TERMINAL 1u
#define RUN_READ_ONLY 2u
#define RUN_NO_DISK 4u
#define RUN_SHELL 8u
#define RUN_FLAGS_KNOWN 15u

/* FRAME_RUN taken apart. Every pointer leads into the payload, which must stay where it is. */
struct run_request {
	uint32_t flags;
	uint32_t argc;
	char **argv; /* argc + 1 entries, the last NULL; NULL when argc is 0 */
	uint32_t envc;
	char **envp; /* envc + RUN_SPARE_ENV + 1 entries; entries after envc are NULL */
	const char *cwd;
	const char *device;
	const char *type;
	const char *hostname;
};

#define RUN_SPARE_ENV 4

/*
 * Returns NULL, or what is wrong with the payload. `allocate` gives zeroed memory or NULL.
 */
const char *run_parse(char *payload, size_t length, void *(*allocate)(size_t), struct run_request *request);

#endif
