/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include "../guest/sys.h"

enum {
	FILE_LIMIT = 1024 * 1024,
	/* name:password:uid:gid:comment:home:shell, name:password:gid:members */
	NAME = 0,
	UID = 2,
	GID = 3,
	HOME = 5,
	GROUP_GID = 2,
	MEMBERS = 3,
};

struct text {
	const char *at;
	size_t length;
};

static int same(struct text text, const char *other, size_t length)
{
	if (text.length != length)
		return 0;
	for (size_t i = 0; i < length; i++)
		if (text.at[i] != other[i])
			return 0;
	return 1;
}

/* A whole number below 2^32 - 1, which means "no change" to the kernel. */
static int number_of(struct text text, uint32_t *number)
{
	uint64_t value = 0;

	if (!text.length || text.length > 10)
		return 0;
	for (size_t i = 0; i < text.length; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return 0;
		value = value * 10 + (uint64_t)(text.at[i] - '0');
	}
	*number = (uint32_t)value;
	return value < 0xffffffff;
}

/* The content of a file, in FILE_LIMIT bytes of memory; without one, nothing. */
static struct text read_file(const char *path)
{
	struct text content = {NULL, 0};
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	long got;

	if (fd < 0)
		return content;
	char *memory = sys_allocate(FILE_LIMIT);

	content.at = memory;
	while (memory && content.length < FILE_LIMIT &&
	       (got = sys_read((int)fd, memory + content.length, FILE_LIMIT - content.length)) > 0)
		content.length += (size_t)got;
	sys_close((int)fd);
	return content;
}

/* Takes the first line off. Returns 0 at the end. */
static int next_line(struct text *rest, struct text *line)
{
	size_t length = 0;

	if (!rest->length)
		return 0;
	while (length < rest->length && rest->at[length] != '\n')
		length++;
	*line = (struct text){rest->at, length};
	length += length < rest->length;
	rest->at += length;
	rest->length -= length;
	return 1;
}

static struct text field(struct text line, int number, char separator)
{
	size_t start = 0;
	size_t end;

	for (; number > 0; number--) {
		while (start < line.length && line.at[start] != separator)
			start++;
		if (start == line.length)
			return (struct text){line.at, 0};
		start++;
	}
	for (end = start; end < line.length && line.at[end] != separator; end++)
		;
	return (struct text){line.at + start, end - start};
}

static void copy(char *to, size_t room, struct text text)
{
	size_t length = text.length < room - 1 ? text.length : 0; /* cut short it would be another one */

	memcpy(to, text.at, length);
	to[length] = 0;
}

/* Fills in what the line of this user says. */
static int find_in_passwd(struct text content, struct text who, const uint32_t *uid, struct identity *identity,
			  struct user *user)
{
	struct text line;

	while (next_line(&content, &line)) {
		uint32_t number;

		if (!number_of(field(line, UID, ':'), &number))
			continue;
		struct text name = field(line, NAME, ':');

		if (uid ? number != *uid : !same(who, name.at, name.length))
			continue;
		if (!number_of(field(line, GID, ':'), &identity->gid))
			continue;
		identity->uid = number;
		copy(user->name, sizeof(user->name), name);
		copy(user->home, sizeof(user->home), field(line, HOME, ':'));
		return 1;
	}
	return 0;
}

static int is_member(struct text members, const char *name)
{
	size_t length = text_length(name);

	while (length && members.length) {
		struct text member = field(members, 0, ',');
		size_t taken = member.length + (member.length < members.length);

		if (same(member, name, length))
			return 1;
		members.at += taken;
		members.length -= taken;
	}
	return 0;
}

/* The groups that the user is in, beside the first. */
static void find_supplementary(struct text content, struct identity *identity, const struct user *user)
{
	struct text line;
	uint32_t gid;

	while (identity->group_count < MAX_GROUPS && next_line(&content, &line))
		if (number_of(field(line, GROUP_GID, ':'), &gid) && gid != identity->gid &&
		    is_member(field(line, MEMBERS, ':'), user->name))
			identity->groups[identity->group_count++] = gid;
}

static int find_group(struct text content, struct text who, uint32_t *gid)
{
	struct text line;

	if (number_of(who, gid))
		return 1;
	while (next_line(&content, &line)) {
		struct text name = field(line, NAME, ':');

		if (same(who, name.at, name.length) && number_of(field(line, GROUP_GID, ':'), gid))
			return 1;
	}
	return 0;
}

static void nobody(struct outcome *outcome, const char *what, const char *who)
{
	outcome->kind = EXIT_NOT_STARTED;
	outcome->value = ENOENT;
	message_add(&outcome->message, what);
	message_add(&outcome->message, who);
	message_add(&outcome->message, ": there is none such in the guest");
}

int user_find(const char *who, struct identity *identity, struct user *user, struct outcome *outcome)
{
	struct text whole = {who, text_length(who)};
	struct text name = field(whole, 0, ':');
	struct text group = field(whole, 1, ':');
	struct text passwd = {NULL, 0};
	struct text groups = {NULL, 0};
	uint32_t uid = 0;
	int result = 1;

	identity->group_count = 0;
	identity->uid = identity->gid = 0;
	user->name[0] = 0;
	memcpy(user->home, "/root", 6);
	if (!*who)
		return 1; /* whose environment says so already */
	int numeric = number_of(name, &uid);

	identity->uid = uid;
	memcpy(user->home, "/", 2);
	passwd = read_file("/etc/passwd");
	groups = read_file("/etc/group");
	if (!find_in_passwd(passwd, name, numeric ? &uid : NULL, identity, user) && !numeric) {
		nobody(outcome, "user ", who);
		result = 0;
	} else if (name.length < whole.length) {
		if (!find_group(groups, group, &identity->gid)) {
			nobody(outcome, "group of ", who);
			result = 0;
		}
	} else {
		find_supplementary(groups, identity, user);
	}
	sys_free((void *)passwd.at, FILE_LIMIT);
	sys_free((void *)groups.at, FILE_LIMIT);
	return result;
}
