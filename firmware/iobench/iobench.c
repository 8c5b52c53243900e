/*
 * Reads a block device with direct I/O and says how fast it went.
 *
 *   iobench DEVICE seq|rand BLOCK_BYTES MILLISECONDS
 *
 * One line: requests, bytes, nanoseconds. One request at a time (depth 1).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: iobench DEVICE seq|rand BLOCK_BYTES MILLISECONDS\n");
		return 2;
	}
	int random_order = strcmp(argv[2], "rand") == 0;
	size_t block = strtoul(argv[3], NULL, 10);
	uint64_t limit = strtoull(argv[4], NULL, 10) * 1000000ull;
	int fd = open(argv[1], O_RDONLY | O_DIRECT);
	void *buffer;

	if (fd < 0 || posix_memalign(&buffer, 4096, block) != 0) {
		perror(argv[1]);
		return 1;
	}
	uint64_t blocks = (uint64_t)lseek(fd, 0, SEEK_END) / block;
	uint64_t requests = 0, at = 0, state = 88172645463325252ull;
	uint64_t start = now_ns(), elapsed = 0;

	while (elapsed < limit) {
		if (pread(fd, buffer, block, (off_t)(at * block)) != (ssize_t)block) {
			perror("pread");
			return 1;
		}
		requests++;
		if (random_order) { /* xorshift64 */
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			at = state % blocks;
		} else {
			at = (at + 1) % blocks;
		}
		elapsed = now_ns() - start;
	}
	printf("%llu %llu %llu\n", (unsigned long long)requests, (unsigned long long)(requests * block),
	       (unsigned long long)elapsed);
	return 0;
}
