/* SPDX-License-Identifier: Apache-2.0 */
#include "agent-start.h"

#include "../agent/listen.h"
#include "../guest/start.h"
#include "../guest/sys.h"

#ifndef TSVM_TEST
#define AGENT_PATH "/agent"
#else
#define AGENT_PATH "agent-test" /* in the working directory */
#endif

static int program = -ENOENT;

void agent_take(void)
{
	program = (int)sys_open(AGENT_PATH, O_PATH | O_CLOEXEC);
}

long agent_start(const char *role)
{
	static char stack[START_STACK] __attribute__((aligned(16)));
	static int started;
	char *argv[] = {"tsvm-agent", (char *)role, NULL};
	char *envp[] = {NULL};
	struct command command = {.argv = argv, .argc = 2, .envp = envp, .program_fd = program, .cwd = ""};
	const char *failed;
	int stdio[3];

	if (started)
		return 0;
	if (program < 0)
		return program;
	long listener = agent_listen();

	if (listener < 0)
		return listener;
	long null = sys_open("/dev/null", O_RDWR | O_CLOEXEC);
	long result = null;

	if (null >= 0) {
		stdio[0] = (int)listener;
		stdio[1] = stdio[2] = (int)null;
		result = start_command(&command, stdio, 0, stack, &failed);
		sys_close((int)null);
	}
	sys_close((int)listener);
	started = result >= 0;
	return result < 0 ? result : 0;
}
