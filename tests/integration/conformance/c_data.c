/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the bytes of files: holes, sizes, allocation, appending, copying.
 */
#include "conformance.h"

#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { BLOCK = 65536, MODEL_BYTES = 300000, MODEL_STEPS = 3000 };

static int open_new(const char *path)
{
	return OK(open(path, O_CREAT | O_TRUNC | O_RDWR, 0644));
}

static off_t size_of(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st.st_size;
}

static int try_fallocate(int fd, int mode, off_t at, off_t length)
{
	int result = fallocate(fd, mode, at, length);

	if (result && errno == EOPNOTSUPP)
		UNSUPPORTED("fallocate does not know this mode");
	return result;
}

static int all_bytes(int fd, off_t at, off_t length, char value)
{
	char buffer[4096];

	while (length > 0) {
		ssize_t got = pread(fd, buffer, length < 4096 ? length : 4096, at);
		if (got <= 0)
			return 0;
		for (ssize_t i = 0; i < got; i++)
			if (buffer[i] != value)
				return 0;
		at += got;
		length -= got;
	}
	return 1;
}

static void fill(int fd, off_t at, off_t length, char value)
{
	char buffer[4096];

	memset(buffer, value, sizeof buffer);
	while (length > 0) {
		ssize_t step = OK(pwrite(fd, buffer, length < 4096 ? length : 4096, at));
		at += step;
		length -= step;
	}
}

CASE(data_write_past_the_end_leaves_a_hole_of_zeros)
{
	int fd = open_new("f");
	EQ(pwrite(fd, "x", 1, 1000000), 1);
	EQ(size_of(fd), 1000001);
	YES(all_bytes(fd, 0, 1000000, 0));
	YES(all_bytes(fd, 1000000, 1, 'x'));
}

CASE(data_hole_takes_no_blocks)
{
	int fd = open_new("f");
	OK(ftruncate(fd, 1 << 30));
	OK(fsync(fd));
	YES(stat_of("f").st_blocks < 2048);
	fill(fd, 0, 1 << 20, 'x');
	OK(fsync(fd));
	YES(stat_of("f").st_blocks >= (1 << 20) / 512 / 2); /* half: it may be compressed */
	YES(stat_of("f").st_blocks < (1 << 22) / 512);
}

CASE(data_truncate_down_and_up_reads_zeros)
{
	int fd = open_new("f");
	fill(fd, 0, 100000, 'x');
	OK(ftruncate(fd, 12345));
	OK(ftruncate(fd, 100000));
	YES(all_bytes(fd, 0, 12345, 'x'));
	YES(all_bytes(fd, 12345, 100000 - 12345, 0));
}

CASE(data_truncate_by_path_and_to_nothing)
{
	make_file("f", "content", 0644);
	OK(truncate("f", 3));
	SAME(read_file("f"), "con");
	OK(truncate("f", 0));
	EQ(stat_of("f").st_size, 0);
	FAILS(truncate("f", -1), EINVAL);
	FAILS(truncate(".", 0), EISDIR);
}

CASE(data_size_limit_of_the_process)
{
	struct rlimit limit = { 1000, 1000 };
	int fd = open_new("f");

	signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &limit));
	fill(fd, 0, 900, 'x');
	EQ(pwrite(fd, "123456789 123456789 ", 20, 990), 10);
	FAILS(pwrite(fd, "x", 1, 1000), EFBIG);
	FAILS(ftruncate(fd, 1001), EFBIG);
}

CASE(data_offset_of_8_tib)
{
	int fd = open_new("f");
	off_t far = (off_t)8 << 40;

	EQ(pwrite(fd, "far", 3, far), 3);
	EQ(size_of(fd), far + 3);
	YES(all_bytes(fd, far + 1, 1, 'a'));
	YES(all_bytes(fd, far - 5000, 5000, 0));
	OK(ftruncate(fd, 1));
	EQ(size_of(fd), 1);
}

CASE(data_negative_offset_is_refused)
{
	char byte;
	int fd = open_new("f");

	FAILS(pwrite(fd, "x", 1, -1), EINVAL);
	FAILS(pread(fd, &byte, 1, -1), EINVAL);
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
}

CASE(data_read_at_and_past_the_end)
{
	char buffer[16];
	make_file("f", "text", 0644);
	int fd = OK(open("f", O_RDONLY));

	EQ(pread(fd, buffer, 16, 2), 2);
	EQ(pread(fd, buffer, 16, 4), 0);
	EQ(pread(fd, buffer, 16, 1 << 20), 0);
}

