/* SPDX-License-Identifier: Apache-2.0 */
/* The frames that only the control port knows: what init is to run, and that it is to start the agent. */
#ifndef TSVM_RUN_REQUEST_H
#define TSVM_RUN_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#define CONTROL_VERSION 1

/* host to guest */
#define FRAME_RUN 'R'
/* Host to guest: start the agent. Guest to host: u32, 0 or the errno for which it could not. */
#define FRAME_AGENT 'A'

/* flags of FRAME_RUN */
#define RUN_TERMINAL 1u
#define RUN_READ_ONLY 2u
#define RUN_NO_DISK 4u
#define RUN_SHELL 8u
#define RUN_AGENT 16u /* start the agent before the command */
#define RUN_AGENT_LATER 32u /* keep it at hand: FRAME_AGENT may come */
#define RUN_WAIT 64u /* no command: wait to be told to end, by FRAME_SIGNAL or as PID 1 is told */
#define RUN_FLAGS_KNOWN 127u

/* FRAME_RUN taken apart. Every pointer leads into the payload, which must stay where it is. */
struct run_request {
	uint32_t flags;
	uint32_t argc;
	char **argv; /* argc + 1 entries, the last NULL; NULL when argc is 0 */
	uint32_t envc;
	char **envp; /* envc + RUN_SPARE_ENV + 1 entries; entries after envc are NULL */
	const char *cwd;
	const char *device;
	const char *type;
	const char *hostname;
};

#define RUN_SPARE_ENV 4

/* Returns NULL, or what is wrong with the payload. */
const char *run_parse(char *payload, size_t length, struct run_request *request);

#endif
