/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include "../guest/sys.h"

enum {
	/* The host sends its request without waiting for the hello. */
	REQUEST_WAIT_MS = 60000,
	CLOSE_WAIT_MS = 5000,
};

/* Frames from the host that may hold a whole request. */
static void serve_request(struct connection *connection, uint8_t type, struct reader *request)
{
	switch (type) {
	case FRAME_EXEC:
		serve_exec(connection, request);
		break;
	case FRAME_PUT:
		serve_put(connection, request);
		break;
	case FRAME_GET:
		serve_get(connection, request);
		break;
	case FRAME_SHUTDOWN:
		serve_shutdown(connection, request);
		break;
	case FRAME_SET_TIME:
		serve_set_time(connection, request);
		break;
	case FRAME_PING:
		break;
	default:
		connection->host_sends = 1;
		refuse(&connection->outcome, "a request that this agent does not know: tsvm is newer");
	}
}

static void receive_request(struct connection *connection)
{
	struct port *port = &connection->port;
	struct frame frame;
	int milliseconds = REQUEST_WAIT_MS;

	if (connection->turned_away) {
		connection->host_sends = 1;
		connection->outcome.kind = EXIT_NOT_STARTED;
		connection->outcome.value = EAGAIN;
		message_add(&connection->outcome.message, "the agent serves as many connections as it can already");
		return;
	}
	if (!port_next(port, &frame, &milliseconds)) {
		connection->host_sends = 1;
		refuse(&connection->outcome, "the host sent no request");
		return;
	}
	char *payload = port_payload(port, &frame, &milliseconds, &connection->arena);

	if (!payload) {
		refuse(&connection->outcome, "request cut short");
		return;
	}
	struct reader request = {.at = payload, .end = payload + frame.length, .arena = &connection->arena};

	serve_request(connection, frame.type, &request);
}

/*
 * The host closes the connection when it has read the exit frame. If we did so before it has sent all that it had to
 * send, it could find the connection broken and not read what came before.
 */
static void await_close(struct port *port)
{
	int milliseconds = CLOSE_WAIT_MS;

	while (port_wait(port, &milliseconds)) {
		port->in_start = port->in_end = 0;
		if (port_read(port) < 0)
			break;
	}
}

void connection_main(void *argument)
{
	struct connection *connection = argument;
	struct port *port = &connection->port;
	char hello[8];

	sys_close(connection->listener);
	store_u32(hello, AGENT_VERSION);
	store_u32(hello + 4, AGENT_CAPABILITIES);
	port_send(port, FRAME_HELLO, hello, sizeof(hello));
	receive_request(connection);
	if (port_send_exit(port, &connection->outcome) >= 0 && connection->host_sends)
		await_close(port);
	sys_exit(0);
}

void serve_set_time(struct connection *connection, struct reader *request)
{
	struct timespec64 time;

	time.seconds = (int64_t)read_u64(request);
	time.nanoseconds = read_u32(request);
	if (request->broken || request->at != request->end || time.nanoseconds >= 1000000000) {
		refuse(&connection->outcome, "bad time request");
		return;
	}
#ifdef TSVM_TEST
	/* Of the machine that runs the tests. */
	long result = time.seconds < 0 ? -EINVAL : 0;
#else
	long result = sys3(__NR_clock_settime, CLOCK_REALTIME, (long)&time, 0);
#endif

	if (result < 0)
		not_started(&connection->outcome, result, "the clock cannot be set");
}
