/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include "pty.h"
#include "sys.h"

#include <asm/termios.h>
#include <linux/resource.h>
#include <linux/signalfd.h>

enum {
	/* How often to look again at a port whose host end is closed: poll() would return at once each time. */
	CLOSED_PORT_MS = 50,
	/* What is carried of a terminal at most after the command's end, if others go on writing to it. */
	LAST_WORDS = 1024 * 1024,
	/* What a command gets to end by itself after its connection was lost, and then the rest of its process group. */
	HANGUP_MS = 2000,
	HANGUP_PAUSE_MS = 100,
	MICROSECONDS = 1000 * 1000,
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

/* ---- to the host ------------------------------------------------------------------------------------------------- */

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
			session->lost |= session->port->connection;
			return;
		}
		session->out_start += (size_t)written;
	}
	session->out_start = session->out_end = 0;
}

void session_send(struct session *session, uint8_t type, const void *payload, size_t length)
{
	if (session->out_end + FRAME_HEADER + length > sizeof(session->out))
		return;
	frame_header(session->out + session->out_end, type, (uint32_t)length);
	memcpy(session->out + session->out_end + FRAME_HEADER, payload, length);
	session->out_end += FRAME_HEADER + length;
	flush_output(session);
}

static void complain(struct session *session, const char *text)
{
	session_send(session, FRAME_STDERR, text, text_length(text));
}

/* Moves one piece of output from the command to the host. Only called while nothing waits in `out`. */
static void carry_output(struct session *session, struct stream *stream)
{
	size_t room = sizeof(session->out) - FRAME_HEADER;

	if (session->ended && (size_t)stream->left < room)
		room = (size_t)stream->left;
	long got = room ? sys_read(stream->fd, session->out + FRAME_HEADER, room) : 0;

	if (got == -EINTR || (got == -EAGAIN && !session->ended))
		return;
	if (got <= 0) {
		close_fd(&stream->fd);
		return;
	}
	if (session->ended)
		stream->left -= (int)got;
	frame_header(session->out, stream->type, (uint32_t)got);
	session->out_end = FRAME_HEADER + (size_t)got;
	flush_output(session);
}

/* ---- to the command ---------------------------------------------------------------------------------------------- */

static void end_input(struct session *session)
{
	if (session->stdin_start < session->stdin_end) {
		session->input_ends = 1;
		return;
	}
	if (session->input >= 0 && session->io == SESSION_PTY)
		pty_end_of_input(session->input); /* and more may come: it is the output, too */
	else
		close_fd(&session->input);
}

/* The host may send as much again. It is told in large portions: most commands never take that much. */
static void tell_taken(struct session *session)
{
	char payload[4];

	if (session->stdin_taken < STDIN_WINDOW / 2 || session->out_start < session->out_end)
		return;
	store_u32(payload, session->stdin_taken);
	session->stdin_taken = 0;
	session_send(session, FRAME_STDIN_TAKEN, payload, sizeof(payload));
}

/* Writes to the command. Returns how many bytes are done with: of a command that reads no more, all. */
static size_t write_input(struct session *session, const char *bytes, size_t length)
{
	long written = session->input >= 0 ? sys_write(session->input, bytes, length) : -EPIPE;

	if (written == -EAGAIN || written == -EINTR)
		return 0;
	if (written < 0) {
		if (session->io != SESSION_PTY)
			close_fd(&session->input);
		return length;
	}
	return (size_t)written;
}

/* What waits in stdin_room. */
static void drain_input(struct session *session)
{
	size_t done = write_input(session, session->stdin_room + session->stdin_start,
				  session->stdin_end - session->stdin_start);

	session->stdin_taken += (uint32_t)done;
	session->stdin_start += done;
	if (session->stdin_start < session->stdin_end)
		return;
	session->stdin_start = session->stdin_end = 0;
	if (session->input_ends)
		end_input(session);
}

