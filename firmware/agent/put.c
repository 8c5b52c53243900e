/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a file, or a directory with all that is in it, from the host. */
#include "agent.h"
#include "identity.h"

#include "../guest/sys.h"

#include <asm/stat.h>

/* flags of FRAME_PUT */
#define PUT_CONTENTS 1u /* what is in the directory goes into a destination that exists, not the directory itself */
#define PUT_PARENTS 2u /* make the directories above the destination, too */
#define PUT_FLAGS_KNOWN 3u

#define TEMPORARY_PREFIX ".tsvm-agent."

enum {
	PERMISSIONS = 0777, /* no set-user-id: the file has another owner now */
};

struct receiver {
	struct port *port;
	struct tree *tree;
	const struct identity *owner; /* NULL: us */
	uint32_t flags;
	char *destination;
	int top_done;
	int into; /* the destination is a directory, and the top goes into it */
	/* Directories that were entered inside one that could not be. */
	int skipped;
	/* The file that is being written. `open` while its frames come, fd -1 if they are dropped. */
	int open;
	int fd;
	int directory; /* where it belongs */
	size_t path_before; /* of tree->path, without the file */
	struct entry entry;
	char name[NAME_LIMIT + 1];
	char temporary[40];
	const char *wrong; /* what makes no sense in what the host sends */
};

static void problem(struct receiver *receiver, long error)
{
	size_t length = tree_problem(receiver->tree, receiver->tree->out, error);

	if (port_send_all(receiver->port, receiver->tree->out, length) < 0)
		sys_exit(0);
}

/* Somewhere under a name that nobody else uses, in the directory where it belongs: renaming it is atomic. */
static void name_temporary(struct receiver *receiver)
{
	struct message name = {0};

	message_add(&name, TEMPORARY_PREFIX);
	message_add_number(&name, sys3(__NR_getpid, 0, 0, 0));
	memcpy(receiver->temporary, name.text, name.length);
	receiver->temporary[name.length] = 0;
}

static void set_owner(const struct receiver *receiver, int directory, const char *path, int flags)
{
	if (receiver->owner)
		sys6(__NR_fchownat, directory, (long)path, receiver->owner->uid, receiver->owner->gid, flags, 0);
}

static void set_time(const struct entry *entry, int directory, const char *path)
{
	const struct timespec64 times[2] = {
		{(int64_t)entry->seconds, entry->nanoseconds},
		{(int64_t)entry->seconds, entry->nanoseconds},
	};

	sys4(__NR_utimensat, directory, (long)path, (long)times, path ? AT_SYMLINK_NOFOLLOW : 0);
}

/* ---- where it goes ----------------------------------------------------------------------------------------------- */

static void make_parents(char *path)
{
	for (char *at = path + 1; *at; at++)
		if (*at == '/') {
			*at = 0;
			sys_mkdir(path, 0755);
			*at = '/';
		}
}

static long open_directory(int directory, const char *path, int flags)
{
	return sys_openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
}

/* The directory that a path lies in; its last name is put into receiver->name. */
static long open_parent(struct receiver *receiver, char *path)
{
	size_t end = text_length(path);
	size_t start;

	while (end > 1 && path[end - 1] == '/')
		path[--end] = 0;
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	if (end == start || end - start > NAME_LIMIT)
		return end == start ? -EISDIR : -ENAMETOOLONG;
	memcpy(receiver->name, path + start, end - start + 1);
	if (start == 0)
		return open_directory(AT_FDCWD, ".", 0);
	char saved = path[start];

	path[start] = 0;
	long result = open_directory(AT_FDCWD, path, 0);

	path[start] = saved;
	return result;
}

/*
 * Where the top goes, as cp(1) has it: into a directory that exists, in the place of a file that exists, or under a name
 * that does not exist yet. Returns the directory's descriptor and leaves the name in receiver->name, "" for the directory
 * itself.
 */
static long open_destination(struct receiver *receiver, const struct entry *entry)
{
	char *path = receiver->destination;
	size_t length = text_length(path);
	int is_directory = entry->kind == ENTRY_DIRECTORY;
	struct stat status;

	if (receiver->flags & PUT_PARENTS)
		make_parents(path);
	long result = sys_fstatat(AT_FDCWD, path, &status, 0);

	if (result >= 0 && (status.st_mode & S_IFMT) == S_IFDIR) {
		receiver->into = !(is_directory && receiver->flags & PUT_CONTENTS);
		receiver->name[0] = 0;
		if (receiver->into)
			memcpy(receiver->name, entry->name, text_length(entry->name) + 1);
		return open_directory(AT_FDCWD, path, 0);
	}
	if (result >= 0 && is_directory)
		return -ENOTDIR;
	if (result < 0 && (result != -ENOENT || (!is_directory && path[length - 1] == '/')))
		return result;
	return open_parent(receiver, path);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static int valid_name(const char *name)
{
	size_t length = text_length(name);

	if (!length || length > NAME_LIMIT || (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))))
		return 0;
	for (; *name; name++)
		if (*name == '/')
			return 0;
	return 1;
}

