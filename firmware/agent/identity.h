/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups, from /etc/passwd and /etc/group. */
#ifndef TSVM_IDENTITY_H
#define TSVM_IDENTITY_H

#include "../guest/port.h"
#include "../guest/start.h"

struct user {
	char name[64]; /* "" where there is no line for the number */
	char home[256];
};

/*
 * Looks up "name", "uid", "name:group" or "uid:gid"; "" is the user the agent runs as. A number need not stand in the
 * files. With a group the supplementary groups are left out, as in `docker exec`. Returns 0 and says why in *outcome
 * where there is no such user or group.
 */
int user_find(const char *who, struct identity *identity, struct user *user, struct outcome *outcome);

#endif
