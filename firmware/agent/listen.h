/* SPDX-License-Identifier: Apache-2.0 */
/* Where the agent is found. init opens the socket for it, so that it listens when the host hears of it. */
#ifndef TSVM_LISTEN_H
#define TSVM_LISTEN_H

#define AGENT_VSOCK_PORT 29811

/* The agent's first argument, where init starts it: who PID 1 is. The listening socket is descriptor 0 then. */
#define AGENT_UNDER_INIT "init" /* tsvm's init */
#define AGENT_UNDER_OTHER "other" /* another, that took its place */

/* A listening socket, or a negative errno. */
long agent_listen(void);

/* A connection of the host's, or a negative errno. Nobody else is served. */
long agent_accept(int listener);

#endif
