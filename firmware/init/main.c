/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsvm's init: PID 1 of the bundled guest.
 *
 * Says hello, hears from the host what to run, enters the root file system, runs it, says how it ended. Made for a
 * kernel where each system call may take a fifth of a millisecond and each page fault two: it does the least that must
 * be done before hello, and little before the command starts.
 */
#include "../agent/listen.h"
#include "../guest/session.h"
#include "../guest/sys.h"
#include "agent-start.h"
#include "setup.h"

enum {
	/* The port appears when the host has answered the driver, usually before init runs. */
	PORT_WAIT_MS = 1000,
	PORT_PAUSE_MS = 2,
	/* The host sends its request without waiting for the hello. */
	REQUEST_WAIT_MS = 10000,
	/* What a slow host may take to fetch the exit frame. */
	EXIT_WAIT_MS = 5000,
};

#define CONTROL_PORT_ID "1"

/* What the kernel made of parameters that it does not know. */
static char *const *boot_environment;

/*
 * Port 1 of the console device. The digit after "vport" is the number of the virtio device, 0 if the console is the
 * first of them.
 */
static int open_control(void)
{
	char path[] = "/dev/vport0p" CONTROL_PORT_ID;

	for (int waited = 0; waited < PORT_WAIT_MS; waited += PORT_PAUSE_MS) {
		for (char digit = '0'; digit <= (waited % 50 ? '0' : '9'); digit++) {
			path[10] = digit;
			long fd = sys_open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

			if (fd >= 0)
				return (int)fd;
		}
		sys_sleep_ms(PORT_PAUSE_MS);
	}
	return -1;
}

static void add_default(struct run_request *request, char *assignment, const char *name)
{
	for (uint32_t i = 0; i < request->envc; i++)
		if (text_starts(request->envp[i], name))
			return;
	request->envp[request->envc++] = assignment;
}

/* A few values every program counts on. RUN_SPARE_ENV places are free for them. */
static void complete_environment(struct run_request *request)
{
	add_default(request, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PATH=");
	add_default(request, "HOME=/root", "HOME=");
	add_default(request, "TERM=linux", "TERM=");
}

/* The root file system has an init of its own, and this process becomes it. Returns only when there is none. */
static long become_init(struct run_request *request)
{
	static const char candidates[][12] = {"/sbin/init", "/etc/init", "/bin/init"};
	long result = -ENOENT;

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		char *argv[] = {(char *)candidates[i], NULL};

		result = sys_execve(candidates[i], argv, request->envp);
		if (result != -ENOENT)
			break;
	}
	return result;
}

/* Without a host to ask: a shell on the console, on the first disk if there is one. */
static void default_request(struct run_request *request, char **environment)
{
	long fd = sys_open("/dev/vda", O_RDONLY | O_CLOEXEC);

	*request = (struct run_request){
		.flags = RUN_SHELL | RUN_TERMINAL,
		.envp = environment,
		.cwd = "",
		.device = "/dev/vda",
		.type = "",
		.hostname = "tsvm",
	};
	if (fd < 0)
		request->flags |= RUN_NO_DISK;
	else
		sys_close((int)fd);
}

/* The host asks for the agent while the command runs. */
static int other_frame(struct session *session, uint8_t type)
{
	char answer[4];

	if (type != FRAME_AGENT)
		return 0;
	store_u32(answer, (uint32_t)-agent_start(AGENT_UNDER_INIT));
	session_send(session, FRAME_AGENT, answer, sizeof(answer));
	return 1;
}

static void start_agent_first(struct port *port, const char *role)
{
	char answer[4];

	store_u32(answer, (uint32_t)-agent_start(role));
	port_send(port, FRAME_AGENT, answer, sizeof(answer));
}

