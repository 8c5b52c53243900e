/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts connections, and has a process of its own serve each.
 *
 * Those processes share this one's memory: there, where a fork costs a tenth of a second, a process that shares it costs a
 * fraction of that. So nothing here may write to static memory; what a connection works with lies in its slot.
 */
#include "agent.h"
#include "listen.h"

#include "../guest/sys.h"

enum {
	SLOTS = AGENT_CONNECTIONS + 8, /* the last ones turn away who comes when the others are taken */
	PAUSE_MS = 100,
};

struct slot {
	int pid; /* 0: free */
	struct connection *connection; /* kept for the next one */
};

static struct slot slots[SLOTS];

static void reap(int signals)
{
	char info[128];
	long pid;

	sys_read(signals, info, sizeof(info));
	while ((pid = sys_wait4(-1, NULL, WNOHANG, NULL)) > 0)
		for (int i = 0; i < SLOTS; i++)
			if (slots[i].pid == pid) {
				arena_free(&slots[i].connection->arena);
				slots[i].pid = 0;
				break;
			}
}

/* NULL when all are taken. */
static struct slot *free_slot(void)
{
	for (int i = 0; i < SLOTS; i++)
		if (!slots[i].pid)
			return &slots[i];
	return NULL;
}

static long serve(struct slot *slot, int fd, int listener, int signals, int under_init)
{
	if (!slot->connection)
		slot->connection = sys_allocate(sizeof(struct connection));
	struct connection *connection = slot->connection;

	if (!connection)
		return -ENOMEM;
	connection->port = (struct port){
		.fd = fd, .connection = 1, .in = connection->in, .in_size = sizeof(connection->in)};
	connection->arena = (struct arena){.at = connection->request, .left = sizeof(connection->request)};
	connection->outcome.kind = EXIT_STATUS;
	connection->outcome.value = 0;
	connection->outcome.message.length = 0;
	connection->host_sends = 0;
	connection->turned_away = slot - slots >= AGENT_CONNECTIONS;
	connection->signals = signals;
	connection->under_init = under_init;
	connection->listener = listener;
	long pid = spawn(connection_main, connection, connection->stack + sizeof(connection->stack),
			 SPAWN_SHARED | SIGCHLD);

	if (pid > 0)
		slot->pid = (int)pid;
	return pid;
}

/* What whoever started us ignored (systemd: SIGPIPE), commands would ignore, too. */
static void reset_signals(void)
{
	static const uint8_t numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD};

	for (size_t i = 0; i < sizeof(numbers); i++)
		sys_default_action(numbers[i]);
}

/* Descriptors 0, 1 and 2 must be taken, or what is opened later would be in the way of a command's own. */
static int take_first_descriptors(int listener)
{
	long moved = sys_fcntl(listener, F_DUPFD_CLOEXEC, 3);
	long null = sys_open("/dev/null", O_RDWR);

	if (moved >= 0 && listener < 3)
		sys_dup2((int)null, listener);
	while (null >= 0 && null < 3)
		null = sys_open("/dev/null", O_RDWR);
	sys_close((int)null);
	if (listener >= 3)
		sys_close(listener);
	return (int)moved;
}

int agent_main(const char *role)
{
	int inherited = role && (text_starts(role, AGENT_UNDER_INIT) || text_starts(role, AGENT_UNDER_OTHER));
	int under_init = role && text_starts(role, AGENT_UNDER_INIT);
	long listener = inherited ? 0 : agent_listen();

	if (listener < 0) {
		struct message message = {0};

		message_add(&message, "tsvm-agent: no vsock in this machine");
		message_add_errno(&message, listener);
		message_add(&message, "\n");
		sys_write(2, message.text, message.length);
		return 1;
	}
	listener = take_first_descriptors((int)listener);
	/* init starts us by a descriptor, whose number would be our name. */
	sys3(__NR_prctl, PR_SET_NAME, (long)AGENT_NAME, 0);
	reset_signals();
	int signals = session_signals(0);

	for (;;) {
		struct slot *slot = free_slot();
		/* With no slot left whoever else connects has to wait. */
		struct pollfd polls[] = {{slot ? (int)listener : -1, POLLIN, 0}, {signals, POLLIN, 0}};

		sys_poll(polls, 2, -1);
		if (polls[1].revents)
			reap(signals);
		if (!polls[0].revents)
			continue;
		long fd = agent_accept((int)listener);
		long result = fd;

		if (fd >= 0) {
			result = serve(slot, (int)fd, (int)listener, signals, under_init);
			sys_close((int)fd);
		}
		if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ECONNABORTED)
			sys_sleep_ms(PAUSE_MS); /* out of memory, of descriptors, of processes */
	}
}
