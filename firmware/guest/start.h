/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program. */
#ifndef TSVM_START_H
#define TSVM_START_H

#include <stdint.h>

enum {
	START_STACK = 16 * 1024,
	MAX_GROUPS = 64,
};

/* Whose rights a program gets. */
struct identity {
	uint32_t uid;
	uint32_t gid;
	uint32_t group_count;
	uint32_t groups[MAX_GROUPS]; /* the supplementary ones */
};

struct command {
	char **argv; /* the program is looked up in envp's PATH */
	uint32_t argc;
	char **envp;
	const char *program; /* in place of argv[0]; or NULL */
	int program_fd; /* in place of both, where it is not 0 */
	const char *cwd; /* "": ours */
	const struct identity *identity; /* NULL: ours */
};

/*
 * Starts the command in a session of its own, with these descriptors as its first three; with `terminal` the first of
 * them becomes its controlling terminal. Everything else of ours must be close-on-exec. `stack` has START_STACK bytes.
 *
 * Returns its process id; or a negative errno and, in *failed, what could not be done.
 */
long start_command(const struct command *command, const int stdio[3], int terminal, char *stack, const char **failed);

/* The value of a variable in a list of assignments, or NULL. */
const char *environment_value(char *const *envp, const char *name);

#endif
