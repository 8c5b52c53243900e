/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

size_t tree_push_name(struct tree *tree, const char *name)
{
	size_t before = tree->path_length;
	size_t length = text_length(name);

	/* Without room for all of it the message tells where it was at least. */
	if (before + 1 + length > sizeof(tree->path))
		return before;
	if (before && tree->path[before - 1] != '/')
		tree->path[tree->path_length++] = '/';
	memcpy(tree->path + tree->path_length, name, length);
	tree->path_length += length;
	return before;
}

size_t tree_problem(const struct tree *tree, char *at, long error)
{
	frame_header(at, FRAME_PROBLEM, (uint32_t)(4 + tree->path_length));
	store_u32(at + FRAME_HEADER, (uint32_t)-error);
	memcpy(at + FRAME_HEADER + 4, tree->path, tree->path_length);
	return FRAME_HEADER + 4 + tree->path_length;
}
