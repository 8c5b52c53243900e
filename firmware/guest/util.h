/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TSVM_UTIL_H
#define TSVM_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* gcc may call these three whatever the flags say. */
void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *at, int value, size_t length);

size_t text_length(const char *text);
/* Whether text begins with prefix. */
int text_starts(const char *text, const char *prefix);

/* A short message put together from parts; what does not fit is cut off. */
struct message {
	size_t length;
	char text[256];
};

void message_add(struct message *message, const char *text);
void message_add_number(struct message *message, long number);
/* ": name" for an errno one meets at start-up, ": error N" for the others. Takes the negative value of a system call. */
void message_add_errno(struct message *message, long result);

static inline uint32_t load_u32(const void *at)
{
	const unsigned char *b = at;

	return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline void store_u32(void *at, uint32_t value)
{
	unsigned char *b = at;

	b[0] = (unsigned char)value;
	b[1] = (unsigned char)(value >> 8);
	b[2] = (unsigned char)(value >> 16);
	b[3] = (unsigned char)(value >> 24);
}

static inline void store_u64(void *at, uint64_t value)
{
	store_u32(at, (uint32_t)value);
	store_u32((unsigned char *)at + 4, (uint32_t)(value >> 32));
}

#endif