/* Input that the command does not take yet is kept. Returns 0 if the host sent more than it may. */
static int keep_input(struct session *session, const char *bytes, size_t length)
{
	size_t done = 0;

	if (session->stdin_start == session->stdin_end) {
		done = write_input(session, bytes, length);
		session->stdin_taken += (uint32_t)done;
	}
	if (done == length)
		return 1;
	if (session->stdin_start) {
		memmove(session->stdin_room, session->stdin_room + session->stdin_start,
			session->stdin_end - session->stdin_start);
		session->stdin_end -= session->stdin_start;
		session->stdin_start = 0;
	}
	if (length - done > STDIN_WINDOW - session->stdin_end)
		return 0;
	memcpy(session->stdin_room + session->stdin_end, bytes + done, length - done);
	session->stdin_end += length - done;
	return 1;
}

static void close_broken(struct session *session, const char *why)
{
	complain(session, why);
	session->broken = 1;
	if (session->io != SESSION_PTY)
		close_fd(&session->input);
}

/* What the command wrote is in the pipes by now. Whoever else holds them open is not waited for. */
static void end(struct session *session, int status)
{
	session->ended = 1;
	session->status = status;
	for (int i = 0; i < 2; i++) {
		struct stream *stream = &session->output[i];

		/* A terminal does not tell how much is under way in it; but it says when there is nothing more. */
		if (session->io == SESSION_PTY)
			stream->left = LAST_WORDS;
		else if (stream->fd >= 0 && sys_ioctl(stream->fd, FIONREAD, &stream->left) < 0)
			stream->left = 0;
	}
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
		session->input_ended = 1;
		end_input(session);
		break;
	case FRAME_SIGNAL:
		if (session->frame.length != 4 || a < 1 || a > SIGNAL_MAX)
			complain(session, "tsvm: bad signal request\n");
		else if (!session->pid)
			end(session, 0);
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
		if (!session->other_frame || !session->other_frame(session, session->frame.type))
			complain(session, "tsvm: unknown frame from the host ignored\n");
	}
}

/*
 * Works through the bytes read so far. Without a stdin_room it stops where the command's stdin takes no more for now:
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
				close_broken(session, "tsvm: bytes from the host that are no frame; input closed\n");
				return;
			}
			port->in_start += used;
			session->frame_open = 1;
			memset(session->small, 0, sizeof(session->small));
			continue;
		}

		struct frame *frame = &session->frame;
		size_t part = available < frame->left ? available : frame->left;

		if (part && frame->type == FRAME_STDIN && session->stdin_room) {
			if (!keep_input(session, at, part)) {
				close_broken(session, "tsvm: more stdin than the host may send; input closed\n");
				return;
			}
		} else if (part && frame->type == FRAME_STDIN && session->input >= 0) {
			part = write_input(session, at, part);
			if (!part)
				return;
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

/* Input waits for the command to take it. */
static int stdin_pending(const struct session *session)
{
	if (session->input < 0)
		return 0;
	if (session->stdin_room)
		return session->stdin_start < session->stdin_end;
	return session->frame_open && session->frame.type == FRAME_STDIN &&
	       session->port->in_start < session->port->in_end;
}

static void read_port(struct session *session)
{
	long got = port_read(session->port);

	if (got > 0)
		take_input(session);
	else if (got < 0)
		session->lost |= session->port->connection;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static uint64_t microseconds(const struct __kernel_old_timeval *time)
{
	return (uint64_t)time->tv_sec * MICROSECONDS + (uint64_t)time->tv_usec;
}

static void take_signals(struct session *session)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int stop = 0;
	int status;
	long pid;

	/* Only PID 1 hears of more than SIGCHLD, of which there is one at a time. */
	do
		if (sys_read(session->signals, &info, sizeof(info)) == sizeof(info))
			stop |= info.ssi_signo != SIGCHLD;
		else
			break;
	while (session->first_process);
	while ((pid = sys_wait4(-1, &status, WNOHANG, &usage)) > 0)
		if (pid == session->pid) {
			session->usage.user = microseconds(&usage.ru_utime);
			session->usage.system = microseconds(&usage.ru_stime);
			session->usage.memory = (uint64_t)usage.ru_maxrss;
			end(session, status);
		}
	/* halt, poweroff and reboot ask PID 1 by these signals. It ends well, as far as the host is concerned. */
	if (stop && !session->ended)
		end(session, 0);
}

