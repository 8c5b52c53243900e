/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include "util.h"

enum parse_result frame_parse(const void *bytes, size_t available, struct frame *frame, size_t *used)
{
	const uint8_t *header = bytes;

	*used = 0;
	if (available < FRAME_HEADER)
		return PARSE_MORE;
	uint32_t length = load_u32(header + 4);

	if (header[1] || header[2] || header[3] || length > FRAME_LIMIT)
		return PARSE_BROKEN;
	frame->type = header[0];
	frame->length = length;
	frame->left = length;
	*used = FRAME_HEADER;
	return PARSE_FRAME;
}

void frame_header(void *at, uint8_t type, uint32_t length)
{
	store_u32(at, type);
	store_u32((char *)at + 4, length);
}

/* Where the host's strings are read from. `broken` stays set once anything ran past the end. */
struct reader {
	char *at;
	char *end;
	int broken;
};

static uint32_t read_number(struct reader *reader)
{
	if (reader->end - reader->at < 4) {
		reader->broken = 1;
		return 0;
	}
	uint32_t value = load_u32(reader->at);

	reader->at += 4;
	return value;
}

static char *read_string(struct reader *reader)
{
	char *start = reader->at;

	while (reader->at < reader->end)
		if (*reader->at++ == 0)
			return start;
	reader->broken = 1;
	return "";
}

/* A counted list of strings as execve wants it, with `spare` empty places behind it. */
static char **read_list(struct reader *reader, uint32_t *count, unsigned spare, void *(*allocate)(size_t))
{
	*count = read_number(reader);
	/* Each string takes a byte at least: a larger count is a lie, and must not reach the allocation. */
	if (reader->broken || *count > (size_t)(reader->end - reader->at)) {
		reader->broken = 1;
		return NULL;
	}
	char **list = allocate(((size_t)*count + spare + 1) * sizeof(*list));

	if (!list) {
		reader->broken = 1;
		return NULL;
	}
	for (uint32_t i = 0; i < *count; i++)
		list[i] = read_string(reader);
	return list;
}

const char *run_parse(char *payload, size_t length, void *(*allocate)(size_t), struct run_request *request)
{
	struct reader reader = {payload, payload + length, 0};

	request->flags = read_number(&reader);
	if (request->flags & ~RUN_FLAGS_KNOWN)
		return "run request with unknown flags: tsvm is newer than the guest's init";
	request->argv = read_list(&reader, &request->argc, 0, allocate);
	if (!reader.broken)
		request->envp = read_list(&reader, &request->envc, RUN_SPARE_ENV, allocate);
	if (!reader.broken) {
		request->cwd = read_string(&reader);
		request->device = read_string(&reader);
		request->type = read_string(&reader);
		request->hostname = read_string(&reader);
	}
	if (reader.broken)
		return "run request cut short";
	if (reader.at != reader.end)
		return "run request with bytes left over";
	return NULL;
}
