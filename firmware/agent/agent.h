/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: runs commands, carries files and does a few other things for the host, over vsock. docs/agent.md.
 *
 * tsvm's init starts it, when the host asks; in other guests it is a service.
 */
#ifndef TSVM_AGENT_H
#define TSVM_AGENT_H

#include "../guest/port.h"
#include "../guest/session.h"
#include "../guest/start.h"
#include "tree.h"

#define AGENT_NAME "tsvm-agent"
#define AGENT_VERSION 1
#define AGENT_CONNECTIONS 256 /* at once */

/* What this agent can do: the second word of its hello. */
#define AGENT_CAN_EXEC 1u
#define AGENT_CAN_COPY 2u
#define AGENT_CAN_SHUT_DOWN 4u
#define AGENT_CAN_SET_TIME 8u
#define AGENT_CAPABILITIES 15u

/* Requests: the first frame of a connection, from the host. */
#define FRAME_EXEC 'x'
#define FRAME_PUT 'p'
#define FRAME_GET 'g'
#define FRAME_SHUTDOWN 'd'
#define FRAME_SET_TIME 't'
#define FRAME_PING 'i'
/* Guest to host, before FRAME_EXIT: what the command used. */
#define FRAME_USAGE 'U'

/* `role` is as in listen.h, or NULL: then the agent opens its socket itself. */
int agent_main(const char *role);

/* One connection: what its process works with. Its own stack lies in it, too. */
struct connection {
	struct port port;
	int signals; /* signalfd of SIGCHLD */
	int listener; /* not for us */
	int turned_away; /* there are too many */
	int under_init; /* PID 1 is tsvm's init */
	struct outcome outcome;
	/* For the request. What it holds is given back after the process has ended, however it did. */
	struct arena arena;
	/* The host may be sending when it is answered. */
	int host_sends;
	struct identity identity;
	char request[4096];
	char in[SESSION_CHUNK];
	union {
		struct {
			struct session session;
			char stdin_room[STDIN_WINDOW];
			char start_stack[START_STACK] __attribute__((aligned(16)));
		};
		struct tree tree;
	};
	char stack[32 * 1024] __attribute__((aligned(16)));
};

/* All of one connection: hello, request, answer. Does not return. */
void connection_main(void *connection);

/* The requests. Each says in `outcome` how it ended. */
void serve_exec(struct connection *connection, struct reader *request);
void serve_put(struct connection *connection, struct reader *request);
void serve_get(struct connection *connection, struct reader *request);
void serve_shutdown(struct connection *connection, struct reader *request);
void serve_set_time(struct connection *connection, struct reader *request);

/* Runs a command with its streams on the connection, and tells what it used. */
void run_in_session(struct connection *connection, const struct command *command, enum session_io io,
		    uint32_t rows, uint32_t columns);

#endif
