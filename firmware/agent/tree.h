/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories, files and symbolic links on their way to or from the host. docs/agent.md.
 *
 * An entry names itself only; where it belongs follows from the directories entered and left. So there is no path that
 * could lead elsewhere, and each step is taken relative to an open directory.
 */
#ifndef TSVM_TREE_H
#define TSVM_TREE_H

#include "../guest/frames.h"
#include "../guest/session.h"

/* In both directions. */
#define FRAME_ENTRY 'N'
#define FRAME_DATA 'D'
#define FRAME_FILE_END 'F' /* u32: 0, or the errno for which the rest of the file is missing */
#define FRAME_LEAVE 'L' /* the directory that was entered last */
/* Host to guest: that was all. */
#define FRAME_TREE_END 'Z'
/* Guest to host: u32 errno, path. What could not be read or written; the others go on. */
#define FRAME_PROBLEM 'P'

enum entry_kind {
	ENTRY_FILE = 1,
	ENTRY_DIRECTORY = 2, /* and enter it */
	ENTRY_SYMLINK = 3,
};

enum {
	TREE_DEPTH = 128,
	PATH_LIMIT = 4096,
	NAME_LIMIT = 255,
	/* kind, mode, u32 and u64 of the time, size, name, target */
	ENTRY_FIXED = 4 + 4 + 4 + 8 + 8,
	ENTRY_LIMIT = ENTRY_FIXED + NAME_LIMIT + 1 + PATH_LIMIT + 1,
	DENTS_SIZE = 8 * 1024,
};

struct entry {
	uint32_t kind;
	uint32_t mode; /* permission bits */
	uint64_t seconds; /* of the last modification */
	uint32_t nanoseconds;
	uint64_t size; /* of a file, as far as known */
	const char *name;
	const char *target; /* of a symbolic link */
};

struct level {
	int fd;
	int made; /* by us */
	size_t path_length; /* of the directory above */
	int64_t position; /* get: behind the last entry taken from it */
	struct entry entry;
};

struct tree {
	struct level levels[TREE_DEPTH];
	int depth;
	/* Of what is worked on, for messages. */
	size_t path_length;
	char path[PATH_LIMIT];
	/* get: entries of the directory that is read, and what goes to the host. */
	size_t dents_start;
	size_t dents_end;
	char dents[DENTS_SIZE] __attribute__((aligned(8)));
	size_t out_end;
	char out[SESSION_CHUNK];
};

/* Appends a name to the path and returns the length that it had before. */
size_t tree_push_name(struct tree *tree, const char *name);

/* Writes FRAME_PROBLEM for the path, in at most PROBLEM_LIMIT bytes, and returns how many. */
size_t tree_problem(const struct tree *tree, char *at, long error);

#define PROBLEM_LIMIT (FRAME_HEADER + 4 + PATH_LIMIT)

#endif
