/* SPDX-License-Identifier: Apache-2.0 */
#include "util.h"

#include <asm-generic/errno.h>

void *memcpy(void *to, const void *from, size_t length)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t length)
{
	unsigned char *d = to;
	const unsigned char *s = from;

	if (d <= s || d >= s + length)
		return memcpy(to, from, length);
	while (length--)
		*((volatile unsigned char *)d + length) = s[length];
	return to;
}

void *memset(void *at, int value, size_t length)
{
	void *start = at;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(value) : "memory");
	return start;
}

size_t text_length(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	return (size_t)(end - text);
}

int text_starts(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return 0;
	return 1;
}

void message_add(struct message *message, const char *text)
{
	while (*text && message->length < sizeof(message->text))
		message->text[message->length++] = *text++;
}

void message_add_number(struct message *message, long number)
{
	char digits[24];
	char *at = digits + sizeof(digits);
	unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;

	*--at = 0;
	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (number < 0)
		*--at = '-';
	message_add(message, at);
}

void message_add_errno(struct message *message, long result)
{
	static const struct {
		short number;
		char text[30];
	} known[] = {
		{ENOENT, "no such file or directory"},
		{EACCES, "permission denied"},
		{EPERM, "operation not permitted"},
		{ENOEXEC, "not an executable"},
		{ENOTDIR, "not a directory"},
		{EISDIR, "is a directory"},
		{ENODEV, "no such device"},
		{ENXIO, "no such device"},
		{ENOTBLK, "not a block device"},
		{EINVAL, "invalid argument"},
		{ENAMETOOLONG, "name too long"},
		{EOPNOTSUPP, "no file, directory or link"},
		{EIO, "input/output error"},
		{ENOMEM, "out of memory"},
		{E2BIG, "arguments too long"},
		{EROFS, "read-only"},
		{ELOOP, "too many symbolic links"},
		{EBUSY, "busy"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].number == -result) {
			message_add(message, ": ");
			message_add(message, known[i].text);
			return;
		}
	message_add(message, ": error ");
	message_add_number(message, -result);
}
