/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include "sys.h"

#include <asm/termios.h>
#include <linux/signalfd.h>

enum {
	STACK_SIZE = 16 * 1024,
	/* How often to look again at a port whose host end is closed: poll() would return at once each time. */
	CLOSED_PORT_MS = 50,
};

/* ---- starting the command ---------------------------------------------------------------------------------- */

struct start {
	const struct run_request *request;
	char **argv;
	int stdio[3];
	int terminal; /* stdio is a terminal that the command gets as its own */
	long last; /* what the last attempt to exec came to */
	/* Written by the child, which shares our memory until it has exec'ed, and only when it gives up. */
	long error;
	const char *failed;
};

static void exec_file(struct start *start, const char *path)
{
	long result = sys_execve(path, start->argv, start->request->envp);

	if (result == -ENOEXEC) {
		/* A script without its first line: every shell and execvp give it to sh. */
		char *argv[start->request->argc + 2];

		argv[0] = "sh";
		argv[1] = (char *)path;
		for (uint32_t i = 1; i <= start->request->argc; i++)
			argv[i + 1] = start->argv[i];
		result = sys_execve("/bin/sh", argv, start->request->envp);
	}
	/* While searching PATH: "permission denied" tells more than "not found" in a later directory. */
	if (start->last != -EACCES)
		start->last = result;
}

static const char *environment(char *const *envp, const char *name)
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
	const char *list = environment(start->request->envp, "PATH");
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

static void child(void *argument)
{
	struct start *start = argument;
	unsigned long none = 0;
	const char *cwd = start->request->cwd;

	sys_setsid();
	for (int i = 0; i < 3; i++)
		sys_dup2(start->stdio[i], i);
	if (start->terminal)
		sys_ioctl(0, TIOCSCTTY, (void *)1);
	sys_sigprocmask(SIG_SETMASK, &none);
	start->failed = cwd;
	if (*cwd)
		start->last = sys_chdir(cwd);
	if (start->last >= 0) {
		start->failed = start->request->argv[0];
		exec_by_path(start, start->request->argv[0]);
	}
	start->error = start->last;
	sys_exit(127);
}

/* ---- carrying input and output -------------------------------------------------------------------------------- */

struct stream {
	int fd; /* -1 when at its end */
	uint8_t type;
	/* After the command's end: how many bytes of it are still in the pipe. */
	int left;
};

struct session {
	struct port *port;
	int pid;
	int ended; /* the command has, or somebody asked for the end of the machine */
	int status;
	int signals; /* signalfd: children's ends, and requests to power off */
	int terminal; /* for the window size, or -1 */
	int input; /* the command's stdin, or -1 */
	int input_closing; /* close it once `frame` is through */
	struct frame frame; /* what is being taken apart */
	int frame_open;
	int broken; /* nothing more is read from the host */
	char small[16]; /* payload of the short frames */
	struct stream output[2];
	/* What the port has not taken yet. */
	size_t out_start;
	size_t out_end;
	char out[CONTROL_CHUNK];
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

static void flush_output(struct session *session)
{
	while (session->out_start < session->out_end) {
		long written = sys_write(session->port->fd, session->out + session->out_start,
					 session->out_end - session->out_start);

		if (written == -EAGAIN || written == -EINTR || written == 0)
			return;
		if (written < 0) {
			/* No way to the host: its output is lost, the command need not block on it. */
			session->out_start = session->out_end;
			return;
		}
		session->out_start += (size_t)written;
	}
	session->out_start = session->out_end = 0;
}

static void complain(struct session *session, const char *text)
{
	size_t length = text_length(text);

	if (session->out_end + FRAME_HEADER + length > sizeof(session->out))
		return;
	frame_header(session->out + session->out_end, FRAME_STDERR, (uint32_t)length);
	memcpy(session->out + session->out_end + FRAME_HEADER, text, length);
	session->out_end += FRAME_HEADER + length;
	flush_output(session);
}

/* Moves one piece of output from the command to the host. Only called while nothing waits in `out`. */
static void carry_output(struct session *session, struct stream *stream)
{
	size_t room = sizeof(session->out) - FRAME_HEADER;

	if (session->ended && (size_t)stream->left < room)
		room = (size_t)stream->left;
	long got = room ? sys_read(stream->fd, session->out + FRAME_HEADER, room) : 0;

	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got <= 0) {
		close_fd(&stream->fd);
		return;
	}
	stream->left -= (int)got;
	frame_header(session->out, stream->type, (uint32_t)got);
	session->out_end = FRAME_HEADER + (size_t)got;
	flush_output(session);
}