enum { SIGNALS, PORT, INPUT, OUTPUTS, POLLS = OUTPUTS + 2 };

static void choose_polls(struct session *session, struct pollfd *polls, int flushing)
{
	for (int i = 0; i < POLLS; i++)
		polls[i] = (struct pollfd){-1, POLLIN, 0};
	if (!session->ended)
		polls[SIGNALS].fd = session->signals;
	if (session->port) {
		int pending = stdin_pending(session);

		polls[PORT].fd = session->port->fd;
		polls[PORT].events = session->port->connection ? POLLRDHUP : 0;
		if (flushing)
			polls[PORT].events |= POLLOUT;
		if (pending) {
			polls[INPUT].fd = session->input;
			polls[INPUT].events = POLLOUT;
		}
		if (!session->broken && (!pending || session->stdin_room))
			polls[PORT].events |= POLLIN;
		if (!polls[PORT].events)
			polls[PORT].fd = -1;
	}
	if (!flushing)
		for (int i = 0; i < 2; i++)
			polls[OUTPUTS + i].fd = session->output[i].fd;
}

/* The host's side of a poll. */
static void serve_port(struct session *session, struct pollfd *polls, int flushing)
{
	short seen = polls[PORT].revents;

	if (session->port->connection) {
		session->lost |= !!(seen & (POLLRDHUP | POLLHUP | POLLERR));
	} else if (!(seen & polls[PORT].events)) {
		/* The host end is closed. Wait for the others, and for the clock. */
		polls[PORT].fd = -1;
		sys_poll(polls, POLLS, CLOSED_PORT_MS);
		return;
	}
	if (flushing)
		flush_output(session);
	if (seen & POLLIN && !session->lost)
		read_port(session);
}

/* One turn of the loop. Returns 0 when all is done. */
static int turn(struct session *session)
{
	struct pollfd polls[POLLS];
	int flushing = session->out_start < session->out_end;

	if (session->ended && !flushing) {
		if (session->output[0].fd < 0 && session->output[1].fd < 0)
			return 0;
		/* All that is left is in the pipes already. */
		for (int i = 0; i < 2; i++)
			if (session->output[i].fd >= 0 && session->out_start == session->out_end)
				carry_output(session, &session->output[i]);
		return 1;
	}

	choose_polls(session, polls, flushing);
	sys_poll(polls, POLLS, -1);
	if (session->port && polls[PORT].fd >= 0 && polls[PORT].revents)
		serve_port(session, polls, flushing);
	if (session->lost)
		return 0;
	if (polls[INPUT].revents) {
		if (session->stdin_room)
			drain_input(session);
		else
			take_input(session);
	}
	for (int i = 0; i < 2; i++) {
		if (polls[OUTPUTS + i].revents == POLLHUP) /* and nothing to read */
			close_fd(&session->output[i].fd);
		else if (polls[OUTPUTS + i].revents && session->out_start == session->out_end)
			carry_output(session, &session->output[i]);
	}
	if (session->stdin_room)
		tell_taken(session);
	/* Last: what the command wrote before its end is carried by the turns that follow. */
	if (polls[SIGNALS].revents)
		take_signals(session);
	return 1;
}

/*
 * Nobody is there any more to hear of the command. Its output stays open: it may have something to write before it ends.
 * While it is not waited for, its process group is still its own, also when it has ended.
 */
