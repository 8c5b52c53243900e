/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the agent, which the host has put beside init. docs/agent.md. */
#ifndef TSVM_AGENT_START_H
#define TSVM_AGENT_START_H

/* Opens the program, which cannot be found by its name any more once the root file system has changed. */
void agent_take(void);

/*
 * Starts it, if it was not started before, and returns 0 or a negative errno. Its socket listens then. `role`: listen.h.
 */
long agent_start(const char *role);

#endif