/* Entry, or nothing: then receiver->wrong says why. */
static void read_entry(struct receiver *receiver, struct reader *reader, struct entry *entry)
{
	entry->kind = read_u32(reader);
	entry->mode = read_u32(reader) & PERMISSIONS;
	entry->nanoseconds = read_u32(reader);
	entry->seconds = read_u64(reader);
	entry->size = read_u64(reader);
	entry->name = read_string(reader);
	entry->target = read_string(reader);
	if (reader->broken || reader->at != reader->end || entry->kind < ENTRY_FILE || entry->kind > ENTRY_SYMLINK ||
	    entry->nanoseconds >= 1000000000)
		receiver->wrong = "an entry that makes no sense";
	else if (!valid_name(entry->name))
		receiver->wrong = "an entry with a bad name";
	else if (receiver->open)
		receiver->wrong = "an entry inside a file";
	else if (receiver->top_done && !receiver->tree->depth && !receiver->skipped)
		receiver->wrong = "an entry after the last one";
}

static long enter_directory(struct receiver *receiver, int directory, const char *name, const struct entry *entry)
{
	struct tree *tree = receiver->tree;
	int made = 0;
	long fd;

	if (tree->depth == TREE_DEPTH)
		return -ELOOP;
	if (*name) {
		long result = sys3(__NR_mkdirat, directory, (long)name, 0700);

		if (result < 0 && result != -EEXIST)
			return result;
		made = result >= 0;
		fd = open_directory(directory, name, O_NOFOLLOW);
	} else {
		fd = open_directory(directory, ".", 0);
	}
	if (fd < 0)
		return fd;
	tree->levels[tree->depth++] = (struct level){.fd = (int)fd, .made = made, .entry = *entry};
	return 0;
}

static long make_symlink(struct receiver *receiver, int directory, const char *name, const struct entry *entry)
{
	long result = sys3(__NR_symlinkat, (long)entry->target, directory, (long)receiver->temporary);

	if (result < 0)
		return result;
	set_owner(receiver, directory, receiver->temporary, AT_SYMLINK_NOFOLLOW);
	set_time(entry, directory, receiver->temporary);
	result = sys_renameat(directory, receiver->temporary, directory, name);
	if (result < 0)
		sys_unlinkat(directory, receiver->temporary);
	return result;
}

static long open_file(struct receiver *receiver, int directory, const struct entry *entry)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	long fd = sys_openat(directory, receiver->temporary, flags, 0600);

	if (fd == -EEXIST) {
		/* Left behind by one that was killed and had the same number. */
		sys_unlinkat(directory, receiver->temporary);
		fd = sys_openat(directory, receiver->temporary, flags, 0600);
	}
	if (fd < 0)
		return fd;
	receiver->fd = (int)fd;
	/* Another level's, or the destination's, which a file at the top is alone in. */
	receiver->directory = directory;
	receiver->entry = *entry;
	return 0;
}

static void drop_file(struct receiver *receiver)
{
	if (receiver->fd < 0)
		return;
	sys_close(receiver->fd);
	sys_unlinkat(receiver->directory, receiver->temporary);
	receiver->fd = -1;
}

/* Frames for what cannot be made still come, and are dropped. */
static void skip(struct receiver *receiver, const struct entry *entry)
{
	if (entry->kind == ENTRY_DIRECTORY)
		receiver->skipped++;
	else
		receiver->open = entry->kind == ENTRY_FILE;
}

static void take_entry(struct receiver *receiver, struct reader *reader, struct outcome *outcome)
{
	struct tree *tree = receiver->tree;
	struct entry entry;
	long result;
	int directory;

	read_entry(receiver, reader, &entry);
	if (receiver->wrong)
		return;
	receiver->path_before = tree->path_length; /* 0 for the top */
	if (receiver->skipped) {
		skip(receiver, &entry);
		return;
	}
	if (!receiver->top_done) {
		receiver->top_done = 1;
		result = open_destination(receiver, &entry);
		if (result < 0) {
			not_started(outcome, result, receiver->destination);
			return;
		}
		directory = (int)result;
		tree_push_name(tree, receiver->destination);
		if (receiver->into)
			tree_push_name(tree, entry.name);
	} else {
		directory = tree->levels[tree->depth - 1].fd;
		memcpy(receiver->name, entry.name, text_length(entry.name) + 1);
		tree_push_name(tree, entry.name);
	}
	switch (entry.kind) {
	case ENTRY_DIRECTORY:
		result = enter_directory(receiver, directory, receiver->name, &entry);
		break;
	case ENTRY_SYMLINK:
		result = make_symlink(receiver, directory, receiver->name, &entry);
		break;
	default:
		result = open_file(receiver, directory, &entry);
	}
	if (result < 0) {
		problem(receiver, result);
		skip(receiver, &entry);
		tree->path_length = receiver->path_before;
	} else if (entry.kind == ENTRY_DIRECTORY) {
		tree->levels[tree->depth - 1].path_length = receiver->path_before;
	} else if (entry.kind == ENTRY_FILE) {
		receiver->open = 1;
	} else {
		tree->path_length = receiver->path_before;
	}
}

