/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

int start_main(long argc, char **argv)
{
	return agent_main(argc > 1 ? argv[1] : NULL);
}