CASE(data_read_of_a_directory_is_refused)
{
	char byte;
	int fd = OK(open(".", O_RDONLY));
	FAILS(read(fd, &byte, 1), EISDIR);
}

CASE(data_holes_are_as_fine_as_blksize_says)
{
	int fd = open_new("f");
	long size = stat_of("f").st_blksize;

	for (int i = 1; i < 4; i++) {
		OK(ftruncate(fd, 0));
		fill(fd, i * size, 1, 'x');
		OK(fsync(fd));
		EQ(lseek(fd, 0, SEEK_DATA), i * size);
	}
}

CASE(data_seek_data_and_hole)
{
	int fd = open_new("f");

	OK(ftruncate(fd, 16 * BLOCK));
	fill(fd, 4 * BLOCK, BLOCK, 'x');
	fill(fd, 10 * BLOCK, BLOCK, 'x');
	OK(fsync(fd));
	EQ(lseek(fd, 0, SEEK_HOLE), 0);
	EQ(lseek(fd, 0, SEEK_DATA), 4 * BLOCK);
	EQ(lseek(fd, 4 * BLOCK + 5, SEEK_DATA), 4 * BLOCK + 5);
	EQ(lseek(fd, 4 * BLOCK, SEEK_HOLE), 5 * BLOCK);
	EQ(lseek(fd, 5 * BLOCK, SEEK_DATA), 10 * BLOCK);
	EQ(lseek(fd, 10 * BLOCK, SEEK_HOLE), 11 * BLOCK);
	FAILS(lseek(fd, 11 * BLOCK, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 16 * BLOCK, SEEK_HOLE), ENXIO);
	EQ(lseek(fd, 0, SEEK_END), 16 * BLOCK);
}

CASE(data_seek_hole_of_a_full_file_is_its_end)
{
	int fd = open_new("f");

	fill(fd, 0, 3 * BLOCK + 100, 'x');
	EQ(lseek(fd, 0, SEEK_HOLE), 3 * BLOCK + 100);
	EQ(lseek(fd, 100, SEEK_DATA), 100);
}

CASE(data_fallocate_extends_with_zeros)
{
	int fd = open_new("f");
	OK(try_fallocate(fd, 0, 0, 100000));
	EQ(size_of(fd), 100000);
	YES(all_bytes(fd, 0, 100000, 0));
	YES(stat_of("f").st_blocks >= 100000 / 512);
	fill(fd, 0, 10, 'x');
	OK(fallocate(fd, 0, 0, 50));
	YES(all_bytes(fd, 0, 10, 'x'));
}

CASE(data_fallocate_keep_size)
{
	int fd = open_new("f");
	OK(try_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
	EQ(size_of(fd), 0);
	YES(stat_of("f").st_blocks >= 100000 / 512);
}

CASE(data_fallocate_of_much_is_a_reservation)
{
	int fd = open_new("f");
	OK(try_fallocate(fd, 0, 0, 1 << 30));
	YES(stat_of("f").st_blocks >= (1 << 30) / 512);
	FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
	fill(fd, (1 << 29) + 5, 3, 'x');
	YES(all_bytes(fd, 1 << 29, 5, 0));
	YES(all_bytes(fd, (1 << 29) + 5, 3, 'x'));
	YES(all_bytes(fd, (1 << 29) + 8, 100, 0));
	OK(ftruncate(fd, (1 << 29) + 6));
	OK(ftruncate(fd, 1 << 30));
	YES(all_bytes(fd, (1 << 29) + 6, 100, 0));
	YES(stat_of("f").st_blocks <= ((1 << 29) + 2 * BLOCK) / 512);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 30));
	EQ(stat_of("f").st_blocks, 0);
}

CASE(data_fallocate_punch_hole)
{
	int fd = open_new("f");
	fill(fd, 0, 4 * BLOCK, 'x');
	OK(try_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK + 10, BLOCK));
	EQ(size_of(fd), 4 * BLOCK);
	YES(all_bytes(fd, 0, BLOCK + 10, 'x'));
	YES(all_bytes(fd, BLOCK + 10, BLOCK, 0));
	YES(all_bytes(fd, 2 * BLOCK + 10, 2 * BLOCK - 10, 'x'));
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * BLOCK, BLOCK));
	EQ(size_of(fd), 4 * BLOCK);
}

CASE(data_fallocate_punch_frees_space)
{
	int fd = open_new("f");
	fill(fd, 0, 16 * BLOCK, 'x');
	OK(fsync(fd));
	OK(try_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * BLOCK));
	OK(fsync(fd));
	YES(stat_of("f").st_blocks <= BLOCK / 512);
}