static void run_command(struct port *port, const struct run_request *request, struct outcome *outcome)
{
	static struct session session;
	static char stack[START_STACK] __attribute__((aligned(16)));
	static char *login_shell[] = {"-sh", NULL}; /* the dash has it read /etc/profile */
	struct command command = {
		.argv = request->argv, .argc = request->argc, .envp = request->envp, .cwd = request->cwd};

	if (request->flags & RUN_SHELL && request->argc == 0) {
		command.argv = login_shell;
		command.argc = 1;
		command.program = "/bin/sh";
	}
	session.port = port;
	session.io = !port || request->flags & (RUN_TERMINAL | RUN_SHELL) ? SESSION_CONSOLE : SESSION_PIPES;
	session.first_process = 1;
	session.signals = session_signals(1);
	session.other_frame = other_frame;
	if (request->flags & RUN_WAIT)
		session_wait(&session);
	else
		session_run(&session, &command, stack, outcome);
}

/* Everything between the request and the end of the command. */
static void serve(struct port *port, struct run_request *request, struct outcome *outcome)
{
	if (request->flags & (RUN_AGENT | RUN_AGENT_LATER))
		agent_take();
	long result = setup_enter_root(request, &outcome->message);
	int own_init = request->argc == 0 && !(request->flags & (RUN_SHELL | RUN_WAIT));

	if (result < 0) {
		outcome->kind = EXIT_NOT_STARTED;
		outcome->value = (uint32_t)-result;
		return;
	}
	complete_environment(request);
	setup_furnish(request);
	network_configure(boot_environment, !!(request->flags & RUN_READ_ONLY));
	if (port && request->flags & RUN_AGENT)
		start_agent_first(port, own_init ? AGENT_UNDER_OTHER : AGENT_UNDER_INIT);
	if (own_init) {
		not_started(outcome, become_init(request), "the disk's own init, /sbin/init");
	} else {
		run_command(port, request, outcome);
		setup_end_processes();
	}
	setup_close_root(request);
}

/* One conversation with the host: hello, request, command, exit. */
static void converse(struct port *port, void (*serve)(struct port *, struct run_request *, struct outcome *))
{
	static const char version[4] = {CONTROL_VERSION, 0, 0, 0};
	static struct outcome outcome;
	struct run_request request = {0};
	size_t length;

	port_send(port, FRAME_HELLO, version, sizeof(version));

	char *payload = port_receive(port, FRAME_RUN, &length, REQUEST_WAIT_MS);

	if (!payload) {
		refuse(&outcome, "the host sent no run request");
	} else {
		const char *wrong = run_parse(payload, length, &request);

		if (wrong)
			refuse(&outcome, wrong);
		else
			serve(port, &request, &outcome);
	}
	port_send_exit(port, &outcome);
}

static char control_in[4096];

#ifndef TSVM_TEST

static int init_main(void)
{
	static struct port port = {.in = control_in, .in_size = sizeof(control_in)};

	setup_mount_dev();
	port.fd = open_control();
	if (port.fd < 0) {
		static char *environment[RUN_SPARE_ENV + 1];
		static struct outcome outcome;
		struct run_request request;

		default_request(&request, environment);
		serve(NULL, &request, &outcome);
	} else {
		converse(&port, serve);
		/*
		 * The host ends the machine when it has read the exit frame. Restarting now could overtake it: the kernel
		 * resets its virtio devices then, and what the host has not fetched by that time is lost.
		 */
		sys_sleep_ms(EXIT_WAIT_MS);
	}
	setup_restart();
}

#else

/* For init.test.mjs: an ordinary process, the control port is file descriptor 3, and nothing is mounted. */
static void serve_test(struct port *port, struct run_request *request, struct outcome *outcome)
{
	complete_environment(request);
	if (request->flags & (RUN_AGENT | RUN_AGENT_LATER))
		agent_take();
	if (request->flags & RUN_AGENT)
		start_agent_first(port, AGENT_UNDER_INIT);
	run_command(port, request, outcome);
}

static int init_main(void)
{
	static struct port port = {.fd = 3, .in = control_in, .in_size = sizeof(control_in)};

	sys_fcntl(3, F_SETFL, O_RDWR | O_NONBLOCK);
	sys_fcntl(3, F_SETFD, FD_CLOEXEC);
	(void)open_control;
	(void)default_request;
	(void)serve;
	converse(&port, serve_test);
	return 0;
}

#endif

int start_main(long argc, char **argv)
{
	boot_environment = argv + argc + 1;
	return init_main();
}