/* A whole frame of at most sizeof(small) bytes. */
static void act(struct session *session)
{
	uint32_t a = load_u32(session->small);
	uint32_t b = load_u32(session->small + 4);

	switch (session->frame.type) {
	case FRAME_STDIN:
		break;
	case FRAME_STDIN_CLOSED:
		close_fd(&session->input);
		break;
	case FRAME_SIGNAL:
		if (session->frame.length != 4 || a < 1 || a > SIGNAL_MAX)
			complain(session, "tsvm: bad signal request\n");
		else if (!session->ended)
			sys_kill(-session->pid, (int)a);
		break;
	case FRAME_WINDOW:
		if (session->frame.length != 8 || a > 0xffff || b > 0xffff) {
			complain(session, "tsvm: bad window size\n");
		} else if (session->terminal >= 0) {
			struct winsize size = {.ws_row = (unsigned short)a, .ws_col = (unsigned short)b};

			sys_ioctl(session->terminal, TIOCSWINSZ, &size);
		}
		break;
	default:
		complain(session, "tsvm: unknown frame from the host ignored\n");
	}
}

/*
 * Works through the bytes read so far. Stops when they are used up, or when the command's stdin takes no more for now:
 * then nothing more is read from the host either, which is how it learns to wait.
 */
static void take_input(struct session *session)
{
	struct port *port = session->port;

	while (!session->broken) {
		const char *at = port->in + port->in_start;
		size_t available = port->in_end - port->in_start;

		if (!session->frame_open) {
			size_t used;
			enum parse_result result = frame_parse(at, available, &session->frame, &used);

			if (result == PARSE_MORE)
				return;
			if (result == PARSE_BROKEN) {
				complain(session, "tsvm: bytes from the host that are no frame; input closed\n");
				session->broken = 1;
				close_fd(&session->input);
				return;
			}
			port->in_start += used;
			session->frame_open = 1;
			memset(session->small, 0, sizeof(session->small));
			continue;
		}

		struct frame *frame = &session->frame;
		size_t part = available < frame->left ? available : frame->left;

		if (part && frame->type == FRAME_STDIN && session->input >= 0) {
			long written = sys_write(session->input, at, part);

			if (written == -EAGAIN || written == -EINTR)
				return;
			if (written < 0)
				close_fd(&session->input); /* it reads no more: drop the rest */
			else
				part = (size_t)written;
		} else if (frame->type != FRAME_STDIN && frame->length - frame->left + part <= sizeof(session->small)) {
			memcpy(session->small + (frame->length - frame->left), at, part);
		}
		port->in_start += part;
		frame->left -= (uint32_t)part;
		if (frame->left) {
			if (part)
				continue;
			return;
		}
		session->frame_open = 0;
		act(session);
	}
}

static int stdin_pending(const struct session *session)
{
	return session->input >= 0 && session->frame_open && session->frame.type == FRAME_STDIN &&
	       session->port->in_start < session->port->in_end;
}

static void read_port(struct session *session)
{
	struct port *port = session->port;

	if (port->in_start) {
		memmove(port->in, port->in + port->in_start, port->in_end - port->in_start);
		port->in_end -= port->in_start;
		port->in_start = 0;
	}
	long got = sys_read(port->fd, port->in + port->in_end, sizeof(port->in) - port->in_end);

	if (got > 0) {
		port->in_end += (size_t)got;
		take_input(session);
	}
}

/* What the command wrote is in the pipes by now. Whoever else holds them open is not waited for. */
static void end(struct session *session, int status)
{
	session->ended = 1;
	session->status = status;
	for (int i = 0; i < 2; i++)
		if (session->output[i].fd >= 0 &&
		    sys_ioctl(session->output[i].fd, FIONREAD, &session->output[i].left) < 0)
			session->output[i].left = 0;
}

static void take_signals(struct session *session)
{
	struct signalfd_siginfo info;
	int stop = 0;
	int status;
	long pid;

	while (sys_read(session->signals, &info, sizeof(info)) == sizeof(info))
		stop |= info.ssi_signo != SIGCHLD;
	while ((pid = sys_wait(&status, WNOHANG)) > 0)
		if (pid == session->pid)
			end(session, status);
	/* halt, poweroff and reboot ask PID 1 by these signals. It ends well, as far as the host is concerned. */
	if (stop && !session->ended)
		end(session, 0);
}

