/* SPDX-License-Identifier: Apache-2.0 */
#include "run-request.h"

#include "../guest/frames.h"

const char *run_parse(char *payload, size_t length, struct run_request *request)
{
	struct reader reader = {.at = payload, .end = payload + length};

	request->flags = read_u32(&reader);
	if (request->flags & ~RUN_FLAGS_KNOWN)
		return "run request with unknown flags: tsvm is newer than the guest's init";
	request->argv = read_list(&reader, &request->argc, 0);
	if (!reader.broken)
		request->envp = read_list(&reader, &request->envc, RUN_SPARE_ENV);
	if (!reader.broken) {
		request->cwd = read_string(&reader);
		request->device = read_string(&reader);
		request->type = read_string(&reader);
		request->hostname = read_string(&reader);
	}
	if (reader.broken)
		return "run request cut short";
	if (reader.at != reader.end)
		return "run request with bytes left over";
	return NULL;
}
