/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest looks like before the first command runs, and how it is left behind. */
#ifndef TSVM_SETUP_H
#define TSVM_SETUP_H

#include "run-request.h"
#include "../guest/util.h"

/* Mounts /dev in the initramfs: device nodes, nothing else. */
void setup_mount_dev(void);

/*
 * Mounts the root device and moves onto it. Sets RUN_READ_ONLY where it cannot be mounted otherwise. On failure returns
 * a negative errno and says in *message what failed.
 */
long setup_enter_root(struct run_request *request, struct message *message);

/* /proc, /sys, /run, /tmp, /dev/pts, the loopback interface, the host name. Nothing in here is worth failing for. */
void setup_furnish(const struct run_request *request);

/*
 * Gives the interfaces the addresses that the kernel's command line names (network.c). Nothing in here is worth failing
 * for either.
 */
void network_configure(char *const *environment, int read_only);

/* Ends every process but this one. */
void setup_end_processes(void);

/* Writes out and cleanly closes a writable root. */
void setup_close_root(const struct run_request *request);

void setup_restart(void) __attribute__((noreturn));

#endif