/* One turn of the loop. Returns 0 when all is done. */
static int turn(struct session *session)
{
	struct pollfd polls[5];
	int flushing = session->out_start < session->out_end;
	int timeout = -1;

	for (int i = 0; i < 5; i++)
		polls[i] = (struct pollfd){-1, POLLIN, 0};
	if (session->ended) {
		if (!flushing && session->output[0].fd < 0 && session->output[1].fd < 0)
			return 0;
	} else {
		polls[0].fd = session->signals;
	}
	if (session->port) {
		polls[1].fd = session->port->fd;
		polls[1].events = 0;
		if (flushing)
			polls[1].events |= POLLOUT;
		if (stdin_pending(session)) {
			polls[2].fd = session->input;
			polls[2].events = POLLOUT;
		} else if (!session->broken) {
			polls[1].events |= POLLIN;
		}
		if (!polls[1].events)
			polls[1].fd = -1;
	}
	if (!flushing)
		for (int i = 0; i < 2; i++)
			polls[3 + i].fd = session->output[i].fd;

	if (session->ended && !flushing) {
		/* All that is left is in the pipes already. */
		for (int i = 0; i < 2; i++)
			if (session->output[i].fd >= 0 && session->out_start == session->out_end)
				carry_output(session, &session->output[i]);
		return 1;
	}

	sys_poll(polls, 5, timeout);

	if (session->port && polls[1].fd >= 0 && polls[1].revents && !(polls[1].revents & polls[1].events)) {
		/* The host end is closed. Wait for the others, and for the clock. */
		polls[1].fd = -1;
		sys_poll(polls, 5, CLOSED_PORT_MS);
	} else if (session->port && polls[1].revents) {
		if (flushing)
			flush_output(session);
		if (polls[1].revents & POLLIN)
			read_port(session);
	}
	if (polls[2].revents)
		take_input(session);
	for (int i = 0; i < 2; i++)
		if (polls[3 + i].revents && session->out_start == session->out_end)
			carry_output(session, &session->output[i]);
	/* Last: what the command wrote before its end is carried by the turns that follow. */
	if (polls[0].revents)
		take_signals(session);
	return 1;
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static int open_terminal(struct port *port)
{
	/* hvc0 is port 0 of the device the control port belongs to. Its node may come a moment after ours. */
	for (int i = 0; i < (port ? 50 : 1); i++) {
		long fd = sys_open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0)
			return (int)fd;
		if (port)
			sys_sleep_ms(2);
	}
	return (int)sys_open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void not_started(struct outcome *outcome, long error, const char *what)
{
	outcome->kind = EXIT_NOT_STARTED;
	outcome->value = (uint32_t)-error;
	message_add(&outcome->message, what);
	message_add_errno(&outcome->message, error);
}

void session_run(struct port *port, const struct run_request *request, struct outcome *outcome)
{
	static struct session session;
	static char stack[STACK_SIZE] __attribute__((aligned(16)));
	static char *shell[] = {"-sh", NULL};
	static char *plain_shell[] = {"/bin/sh", NULL};
	unsigned long taken = SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
	unsigned long blocked = taken | SIGNAL_BIT(SIGPIPE);
	struct run_request command = *request;
	struct start start = {.request = &command, .argv = request->argv};
	int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

	session.port = port;
	session.input = session.terminal = -1;
	session.output[0] = (struct stream){-1, FRAME_STDOUT, 0};
	session.output[1] = (struct stream){-1, FRAME_STDERR, 0};

	if (request->flags & RUN_SHELL && request->argc == 0) {
		command.argv = plain_shell;
		command.argc = 1;
		start.argv = shell; /* the dash makes it a login shell, which reads /etc/profile */
	}
	sys_sigprocmask(SIG_BLOCK, &blocked);
	session.signals = (int)sys_signalfd(&taken, O_NONBLOCK | O_CLOEXEC);

	if (!port || request->flags & (RUN_TERMINAL | RUN_SHELL)) {
		start.terminal = 1;
		session.terminal = open_terminal(port);
		if (session.terminal < 0) {
			not_started(outcome, session.terminal, "no terminal in the guest");
			return;
		}
		for (int i = 0; i < 3; i++)
			start.stdio[i] = session.terminal;
	} else {
		for (int i = 0; i < 3; i++) {
			long result = sys_pipe2(pipes[i], O_CLOEXEC);

			if (result < 0) {
				not_started(outcome, result, "no pipe");
				return;
			}
			start.stdio[i] = pipes[i][i == 0 ? 0 : 1];
			sys_fcntl(pipes[i][i == 0 ? 1 : 0], F_SETFL, O_NONBLOCK);
		}
		session.input = pipes[0][1];
		session.output[0].fd = pipes[1][0];
		session.output[1].fd = pipes[2][0];
	}

	long pid = spawn_shared(child, &start, stack + sizeof(stack));

	if (pid < 0) {
		not_started(outcome, pid, "cannot start a process");
		return;
	}
	if (start.error < 0) {
		sys_wait(NULL, 0);
		not_started(outcome, start.error, start.failed);
		return;
	}
	session.pid = (int)pid;
	close_fd(&pipes[0][0]);
	close_fd(&pipes[1][1]);
	close_fd(&pipes[2][1]);

	if (port)
		take_input(&session);
	while (turn(&session))
		;
	close_fd(&session.input);
	if (session.terminal >= 0) {
		sys_ioctl(session.terminal, TCSBRK, (void *)1); /* wait until its last words are out */
		close_fd(&session.terminal);
	}
	if ((session.status & 0x7f) == 0) {
		outcome->kind = EXIT_STATUS;
		outcome->value = (uint32_t)(session.status >> 8 & 0xff);
	} else {
		outcome->kind = EXIT_SIGNAL;
		outcome->value = (uint32_t)(session.status & 0x7f);
	}
}
