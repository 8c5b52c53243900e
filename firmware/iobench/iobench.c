/*
 * Reads or writes a block device with direct I/O and says how fast it went.
 *
 *   iobench DEVICE seq|rand BLOCK_BYTES MILLISECONDS [DEPTH [write]]
 *
 * One line: requests, bytes, nanoseconds. DEPTH requests at a time, 1 if not given; more than one by io_submit(2).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 256

static int fd;
static int writing;
static int random_order;
static size_t block;
static uint64_t blocks, at, state = 88172645463325252ull;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t next_offset(void)
{
	if (random_order) { /* xorshift64 */
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		at = state % blocks;
	} else {
		at = (at + 1) % blocks;
	}
	return at * block;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* One at a time. */
static uint64_t run_plain(char *buffer, uint64_t start, uint64_t limit)
{
	uint64_t requests = 0;

	while (now_ns() - start < limit) {
		off_t offset = next_offset();
		ssize_t done = writing ? pwrite(fd, buffer, block, offset) : pread(fd, buffer, block, offset);

		if (done != (ssize_t)block)
			fail(writing ? "pwrite" : "pread");
		requests++;
	}
	return requests;
}

static uint64_t run_deep(char *buffer, int depth, uint64_t start, uint64_t limit)
{
	static struct iocb blocks_of[MAX_DEPTH];
	static struct io_event events[MAX_DEPTH];
	struct iocb *list[MAX_DEPTH];
	aio_context_t context = 0;
	uint64_t requests = 0;
	int ready = depth, busy = 0, stop = 0;

	if (syscall(SYS_io_setup, depth, &context) != 0)
		fail("io_setup");
	for (int i = 0; i < depth; i++) {
		blocks_of[i].aio_data = i;
		list[i] = &blocks_of[i];
	}
	while (!stop || busy > 0) {
		if (!stop && ready > 0) {
			for (int i = 0; i < ready; i++) {
				list[i]->aio_fildes = fd;
				list[i]->aio_lio_opcode = writing ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
				list[i]->aio_buf = (uintptr_t)(buffer + list[i]->aio_data * block);
				list[i]->aio_nbytes = block;
				list[i]->aio_offset = next_offset();
			}
			if (syscall(SYS_io_submit, context, ready, list) != ready)
				fail("io_submit");
			busy += ready;
		}
		ready = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		if (ready < 0)
			fail("io_getevents");
		for (int i = 0; i < ready; i++) {
			if (events[i].res != (int64_t)block) {
				fprintf(stderr, "request: %lld\n", (long long)events[i].res);
				exit(1);
			}
			list[i] = &blocks_of[events[i].data];
		}
		busy -= ready;
		requests += ready;
		stop = now_ns() - start >= limit;
	}
	return requests;
}

int main(int argc, char **argv)
{
	if (argc < 5 || argc > 7) {
		fprintf(stderr, "usage: iobench DEVICE seq|rand BLOCK_BYTES MILLISECONDS [DEPTH [write]]\n");
		return 2;
	}
	random_order = strcmp(argv[2], "rand") == 0;
	block = strtoul(argv[3], NULL, 10);
	uint64_t limit = strtoull(argv[4], NULL, 10) * 1000000ull;
	int depth = argc > 5 ? atoi(argv[5]) : 1;
	void *buffer;

	writing = argc > 6 && strcmp(argv[6], "write") == 0;
	if (depth < 1 || depth > MAX_DEPTH || block == 0) {
		fprintf(stderr, "iobench: a depth is 1 to %d, a block at least a byte\n", MAX_DEPTH);
		return 2;
	}
	fd = open(argv[1], (writing ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0 || posix_memalign(&buffer, 4096, block * depth) != 0)
		fail(argv[1]);
	memset(buffer, 0x5a, block * depth);
	blocks = (uint64_t)lseek(fd, 0, SEEK_END) / block;
	uint64_t start = now_ns();
	uint64_t requests = depth == 1 ? run_plain(buffer, start, limit) : run_deep(buffer, depth, start, limit);
	uint64_t elapsed = now_ns() - start;

	printf("%llu %llu %llu\n", (unsigned long long)requests, (unsigned long long)(requests * block),
	       (unsigned long long)elapsed);
	return 0;
}
