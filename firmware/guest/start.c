/* SPDX-License-Identifier: Apache-2.0 */
#include "start.h"

#include "sys.h"
#include "util.h"

struct start {
	const struct command *command;
	const int *stdio;
	int terminal;
	long last; /* what the last attempt to exec came to */
	/* Written by the child, which shares our memory until it has exec'ed, and only when it gives up. */
	long error;
	const char *failed;
};

static void exec_file(struct start *start, const char *path)
{
	const struct command *command = start->command;
	long result = sys_execve(path, command->argv, command->envp);

	if (result == -ENOEXEC) {
		/* A script without its first line: every shell and execvp give it to sh. */
		size_t size = (command->argc + 2) * sizeof(char *);
		char **argv = sys_allocate(size);

		if (argv) {
			argv[0] = "sh";
			argv[1] = (char *)path;
			for (uint32_t i = 1; i <= command->argc; i++)
				argv[i + 1] = command->argv[i];
			result = sys_execve("/bin/sh", argv, command->envp);
			sys_free(argv, size);
		}
	}
	/* While searching PATH: "permission denied" tells more than "not found" in a later directory. */
	if (start->last != -EACCES)
		start->last = result;
}

const char *environment_value(char *const *envp, const char *name)
{
	size_t length = text_length(name);

	for (; *envp; envp++)
		if (text_starts(*envp, name) && (*envp)[length] == '=')
			return *envp + length + 1;
	return NULL;
}

static void exec_by_path(struct start *start, const char *file)
{
	char path[512];
	const char *list = environment_value(start->command->envp, "PATH");
	size_t file_length = text_length(file);

	for (const char *c = file; *c; c++)
		if (*c == '/') {
			exec_file(start, file);
			return;
		}
	start->last = -ENOENT;
	while (list && *file) {
		const char *end = list;

		while (*end && *end != ':')
			end++;
		size_t length = (size_t)(end - list);

		if (length + 1 + file_length < sizeof(path)) {
			memcpy(path, list, length);
			path[length] = '/';
			memcpy(path + length + !!length, file, file_length + 1);
			exec_file(start, path);
			if (start->last != -ENOENT && start->last != -ENOTDIR && start->last != -EACCES)
				return;
		}
		list = *end ? end + 1 : NULL;
	}
}

/* Groups first: afterwards it would not be allowed. */
static long take_identity(const struct identity *identity)
{
	long result = sys3(__NR_setgroups, identity->group_count, (long)identity->groups, 0);

	if (result >= 0)
		result = sys3(__NR_setgid, identity->gid, 0, 0);
	if (result >= 0)
		result = sys3(__NR_setuid, identity->uid, 0, 0);
	return result;
}

static void child(void *argument)
{
	struct start *start = argument;
	const struct command *command = start->command;
	unsigned long none = 0;

	sys_setsid();
	for (int i = 0; i < 3; i++)
		sys_dup2(start->stdio[i], i);
	if (start->terminal)
		sys_ioctl(0, TIOCSCTTY, (void *)1);
	sys_sigprocmask(SIG_SETMASK, &none);
	if (command->identity) {
		start->failed = "the user's rights";
		start->last = take_identity(command->identity);
	}
	if (start->last >= 0 && *command->cwd) {
		start->failed = command->cwd;
		start->last = sys_chdir(command->cwd);
	}
	if (start->last >= 0) {
		const char *program = command->program ? command->program : command->argv[0];

		start->failed = program;
		if (command->program_fd)
			start->last = sys_execveat(command->program_fd, command->argv, command->envp);
		else
			exec_by_path(start, program);
	}
	start->error = start->last;
	sys_exit(127);
}

long start_command(const struct command *command, const int stdio[3], int terminal, char *stack, const char **failed)
{
	struct start start = {.command = command, .stdio = stdio, .terminal = terminal};
	long pid = spawn(child, &start, stack + START_STACK, SPAWN_SHARED | SPAWN_WAIT | SIGCHLD);

	*failed = "cannot start a process";
	if (pid < 0)
		return pid;
	if (start.error < 0) {
		sys_wait4((int)pid, NULL, 0, NULL);
		*failed = start.failed;
		return start.error;
	}
	return pid;
}
