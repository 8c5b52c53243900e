/* SPDX-License-Identifier: Apache-2.0 */
/* Sends a file, or a directory with all that is in it, to the host. */
#include "agent.h"

#include "../guest/sys.h"

#include <asm/stat.h>

/* flags of FRAME_GET */
#define GET_FOLLOW 1u /* a symbolic link that is named itself: what it leads to */
#define GET_FLAGS_KNOWN 1u

enum {
	/* What a file's first piece is read into at least, behind its entry. */
	LEAST_ROOM = 4096,
	SEEK_SET = 0,
	DT_UNKNOWN = 0,
	DT_DIR = 4,
	DT_REG = 8,
	DT_LNK = 10,
};

struct dirent64 {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

struct sender {
	struct port *port;
	struct tree *tree;
};

static void flush(struct sender *sender)
{
	if (port_send_all(sender->port, sender->tree->out, sender->tree->out_end) < 0)
		sys_exit(0); /* nobody is there any more */
	sender->tree->out_end = 0;
}

static char *reserve(struct sender *sender, size_t length)
{
	struct tree *tree = sender->tree;

	if (tree->out_end + length > sizeof(tree->out))
		flush(sender);
	return tree->out + tree->out_end;
}

static void problem(struct sender *sender, long error)
{
	char *at = reserve(sender, PROBLEM_LIMIT);

	sender->tree->out_end += tree_problem(sender->tree, at, error);
}

static void send_word(struct sender *sender, uint8_t type, uint32_t value)
{
	char *at = reserve(sender, FRAME_HEADER + 4);

	frame_header(at, type, 4);
	store_u32(at + FRAME_HEADER, value);
	sender->tree->out_end += FRAME_HEADER + 4;
}

static void send_leave(struct sender *sender)
{
	frame_header(reserve(sender, FRAME_HEADER), FRAME_LEAVE, 0);
	sender->tree->out_end += FRAME_HEADER;
}

static void send_entry(struct sender *sender, enum entry_kind kind, const struct stat *status, const char *name,
		       const char *target, size_t target_length)
{
	size_t name_length = text_length(name);
	size_t length = ENTRY_FIXED + name_length + 1 + target_length + 1;
	char *at = reserve(sender, FRAME_HEADER + length);

	frame_header(at, FRAME_ENTRY, (uint32_t)length);
	at += FRAME_HEADER;
	store_u32(at, kind);
	store_u32(at + 4, (uint32_t)status->st_mode & 07777);
	store_u32(at + 8, (uint32_t)status->st_mtime_nsec);
	store_u64(at + 12, (uint64_t)status->st_mtime);
	store_u64(at + 20, kind == ENTRY_FILE ? (uint64_t)status->st_size : 0);
	at += ENTRY_FIXED;
	memcpy(at, name, name_length + 1);
	at += name_length + 1;
	memcpy(at, target, target_length);
	at[target_length] = 0;
	sender->tree->out_end += FRAME_HEADER + length;
}

/* The content, as far as the file was long when it was opened; of one that does not say, to its end. */
static void send_content(struct sender *sender, int fd, uint64_t size)
{
	struct tree *tree = sender->tree;
	uint64_t sent = 0;
	long got;

	do {
		char *at = reserve(sender, LEAST_ROOM);
		size_t room = sizeof(tree->out) - tree->out_end - FRAME_HEADER;

		if (size && size - sent < room)
			room = (size_t)(size - sent);
		got = sys_read(fd, at + FRAME_HEADER, room);
		if (got > 0) {
			frame_header(at, FRAME_DATA, (uint32_t)got);
			tree->out_end += FRAME_HEADER + (size_t)got;
			sent += (uint64_t)got;
		}
	} while (got > 0 && (!size || sent < size));
	send_word(sender, FRAME_FILE_END, got < 0 ? (uint32_t)-got : 0);
}

static long send_symlink(struct sender *sender, int directory, const char *path, const char *name)
{
	struct stat status;
	char target[PATH_LIMIT];
	long result = sys_fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW);

	if (result >= 0)
		result = sys4(__NR_readlinkat, directory, (long)path, (long)target, sizeof(target));
	if (result >= 0)
		send_entry(sender, ENTRY_SYMLINK, &status, name, target, (size_t)result);
	return result;
}