CASE(data_fallocate_zero_range)
{
	int fd = open_new("f");
	fill(fd, 0, 2 * BLOCK, 'x');
	OK(try_fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, BLOCK));
	YES(all_bytes(fd, 0, 100, 'x'));
	YES(all_bytes(fd, 100, BLOCK, 0));
	YES(all_bytes(fd, BLOCK + 100, BLOCK - 100, 'x'));
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 2 * BLOCK, BLOCK));
	EQ(size_of(fd), 3 * BLOCK);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3 * BLOCK, BLOCK));
	EQ(size_of(fd), 3 * BLOCK);
}

CASE(data_fallocate_collapse_and_insert)
{
	int fd = open_new("f");
	fill(fd, 0, BLOCK, 'a');
	fill(fd, BLOCK, BLOCK, 'b');
	fill(fd, 2 * BLOCK, BLOCK, 'c');
	OK(try_fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK));
	EQ(size_of(fd), 2 * BLOCK);
	YES(all_bytes(fd, BLOCK, BLOCK, 'c'));
	OK(try_fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK));
	EQ(size_of(fd), 3 * BLOCK);
	YES(all_bytes(fd, 0, BLOCK, 'a'));
	YES(all_bytes(fd, BLOCK, BLOCK, 0));
	YES(all_bytes(fd, 2 * BLOCK, BLOCK, 'c'));
	FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 2 * BLOCK, BLOCK), EINVAL);
	FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, BLOCK), EINVAL);
}

CASE(data_fallocate_refuses_nonsense)
{
	int fd = open_new("f");
	FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	FAILS(fallocate(fd, 0, -1, 1), EINVAL);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
	int reader = OK(open("f", O_RDONLY));
	FAILS(fallocate(reader, 0, 0, 1), EBADF);
	int dir = OK(open(".", O_RDONLY));
	FAILS(fallocate(dir, 0, 0, 1), EBADF);
}

/* A random walk over all that changes bytes, against an array in memory. */
static void data_model(long seed)
{
	static char model[MODEL_BYTES], seen[MODEL_BYTES], buffer[BLOCK];
	off_t size = 0;
	unsigned state = seed;
	int fd = open_new("f");

	for (int step = 0; step < MODEL_STEPS; step++) {
		off_t at = rand_r(&state) % (MODEL_BYTES - BLOCK);
		off_t length = 1 + rand_r(&state) % (step % 8 ? 5000 : BLOCK - 1);
		switch (rand_r(&state) % 8) {
		case 0:
			OK(ftruncate(fd, at));
			if (at < size)
				memset(model + at, 0, MODEL_BYTES - at);
			size = at;
			break;
		case 1:
			if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) == 0)
				memset(model + at, 0, length);
			break;
		case 2:
			if (fallocate(fd, FALLOC_FL_ZERO_RANGE, at, length) == 0) {
				memset(model + at, 0, length);
				size = at + length > size ? at + length : size;
			}
			break;
		case 3:
			if (step % 16 == 0)
				OK(fsync(fd));
			break;
		case 4:
		case 5:
			memset(buffer, 'a' + step % 26, length);
			EQ(pwrite(fd, buffer, length, at), length);
			memcpy(model + at, buffer, length);
			size = at + length > size ? at + length : size;
			break;
		default:
			if (at >= size)
				break;
			length = length < size - at ? length : size - at;
			EQ(pread(fd, seen, length, at), length);
			EQ(memcmp(seen, model + at, length), 0);
		}
		if (size < MODEL_BYTES)
			memset(model + size, 0, MODEL_BYTES - size);
	}
	EQ(size_of(fd), size);
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	EQ(pread(fd, seen, MODEL_BYTES, 0), size);
	EQ(memcmp(seen, model, size), 0);
}

__attribute__((constructor)) static void model_add(void)
{
	for (int seed = 1; seed <= 6; seed++)
		case_addf(data_model, seed, "data_random_changes_%d", seed);
}

enum { RECORD = 100, RECORDS = 500 };

CASE(data_appends_of_two_processes_do_not_overlap)
{
	char record[RECORD];
	pid_t child;

	open_new("f");
	child = OK(fork());
	int fd = OK(open("f", O_WRONLY | O_APPEND));
	memset(record, child ? 'p' : 'c', RECORD);
	for (int i = 0; i < RECORDS; i++)
		EQ(write(fd, record, RECORD), RECORD);
	if (!child)
		_exit(0);
	int status;
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
	EQ(stat_of("f").st_size, 2 * RECORD * RECORDS);
	fd = OK(open("f", O_RDONLY));
	for (int i = 0; i < 2 * RECORDS; i++) {
		EQ(read(fd, record, RECORD), RECORD);
		for (int b = 1; b < RECORD; b++)
			EQ(record[b], record[0]);
	}
}

