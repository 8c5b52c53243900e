/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: those that the host asks for, and those that shut the guest down. */
#include "agent.h"
#include "identity.h"

#include "../guest/sys.h"

/* flags of FRAME_EXEC */
#define EXEC_TERMINAL 1u
#define EXEC_NO_STDIN 2u
#define EXEC_FLAGS_KNOWN 3u

#define SPARE_ENV 5

/* PID 1 of busybox's kind, and tsvm's init, end the guest at these. */
#define SIGNAL_POWER_OFF SIGUSR2
#define SIGNAL_REBOOT SIGTERM

#ifndef TSVM_TEST
#define PROGRAMS "/sbin/"
#else
#define PROGRAMS "sbin/" /* in the working directory: the machine that runs the tests is to go on */
#endif

void run_in_session(struct connection *connection, const struct command *command, enum session_io io,
		    uint32_t rows, uint32_t columns)
{
	struct session *session = &connection->session;
	char usage[24];

	connection->host_sends = io != SESSION_NO_STDIN;
	/* Not all of it: most is buffers. */
	memset(session, 0, offsetof(struct session, out));
	session->port = &connection->port;
	session->io = io;
	session->signals = connection->signals;
	session->rows = (uint16_t)rows;
	session->columns = (uint16_t)columns;
	session->stdin_room = connection->stdin_room;
	session_run(session, command, connection->start_stack, &connection->outcome);
	if (session->lost)
		sys_exit(0);
	connection->host_sends &= !session->input_ended;
	if (connection->outcome.kind == EXIT_NOT_STARTED)
		return;
	store_u64(usage, session->usage.user);
	store_u64(usage + 8, session->usage.system);
	store_u64(usage + 16, session->usage.memory);
	port_hold(&connection->port, FRAME_USAGE, usage, sizeof(usage));
}

static void add_default(char **envp, uint32_t *envc, const char *name, char *assignment)
{
	if (!environment_value(envp, name))
		envp[(*envc)++] = assignment;
}

/* "HOME=" and what the user's line in /etc/passwd says. */
static char *assignment(char *at, size_t room, const char *name, const char *value)
{
	size_t name_length = text_length(name);
	size_t length = text_length(value);

	if (name_length + length + 2 > room)
		return NULL;
	memcpy(at, name, name_length);
	at[name_length] = '=';
	memcpy(at + name_length + 1, value, length + 1);
	return at;
}

void serve_exec(struct connection *connection, struct reader *request)
{
	static char *const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	struct outcome *outcome = &connection->outcome;
	struct user user;
	char home[512];
	char name[128];
	uint32_t envc;
	struct command command = {0};
	uint32_t flags = read_u32(request);

	if (flags & ~EXEC_FLAGS_KNOWN) {
		refuse(outcome, "exec request with unknown flags: tsvm is newer than the guest's agent");
		return;
	}
	command.argv = read_list(request, &command.argc, 0);
	if (!request->broken)
		command.envp = read_list(request, &envc, SPARE_ENV);
	command.cwd = read_string(request);
	const char *user_name = read_string(request);
	uint32_t rows = read_u32(request);
	uint32_t columns = read_u32(request);

	if (request->broken || request->at != request->end) {
		refuse(outcome, "exec request cut short");
		return;
	}
	if (command.argc == 0 || rows > 0xffff || columns > 0xffff) {
		refuse(outcome, "exec request without a command, or with a terminal of no size");
		return;
	}
	if (!user_find(user_name, &connection->identity, &user, outcome))
		return;
	if (*user_name)
		command.identity = &connection->identity;
	add_default(command.envp, &envc, "PATH", path);
	char *home_assignment = assignment(home, sizeof(home), "HOME", user.home);
	char *name_assignment = assignment(name, sizeof(name), "USER", user.name);

	if (home_assignment)
		add_default(command.envp, &envc, "HOME", home_assignment);
	if (name_assignment && *user.name)
		add_default(command.envp, &envc, "USER", name_assignment);
	if (flags & EXEC_TERMINAL)
		add_default(command.envp, &envc, "TERM", "TERM=linux");
	if (!*command.cwd)
		command.cwd = "/";
	run_in_session(connection, &command,
		       flags & EXEC_TERMINAL   ? SESSION_PTY
		       : flags & EXEC_NO_STDIN ? SESSION_NO_STDIN
					       : SESSION_PIPES,
		       rows, columns);
}

void serve_shutdown(struct connection *connection, struct reader *request)
{
	static char *poweroff[] = {PROGRAMS "poweroff", NULL};
	static char *reboot[] = {PROGRAMS "reboot", NULL};
	static char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	uint32_t kind = read_u32(request);

	if (request->broken || request->at != request->end || kind > 1) {
		refuse(&connection->outcome, "bad shutdown request");
		return;
	}
	if (connection->under_init) {
		/* First: init ends us with all others, maybe before we could say anything. */
		port_send_exit(&connection->port, &connection->outcome);
		sys_kill(1, kind ? SIGNAL_REBOOT : SIGNAL_POWER_OFF);
		sys_exit(0);
	}
	struct command command = {.argv = kind ? reboot : poweroff, .argc = 1, .envp = environment, .cwd = ""};

	run_in_session(connection, &command, SESSION_NO_STDIN, 0, 0);
}
