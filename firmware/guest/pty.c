/* SPDX-License-Identifier: Apache-2.0 */
#include "pty.h"

#include "sys.h"
#include "util.h"

#include <asm/termbits.h>
#include <asm/termios.h>

/* By convention the group of terminals, whose members may write to them. */
#define TTY_GROUP 5
#define TERMINAL_MODE 0620

static long open_by_number(int master)
{
	struct message path = {0};
	uint32_t number;
	long result = sys_ioctl(master, TIOCGPTN, &number);

	if (result < 0)
		return result;
	message_add(&path, "/dev/pts/");
	message_add_number(&path, number);
	path.text[path.length] = 0;
	return sys_open(path.text, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

long pty_open(const struct winsize *size, const struct identity *owner, int *master, int *terminal)
{
	int unlocked = 0;
	long result = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (result < 0)
		return result;
	*master = (int)result;
	result = sys_ioctl(*master, TIOCSPTLCK, &unlocked);
	if (result >= 0)
		result = sys_ioctl(*master, TIOCGPTPEER, (void *)(O_RDWR | O_NOCTTY | O_CLOEXEC));
	if (result < 0) /* Linux before 4.13 */
		result = open_by_number(*master);
	if (result < 0) {
		sys_close(*master);
		*master = -1;
		return result;
	}
	*terminal = (int)result;
	if (size->ws_row && size->ws_col)
		sys_ioctl(*master, TIOCSWINSZ, (void *)size);
	if (owner) {
		sys3(__NR_fchown, *terminal, owner->uid, TTY_GROUP);
		sys3(__NR_fchmod, *terminal, TERMINAL_MODE, 0);
	}
	return 0;
}

void pty_end_of_input(int master)
{
	struct termios modes;

	if (sys_ioctl(master, TCGETS, &modes) >= 0 && modes.c_lflag & ICANON)
		sys_write(master, &modes.c_cc[VEOF], 1);
}