/* Some bytes of the open file. */
static void take_data(struct receiver *receiver, const char *bytes, size_t length)
{
	while (length && receiver->fd >= 0) {
		long written = sys_write(receiver->fd, bytes, length);

		if (written < 0 && written != -EINTR) {
			problem(receiver, written);
			drop_file(receiver);
		} else if (written > 0) {
			bytes += written;
			length -= (size_t)written;
		}
	}
}

static void end_file(struct receiver *receiver, uint32_t error)
{
	struct tree *tree = receiver->tree;

	receiver->open = 0;
	if (error)
		drop_file(receiver);
	if (receiver->fd >= 0) {
		/* The owner first: a change of owner may take mode bits away. */
		set_owner(receiver, receiver->fd, "", AT_EMPTY_PATH);
		sys3(__NR_fchmod, receiver->fd, receiver->entry.mode, 0);
		set_time(&receiver->entry, receiver->fd, NULL);
		long result = sys_renameat(receiver->directory, receiver->temporary, receiver->directory, receiver->name);

		if (result < 0) {
			problem(receiver, result);
			drop_file(receiver);
		} else {
			sys_close(receiver->fd);
			receiver->fd = -1;
		}
	}
	tree->path_length = receiver->path_before;
}

static void leave(struct receiver *receiver)
{
	struct tree *tree = receiver->tree;

	if (receiver->open || (!receiver->skipped && !tree->depth)) {
		receiver->wrong = "a directory is left that was not entered";
		return;
	}
	if (receiver->skipped) {
		receiver->skipped--;
		return;
	}
	struct level *level = &tree->levels[--tree->depth];

	if (level->made) {
		set_owner(receiver, level->fd, "", AT_EMPTY_PATH);
		sys3(__NR_fchmod, level->fd, level->entry.mode, 0);
		set_time(&level->entry, level->fd, NULL);
	}
	sys_close(level->fd);
	tree->path_length = level->path_length;
}

/* One frame that is not FRAME_DATA, whole in the port's buffer. */
static void take_frame(struct receiver *receiver, uint8_t type, struct reader *reader, struct outcome *outcome)
{
	uint32_t error;

	switch (type) {
	case FRAME_ENTRY:
		take_entry(receiver, reader, outcome);
		break;
	case FRAME_FILE_END:
		error = read_u32(reader);
		if (!receiver->open || reader->broken)
			receiver->wrong = "the end of a file that was not begun";
		else
			end_file(receiver, error);
		break;
	case FRAME_LEAVE:
		leave(receiver);
		break;
	default:
		receiver->wrong = "a frame that makes no sense";
	}
}

/* Frames until the last one. Returns 0 when the host has left before. */
static int receive(struct receiver *receiver, struct outcome *outcome)
{
	struct port *port = receiver->port;
	struct frame frame;
	int forever = PORT_FOR_EVER;

	while (!receiver->wrong && outcome->kind == EXIT_STATUS) {
		if (!port_next(port, &frame, &forever))
			return 0;
		if (frame.type == FRAME_TREE_END) {
			if (receiver->open || receiver->skipped || receiver->tree->depth)
				receiver->wrong = "the end inside a directory or file";
			return 1;
		}
		if (frame.type == FRAME_DATA) {
			if (!receiver->open)
				receiver->wrong = "data without a file";
			while (frame.left && !receiver->wrong) {
				if (!port_fill(port, 1, &forever))
					return 0;
				size_t part = port->in_end - port->in_start;

				if (part > frame.left)
					part = frame.left;
				take_data(receiver, port->in + port->in_start, part);
				port->in_start += part;
				frame.left -= (uint32_t)part;
			}
			continue;
		}
		if (frame.length > ENTRY_LIMIT) {
			receiver->wrong = "an entry that is too long";
			return 1;
		}
		if (!port_fill(port, frame.length, &forever))
			return 0;
		char *payload = port->in + port->in_start;
		struct reader reader = {.at = payload, .end = payload + frame.length};

		port->in_start += frame.length;
		take_frame(receiver, frame.type, &reader, outcome);
	}
	return 1;
}

void serve_put(struct connection *connection, struct reader *request)
{
	struct outcome *outcome = &connection->outcome;
	struct user user;
	struct receiver receiver = {.port = &connection->port, .tree = &connection->tree, .fd = -1};

	connection->host_sends = 1;
	receiver.flags = read_u32(request);
	receiver.destination = read_string(request);
	const char *owner = read_string(request);

	if (request->broken || request->at != request->end || !*receiver.destination ||
	    receiver.flags & ~PUT_FLAGS_KNOWN) {
		refuse(outcome, "bad put request");
		return;
	}
	if (!user_find(owner, &connection->identity, &user, outcome))
		return;
	if (*owner)
		receiver.owner = &connection->identity;
	receiver.tree->depth = 0;
	receiver.tree->path_length = 0;
	name_temporary(&receiver);
	sys3(__NR_umask, 0, 0, 0);
	int whole = receive(&receiver, outcome);

	drop_file(&receiver);
	if (!whole)
		sys_exit(0);
	if (receiver.wrong)
		refuse(outcome, receiver.wrong);
}
