/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest looks like before the first command runs, and how it is left behind. */
#ifndef TSVM_GUEST_H
#define TSVM_GUEST_H

#include "control.h"
#include "util.h"

/* Mounts /dev in the initramfs: device nodes, nothing else. */
void guest_mount_dev(void);

/*
 * Mounts the root device and moves onto it. Sets RUN_READ_ONLY where it cannot be mounted otherwise. On failure returns
 * a negative errno and says in *message what failed.
 */
long guest_enter_root(struct run_request *request, struct message *message);

/* /proc, /sys, /run, /tmp, /dev/pts, the loopback interface, the host name. Nothing in here is worth failing for. */
void guest_furnish(const struct run_request *request);

/*
 * Gives the interfaces the addresses that the kernel's command line names (network.c). Nothing in here is worth failing
 * for either.
 */
void network_configure(char *const *environment, int read_only);

/* Ends every process but this one. */
void guest_end_processes(void);

/* Writes out and cleanly closes a writable root. */
void guest_close_root(const struct run_request *request);

void guest_restart(void) __attribute__((noreturn));

#endif
