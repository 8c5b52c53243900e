/* SPDX-License-Identifier: Apache-2.0 */
/* One command from start to end, with its input and output carried to and from the host. */
#ifndef TSVM_SESSION_H
#define TSVM_SESSION_H

#include "port.h"
#include "start.h"

enum {
	/* What one write takes: larger ones are cut short by the console driver. */
	SESSION_CHUNK = 32 * 1024,
	/* How much stdin the host may send ahead of what the command has taken. docs/agent.md. */
	STDIN_WINDOW = 64 * 1024,
};

enum session_io {
	SESSION_PIPES,
	SESSION_NO_STDIN, /* pipes, and our own stdin, /dev/null, to read from */
	SESSION_CONSOLE, /* the console device, which the host has anyway: nothing is carried */
	SESSION_PTY, /* a terminal of its own, carried as stdin and stdout */
};

struct stream {
	int fd; /* -1 when at its end */
	uint8_t type;
	/* After the command's end: how many more bytes of it are carried. */
	int left;
};

struct usage {
	uint64_t user; /* microseconds */
	uint64_t system;
	uint64_t memory; /* KiB, at the peak */
};

struct session {
	/* Filled in by the caller. */
	struct port *port; /* NULL: nobody is there, nothing is carried */
	enum session_io io;
	/* We are PID 1: orphans are to be reaped, and some signals ask for the end. */
	int first_process;
	int signals; /* signalfd for SIGCHLD and, as PID 1, the others; both are blocked */
	/* SESSION_PTY: its size, if not 0, and who owns it. */
	uint16_t rows;
	uint16_t columns;
	/* Takes frames that the session does not know. Returns 0 if it does not know them either. May be NULL. */
	int (*other_frame)(struct session *session, uint8_t type);
	/* Room for input that the command does not take yet: STDIN_WINDOW bytes. NULL: the host has to wait then. */
	char *stdin_room;

	/* How it went. */
	struct usage usage;
	int lost; /* the connection was, before the command's end */

	int pid;
	int ended; /* the command has, or somebody asked for the end of the machine */
	int status;
	int terminal; /* for the window size, or -1 */
	int input; /* the command's stdin, or -1 */
	int input_ended; /* the host has said that it sends no more */
	int input_ends; /* once stdin_room is empty */
	size_t stdin_start;
	size_t stdin_end;
	uint32_t stdin_taken; /* and not told yet */
	struct frame frame; /* what is being taken apart */
	int frame_open;
	int broken; /* nothing more is read from the host */
	char small[16]; /* payload of the short frames */
	struct stream output[2];
	/* What the port has not taken yet. */
	size_t out_start;
	size_t out_end;
	char out[SESSION_CHUNK];
};

/* Blocks the signals that a session wants to hear of, and returns a signalfd for them. */
int session_signals(int first_process);

/* Runs the command to its end. `stack` has START_STACK bytes. */
void session_run(struct session *session, const struct command *command, char *stack, struct outcome *outcome);

/* The same without a command: until the host sends any signal, or PID 1 is asked to end. */
void session_wait(struct session *session);

/* Sends a frame, if there is room for it. */
void session_send(struct session *session, uint8_t type, const void *payload, size_t length);

#endif
