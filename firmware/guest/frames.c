/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include "sys.h"
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

uint32_t read_u32(struct reader *reader)
{
	if (reader->end - reader->at < 4) {
		reader->broken = 1;
		return 0;
	}
	uint32_t value = load_u32(reader->at);

	reader->at += 4;
	return value;
}

uint64_t read_u64(struct reader *reader)
{
	uint64_t low = read_u32(reader);

	return low | (uint64_t)read_u32(reader) << 32;
}

char *read_string(struct reader *reader)
{
	char *start = reader->at;

	while (reader->at < reader->end)
		if (*reader->at++ == 0)
			return start;
	reader->broken = 1;
	return "";
}

void *arena_take(struct arena *arena, size_t length)
{
	length = (length + 15) & ~15UL;
	if (!arena)
		return sys_allocate(length);
	if (length > arena->left) {
		if (arena->large_count == sizeof(arena->large) / sizeof(arena->large[0]))
			return NULL;
		void *large = sys_allocate(length);

		arena->large[arena->large_count].address = large;
		arena->large[arena->large_count++].length = length;
		return large;
	}
	void *taken = arena->at;

	arena->at += length;
	arena->left -= length;
	memset(taken, 0, length);
	return taken;
}

void arena_free(struct arena *arena)
{
	while (arena->large_count) {
		arena->large_count--;
		sys_free(arena->large[arena->large_count].address, arena->large[arena->large_count].length);
	}
}

char **read_list(struct reader *reader, uint32_t *count, unsigned spare)
{
	*count = read_u32(reader);
	/* Each string takes a byte at least: a larger count is a lie, and must not reach the allocation. */
	if (reader->broken || *count > (size_t)(reader->end - reader->at)) {
		reader->broken = 1;
		return NULL;
	}
	char **list = arena_take(reader->arena, ((size_t)*count + spare + 1) * sizeof(char *));

	if (!list) {
		reader->broken = 1;
		return NULL;
	}
	for (uint32_t i = 0; i < *count; i++)
		list[i] = read_string(reader);
	return list;
}
