/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo terminals. */
#ifndef TSVM_PTY_H
#define TSVM_PTY_H

#include "start.h"

struct winsize;

/*
 * A new pair: the master, non-blocking, and the terminal, which belongs to `owner` (NULL: to us). Both close-on-exec.
 * Returns a negative errno.
 */
long pty_open(const struct winsize *size, const struct identity *owner, int *master, int *terminal);

/* What Ctrl-D does: ends the input of a program that reads lines. Of no effect on one that reads keys. */
void pty_end_of_input(int master);

#endif
