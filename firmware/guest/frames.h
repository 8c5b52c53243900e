/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames, in both directions, over the control port (init) or a vsock connection (agent).
 *
 *	u8 type, u8[3] zero, u32 length, payload		(little endian)
 *
 * docs/guest.md and docs/agent.md describe every frame.
 */
#ifndef TSVM_FRAMES_H
#define TSVM_FRAMES_H

#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_HEADER = 8,
	/* What one frame from the host may hold. Far beyond what execve takes in a guest of 64 MiB. */
	FRAME_LIMIT = 1024 * 1024,
};

/* guest to host */
#define FRAME_HELLO 'H'
#define FRAME_STDOUT 'O'
#define FRAME_STDERR 'E'
#define FRAME_EXIT 'X'
/* From the agent only: the host may send this much more (u32), for FRAME_STDIN. */
#define FRAME_STDIN_TAKEN 'K'
/* host to guest */
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

/* Memory handed out piece by piece: here a page that is touched for the first time costs more than ten system calls. */
struct arena {
	char *at;
	size_t left;
	/* What there was no room for: a request has three large parts at most. */
	int large_count;
	struct {
		void *address;
		size_t length;
	} large[3];
};

/* Zeroed memory; without an arena, or room in it, from the kernel. NULL: there is none. */
void *arena_take(struct arena *arena, size_t length);
/* Gives back to the kernel what came from there. */
void arena_free(struct arena *arena);

/* Takes a payload apart. `broken` stays set once anything ran past the end. Strings are read where they are. */
struct reader {
	char *at;
	char *end;
	int broken;
	struct arena *arena; /* for lists; may be NULL */
};

uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
char *read_string(struct reader *reader);

/* A counted list of strings as execve wants it, with `spare` empty places and a NULL behind it. */
char **read_list(struct reader *reader, uint32_t *count, unsigned spare);

#endif