CASE(data_direct_io_reads_what_was_written)
{
	char *buffer = aligned_alloc(4096, 16 * 4096);
	int fd = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644);

	if (fd < 0 && errno == EINVAL)
		UNSUPPORTED("no O_DIRECT");
	OK(fd);
	memset(buffer, 'd', 16 * 4096);
	EQ(pwrite(fd, buffer, 16 * 4096, 0), 16 * 4096);
	int plain = OK(open("f", O_RDWR));
	YES(all_bytes(plain, 0, 16 * 4096, 'd'));
	fill(plain, 4096, 4096, 'p');
	EQ(pread(fd, buffer, 4096, 4096), 4096);
	EQ(buffer[0], 'p');
	EQ(buffer[4095], 'p');
	free(buffer);
}

CASE(data_vectors_of_buffers)
{
	char one[4] = "", two[8] = "";
	struct iovec out[2] = {{(char *)"abc", 3}, {(char *)"defgh", 5}};
	struct iovec in[2] = {{one, 3}, {two, 5}};
	int fd = open_new("f");

	EQ(writev(fd, out, 2), 8);
	EQ(pwritev(fd, out, 2, 8), 8);
	EQ(preadv(fd, in, 2, 0), 8);
	SAME(one, "abc");
	SAME(two, "defgh");
	EQ(size_of(fd), 16);
}

CASE(data_copy_file_range)
{
	int from = open_new("from"), to = open_new("to");
	off_t in = 1000, out = 5;

	fill(from, 0, 200000, 'x');
	fill(from, 1000, 10, 'y');
	long copied = 0;
	while (copied < 100000)
		copied += OK(copy_file_range(from, &in, to, &out, 100000 - copied, 0));
	EQ(size_of(to), 100005);
	YES(all_bytes(to, 0, 5, 0));
	YES(all_bytes(to, 5, 10, 'y'));
	YES(all_bytes(to, 15, 99990, 'x'));
	in = 0;
	out = 10;
	FAILS(copy_file_range(from, &in, from, &out, 100, 0), EINVAL);
	in = 200000;
	EQ(copy_file_range(from, &in, to, &out, 100, 0), 0);
}

CASE(data_sendfile_and_splice)
{
	int from = open_new("from"), to = open_new("to"), pipe_fd[2];
	off_t at = 0;

	fill(from, 0, 50000, 's');
	EQ(sendfile(to, from, &at, 50000), 50000);
	YES(all_bytes(to, 0, 50000, 's'));
	OK(pipe(pipe_fd));
	at = 0;
	EQ(splice(from, &at, pipe_fd[1], NULL, 1000, 0), 1000);
	at = 0;
	fill(to, 0, 1000, 0);
	EQ(splice(pipe_fd[0], NULL, to, &at, 1000, 0), 1000);
	YES(all_bytes(to, 0, 1000, 's'));
}

CASE(data_syncs_succeed)
{
	int fd = open_new("f"), dir = OK(open(".", O_RDONLY));

	fill(fd, 0, 10000, 'x');
	OK(fdatasync(fd));
	OK(fsync(fd));
	OK(syncfs(fd));
	OK(fsync(dir));
	OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	YES(all_bytes(fd, 0, 10000, 'x'));
	int reader = OK(open("f", O_RDONLY));
	OK(fsync(reader));
}

CASE(data_statfs_is_sane)
{
	struct statvfs before, after;

	OK(statvfs(".", &before));
	YES(before.f_bsize >= 512 && before.f_frsize >= 512);
	EQ(before.f_namemax, 255);
	YES(before.f_bfree <= before.f_blocks);
	YES(before.f_bavail <= before.f_bfree);
	YES(before.f_ffree <= before.f_files);
	int fd = open_new("f");
	OK(fstatvfs(fd, &after));
	EQ(before.f_frsize, after.f_frsize);
}

CASE(data_write_by_one_descriptor_is_read_by_another)
{
	int a = open_new("f"), b = OK(open("f", O_RDWR));

	for (int i = 0; i < 200; i++) {
		fill(a, i * 37, 37, 'a' + i % 26);
		YES(all_bytes(b, i * 37, 37, 'a' + i % 26));
	}
	OK(ftruncate(a, 10));
	EQ(size_of(b), 10);
}

CASE(data_content_survives_an_open_by_another_process)
{
	int fd = open_new("f");

	fill(fd, 0, 1000, 'q');
	EQ(system("[ \"$(tr -d q < f | wc -c)\" = 0 ] && [ \"$(wc -c < f)\" = 1000 ]"), 0);
}