static void hang_up(struct session *session)
{
	int waited = 0;

	sys_kill(-session->pid, SIGHUP);
	sys_kill(-session->pid, SIGCONT);
	while (!sys_has_ended(session->pid) && waited < HANGUP_MS) {
		sys_sleep_ms(HANGUP_PAUSE_MS);
		waited += HANGUP_PAUSE_MS;
	}
	if (waited < HANGUP_MS)
		sys_sleep_ms(HANGUP_PAUSE_MS);
	sys_kill(-session->pid, SIGKILL);
	sys_wait4(session->pid, NULL, 0, NULL);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static long open_console(struct session *session)
{
	/* hvc0 is port 0 of the device the control port belongs to. Its node may come a moment after ours. */
	for (int i = 0; i < (session->port ? 50 : 1); i++) {
		long fd = sys_open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (session->port)
			sys_sleep_ms(2);
	}
	return sys_open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* Opens what the command gets as its first three descriptors, and our ends. Returns NULL, or what failed. */
static const char *open_streams(struct session *session, const struct command *command, int stdio[3], long *error)
{
	if (session->io == SESSION_CONSOLE) {
		*error = open_console(session);
		if (*error < 0)
			return "no terminal in the guest";
		session->terminal = (int)*error;
		stdio[0] = stdio[1] = stdio[2] = session->terminal;
		return NULL;
	}
	if (session->io == SESSION_PTY) {
		const struct winsize size = {.ws_row = session->rows, .ws_col = session->columns};

		*error = pty_open(&size, command->identity, &session->terminal, &stdio[0]);
		if (*error < 0)
			return "no pseudo terminal in the guest";
		stdio[1] = stdio[2] = stdio[0];
		session->input = session->terminal;
		session->output[0].fd = (int)sys_fcntl(session->terminal, F_DUPFD_CLOEXEC, 0);
		return NULL;
	}
	for (int i = 0; i < 3; i++) {
		int pipe[2];

		if (i == 0 && session->io == SESSION_NO_STDIN) {
			stdio[0] = 0; /* which is /dev/null */
			continue;
		}
		*error = sys_pipe2(pipe, O_CLOEXEC);
		if (*error < 0)
			return "no pipe";
		stdio[i] = pipe[i == 0 ? 0 : 1];
		if (i == 0) {
			sys_fcntl(pipe[1], F_SETFL, O_NONBLOCK);
			session->input = pipe[1];
		} else {
			/* Never read but when there is something, or the end: it need not be non-blocking. */
			session->output[i - 1].fd = pipe[0];
		}
	}
	return NULL;
}

static void close_streams(struct session *session)
{
	if (session->input != session->terminal)
		close_fd(&session->input);
	session->input = -1;
	for (int i = 0; i < 2; i++)
		close_fd(&session->output[i].fd);
	if (session->terminal >= 0 && session->io == SESSION_CONSOLE)
		sys_ioctl(session->terminal, TCSBRK, (void *)1); /* wait until its last words are out */
	close_fd(&session->terminal);
}

int session_signals(int first_process)
{
	unsigned long taken = SIGNAL_BIT(SIGCHLD);

	if (first_process)
		taken |= SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
	unsigned long blocked = taken | SIGNAL_BIT(SIGPIPE);

	sys_sigprocmask(SIG_BLOCK, &blocked);
	return (int)sys_signalfd(&taken, O_NONBLOCK | O_CLOEXEC);
}

static void no_streams(struct session *session)
{
	session->input = session->terminal = -1;
	session->output[0] = (struct stream){-1, FRAME_STDOUT, 0};
	session->output[1] = (struct stream){-1, FRAME_STDERR, 0};
}

void session_wait(struct session *session)
{
	no_streams(session);
	if (session->port)
		take_input(session);
	while (turn(session))
		;
}

void session_run(struct session *session, const struct command *command, char *stack, struct outcome *outcome)
{
	int stdio[3] = {-1, -1, -1};
	const char *failed;
	long result;

	no_streams(session);
	failed = open_streams(session, command, stdio, &result);
	if (!failed)
		result = start_command(command, stdio, session->terminal >= 0, stack, &failed);
	if (session->io != SESSION_CONSOLE) {
		if (stdio[0] > 0)
			close_fd(&stdio[0]);
		if (session->io != SESSION_PTY) {
			close_fd(&stdio[1]);
			close_fd(&stdio[2]);
		}
	}
	if (result < 0) {
		close_streams(session);
		not_started(outcome, result, failed);
		return;
	}
	session->pid = (int)result;

	if (session->port)
		take_input(session);
	while (turn(session))
		;
	if (session->lost && !session->ended)
		hang_up(session);
	close_streams(session);
	if ((session->status & 0x7f) == 0) {
		outcome->kind = EXIT_STATUS;
		outcome->value = (uint32_t)(session->status >> 8 & 0xff);
	} else {
		outcome->kind = EXIT_SIGNAL;
		outcome->value = (uint32_t)(session->status & 0x7f);
	}
}