/* Sends a file, or begins with a directory. */
static long send_opened(struct sender *sender, int directory, const char *path, const char *name, int follow)
{
	struct tree *tree = sender->tree;
	struct stat status;
	/* Not waiting, in case it became a pipe this moment. */
	long fd = sys_openat(directory, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0);
	long result = fd < 0 ? fd : sys_fstat((int)fd, &status);

	if (result >= 0 && (status.st_mode & S_IFMT) == S_IFREG) {
		send_entry(sender, ENTRY_FILE, &status, name, "", 0);
		send_content(sender, (int)fd, (uint64_t)status.st_size);
	} else if (result >= 0 && (status.st_mode & S_IFMT) == S_IFDIR) {
		if (tree->depth < TREE_DEPTH) {
			send_entry(sender, ENTRY_DIRECTORY, &status, name, "", 0);
			tree->levels[tree->depth++] = (struct level){.fd = (int)fd, .path_length = tree->path_length};
			tree->dents_start = tree->dents_end = 0;
			return 1; /* which stays open */
		}
		result = -ELOOP;
	} else if (result >= 0) {
		result = -EOPNOTSUPP;
	}
	if (fd >= 0)
		sys_close((int)fd);
	return result;
}

/* One thing of which the type is known or not. What is neither file, directory nor link is not even opened. */
static long send_one(struct sender *sender, int directory, const char *path, const char *name, int type, int follow)
{
	if (type == DT_UNKNOWN) {
		struct stat status;
		long result = sys_fstatat(directory, path, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW);

		if (result < 0)
			return result;
		type = (status.st_mode & S_IFMT) >> 12; /* as DT_ constants are made */
	}
	if (type == DT_LNK)
		return send_symlink(sender, directory, path, name);
	if (type == DT_REG || type == DT_DIR)
		return send_opened(sender, directory, path, name, follow);
	return -EOPNOTSUPP;
}

static void leave(struct sender *sender)
{
	struct tree *tree = sender->tree;

	sys_close(tree->levels[--tree->depth].fd);
	send_leave(sender);
	if (tree->depth) {
		struct level *level = &tree->levels[tree->depth - 1];

		tree->path_length = level->path_length;
		sys3(__NR_lseek, level->fd, level->position, SEEK_SET);
	}
	tree->dents_start = tree->dents_end = 0;
}

/* The next entry of the directory that was entered last. */
static void step(struct sender *sender)
{
	struct tree *tree = sender->tree;
	struct level *level = &tree->levels[tree->depth - 1];

	if (tree->dents_start == tree->dents_end) {
		long got = sys3(__NR_getdents64, level->fd, (long)tree->dents, sizeof(tree->dents));

		if (got < 0)
			problem(sender, got);
		if (got <= 0) {
			leave(sender);
			return;
		}
		tree->dents_start = 0;
		tree->dents_end = (size_t)got;
	}
	struct dirent64 *dirent = (struct dirent64 *)(tree->dents + tree->dents_start);
	const char *name = dirent->name;

	tree->dents_start += dirent->length;
	level->position = dirent->next;
	if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
		return;
	size_t before = tree_push_name(tree, name);
	long result = send_one(sender, level->fd, name, name, dirent->type, 0);

	if (result < 0 && result != -ENOENT) /* it may be gone by now */
		problem(sender, result);
	if (result == 1 && tree->dents_end == 0)
		return; /* entered: the path goes on from here */
	tree->path_length = before;
}

/* What a path calls the thing it leads to. What it does not name ("/", "..") is called something. */
static void last_name(const char *path, char name[NAME_LIMIT + 1])
{
	size_t end = text_length(path);
	size_t start;

	while (end && path[end - 1] == '/')
		end--;
	for (start = end; start && path[start - 1] != '/'; start--)
		;
	size_t length = end - start;

	if (!length || length > NAME_LIMIT || (path[start] == '.' && (length == 1 || (length == 2 && path[start + 1] == '.')))) {
		memcpy(name, "unnamed", 8);
		return;
	}
	memcpy(name, path + start, length);
	name[length] = 0;
}

void serve_get(struct connection *connection, struct reader *request)
{
	struct tree *tree = &connection->tree;
	struct sender sender = {&connection->port, tree};
	uint32_t flags = read_u32(request);
	const char *path = read_string(request);
	char name[NAME_LIMIT + 1];

	if (request->broken || request->at != request->end || !*path || flags & ~GET_FLAGS_KNOWN) {
		refuse(&connection->outcome, "bad get request");
		return;
	}
	tree->depth = 0;
	tree->path_length = 0;
	tree->dents_start = tree->dents_end = 0;
	tree->out_end = 0;
	tree_push_name(tree, path);
	last_name(path, name);
	long result = send_one(&sender, AT_FDCWD, path, name, DT_UNKNOWN, !!(flags & GET_FOLLOW));

	if (result < 0) {
		not_started(&connection->outcome, result, path);
		return;
	}
	while (tree->depth)
		step(&sender);
	flush(&sender);
}
