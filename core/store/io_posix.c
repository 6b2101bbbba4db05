/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the I/O seam with plain system calls; chosen where io_uring is not permitted, and the
 *            part of io_uring.c that is not batches.
 * Invariants: every name is resolved relative to the directory descriptor, so moving or replacing
 *            the store's path while it is open does no harm. A map is one reservation of address
 *            space (PROT_NONE); the file is mapped over its start with MAP_FIXED, page by page as
 * it grows, so the base never moves. No madvise(MADV_RANDOM): the kernel's read-around helps a cold
 * start, and a tree's inner pages lie together. Threading: as io.h. map_grow is serialised by a
 * lock of the file. Failure:   0 or -errno. open, truncate, allocate and punch continue after EINTR
 * by themselves; read and write hand it to the caller; a sync hands every error to the caller,
 * once.
 */
#include "core/store/io_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pool/alloc.h"
#include "pool/check.h"

enum { PAGE = 4096 };

/* Bytes of the lock file that are locked: writers exclude each other on the first; a reader with
 * mark n shares byte n from LOCK_BYTE_MARKS on, which nobody takes exclusively. */
enum { LOCK_BYTE_WRITER = 0, LOCK_BYTE_CLOSING = 2, LOCK_BYTE_MARKS = 16 };
enum { CLOSING_POLL_US = 10000, CLOSING_POLLS = 6000 }; /* a minute */

static uint64_t page_round_up(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static struct posix_io *posix_io(struct io *io)
{
	return (struct posix_io *)(void *)io;
}

static int posix_open(struct io *io, const char *name, int flags, struct io_file **out)
{
	struct posix_io *self = posix_io(io);
	int how = (flags & IO_WRITE ? O_RDWR : O_RDONLY) | (flags & IO_CREATE ? O_CREAT : 0) |
		  (flags & IO_EXCLUSIVE ? O_EXCL : 0) | O_CLOEXEC;
	struct posix_file *f;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	f = alloc_zeroed(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	do
		f->fd = openat(self->directory, name, how, 0600);
	while (f->fd < 0 && errno == EINTR);
	if (f->fd < 0) {
		rc = posix_error(errno);
		alloc_free(f);
		return rc;
	}
	f->owner = self;
	atomic_init(&f->unsynced, 1); /* who knows what others did */
	lock_init(&f->map_lock, LOCK_LEAF);
	*out = (struct io_file *)(void *)f;
	return 0;
}

static void posix_close(struct io_file *file)
{
	struct posix_file *f = posix_file(file);

	if (f->base)
		CHECK(!munmap(f->base, f->reserve));
	close(f->fd);
	alloc_free(f);
}

ssize_t posix_read(struct io_file *file, void *data, size_t length, uint64_t offset)
{
	ssize_t n = pread(posix_file(file)->fd, data, length, (off_t)offset);

	return n < 0 ? -errno : n;
}

ssize_t posix_write(struct io_file *file, const void *data, size_t length, uint64_t offset)
{
	posix_changes(file);
	ssize_t n = pwrite(posix_file(file)->fd, data, length, (off_t)offset);

	return n < 0 ? posix_error(errno) : n;
}

int posix_cannot_read_cached(struct io_file *file)
{
	/* relaxed: a hint */
	return atomic_load_explicit(&posix_file(file)->nowait_read, memory_order_relaxed) ==
	       NOWAIT_NO;
}

unsigned posix_read_cached(struct io_file *file, struct io_request *requests, unsigned count)
{
	struct posix_file *f = posix_file(file);
	int can = !posix_cannot_read_cached(file);
	unsigned missed = 0;

	for (unsigned i = 0; i < count; i++) {
		struct io_request *r = &requests[i];
		struct iovec whole = {r->data, r->length};
		ssize_t n = can ? preadv2(f->fd, &whole, 1, (off_t)r->offset, RWF_NOWAIT) : -1;

		if (can && n < 0 && errno == EOPNOTSUPP) {
			/* relaxed: whoever misses it finds out again */
			atomic_store_explicit(&f->nowait_read, NOWAIT_NO, memory_order_relaxed);
			can = 0;
		}
		r->result = n < 0 ? -EAGAIN : (int32_t)n;
		missed += r->result != (int32_t)r->length;
	}
	return missed;
}

enum posix_nowait posix_probe_write(struct io_file *file, const struct io_request *r)
{
	struct posix_file *f = posix_file(file);
	struct iovec whole = {r->data, r->length};
	/* relaxed, as below: a hint; whoever misses it finds out again */
	uint8_t known = atomic_load_explicit(&f->nowait_write, memory_order_relaxed);

	if (known != NOWAIT_UNKNOWN)
		return known;
	posix_changes(file);
	known = pwritev2(f->fd, &whole, 1, (off_t)r->offset, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP
			? NOWAIT_NO
			: NOWAIT_YES;
	atomic_store_explicit(&f->nowait_write, known, memory_order_relaxed);
	return known;
}

/* Reads what the page cache has and asks for the rest, so that the disk works on all of it at once;
 * then waits for each in turn. */
int posix_read_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	CHECK(count <= IO_BATCH_MAX);
	if (count == 1)
		requests->result = -EAGAIN;
	else if (!posix_read_cached(file, requests, count))
		return 0;
	for (unsigned i = 0; i < count && count > 1; i++)
		if (requests[i].result != (int32_t)requests[i].length)
			posix_fadvise(posix_file(file)->fd, (off_t)requests[i].offset,
				      requests[i].length, POSIX_FADV_WILLNEED);
	for (unsigned i = 0; i < count; i++) {
		struct io_request *r = &requests[i];

		if (r->result != (int32_t)r->length)
			r->result = (int32_t)posix_read(file, r->data, r->length, r->offset);
	}
	return 0;
}

int posix_write_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	CHECK(count <= IO_BATCH_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct io_request *r = &requests[i];

		r->result = (int32_t)posix_write(file, r->data, r->length, r->offset);
	}
	return 0;
}

int posix_sync(struct io_file *file)
{
	struct posix_file *f = posix_file(file);
	/* acq_rel: what was changed before is synced now; what comes meanwhile marks it again */
	uint8_t unsynced = atomic_exchange_explicit(&f->unsynced, 0, memory_order_acq_rel);

	if (!fdatasync(f->fd))
		return 0;
	int rc = -errno;
	if (unsynced)
		posix_changes(file);
	return rc;
}

int posix_write_sync(struct io_file *file, const void *data, size_t length, uint64_t offset)
{
	struct posix_file *f = posix_file(file);
	struct iovec whole = {(void *)(uintptr_t)data, length};

	/* With nothing else to sync, one call does both, and walks the range instead of the file. */
	if (!atomic_load_explicit(&f->unsynced, memory_order_acquire)) {
		ssize_t n = pwritev2(f->fd, &whole, 1, (off_t)offset, RWF_DSYNC);
		if (n == (ssize_t)length)
			return 0;
		if (n < 0 && errno != EINTR && errno != EOPNOTSUPP && errno != ENOSYS)
			return posix_error(errno);
	}
	int rc = io_write_full(file, &f->owner->io, data, length, offset);

	return rc ? rc : posix_sync(file);
}

static int posix_truncate(struct io_file *file, uint64_t size)
{
	int rc;

	posix_changes(file);
	do
		rc = ftruncate(posix_file(file)->fd, (off_t)size);
	while (rc && errno == EINTR);
	return rc ? posix_error(errno) : 0;
}

static int posix_size(struct io_file *file, uint64_t *out)
{
	struct stat st;

	if (fstat(posix_file(file)->fd, &st))
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}

static int posix_allocate(struct io_file *file, uint64_t offset, uint64_t length)
{
	uint64_t size;
	int rc;

	posix_changes(file);
	do
		rc = fallocate(posix_file(file)->fd, 0, (off_t)offset, (off_t)length)
			     ? posix_error(errno)
			     : 0;
	while (rc == -EINTR);
	if (rc != -EOPNOTSUPP && rc != -ENOSYS)
		return rc;
	rc = posix_size(file, &size);
	if (rc || size >= offset + length)
		return rc;
	return posix_truncate(file, offset + length);
}

static int posix_punch(struct io_file *file, uint64_t offset, uint64_t length)
{
	int rc;

	posix_changes(file);
	do
		rc = fallocate(posix_file(file)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (off_t)offset, (off_t)length)
			     ? -errno
			     : 0;
	while (rc == -EINTR);
	return rc == -EOPNOTSUPP || rc == -ENOSYS ? 0 : rc;
}

/* Shows [mapped, size) of the file. Called with map_lock held (or before the file is shared). */
static int map_extend(struct posix_file *f, uint64_t size)
{
	uint64_t end = page_round_up(size);

	if (end <= f->mapped)
		return 0;
	if (end > f->reserve)
		return -EFBIG;
	if (mmap(f->base + f->mapped, end - f->mapped, PROT_READ, MAP_SHARED | MAP_FIXED, f->fd,
		 (off_t)f->mapped) == MAP_FAILED)
		return -errno;
	f->mapped = end;
	return 0;
}

static int posix_map(struct io_file *file, uint64_t reserve, const uint8_t **base)
{
	struct posix_file *f = posix_file(file);
	uint64_t size;
	int rc = posix_size(file, &size);

	if (rc)
		return rc;
	lock_write(&f->map_lock);
	if (f->base) {
		rc = -EBUSY;
		goto out;
	}
	f->reserve = page_round_up(reserve);
	f->base = mmap(NULL, f->reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	if (f->base == MAP_FAILED) {
		f->base = NULL;
		rc = -errno;
		goto out;
	}
	rc = map_extend(f, size);
	if (rc) {
		CHECK(!munmap(f->base, f->reserve));
		f->base = NULL;
		goto out;
	}
	*base = f->base;
out:
	lock_write_done(&f->map_lock);
	return rc;
}

static int posix_map_grow(struct io_file *file, uint64_t size)
{
	struct posix_file *f = posix_file(file);
	uint64_t present;
	int rc = posix_size(file, &present);

	if (rc)
		return rc;
	if (size > present)
		return -EINVAL; /* such pages would kill their reader */
	lock_write(&f->map_lock);
	rc = f->base ? map_extend(f, size) : -EINVAL;
	lock_write_done(&f->map_lock);
	return rc;
}

static int posix_map_drop(struct io_file *file, uint64_t offset, uint64_t length)
{
	struct posix_file *f = posix_file(file);
	uint64_t from = page_round_up(offset), to = (offset + length) & ~(uint64_t)(PAGE - 1);
	int rc = 0;

	lock_write(&f->map_lock);
	if (to > f->mapped)
		to = f->mapped;
	if (!f->base)
		rc = -EINVAL;
	else if (from < to && madvise(f->base + from, to - from, MADV_DONTNEED))
		rc = -errno;
	lock_write_done(&f->map_lock);
	return rc;
}

static int posix_rename(struct io *io, const char *from, const char *to)
{
	int fd = posix_io(io)->directory;
	int rc = io_check_name(from);

	if (!rc)
		rc = io_check_name(to);
	if (rc)
		return rc;
	return renameat(fd, from, fd, to) ? -errno : 0;
}

static int posix_unlink(struct io *io, const char *name)
{
	int rc = io_check_name(name);

	if (rc)
		return rc;
	return unlinkat(posix_io(io)->directory, name, 0) ? -errno : 0;
}

static int posix_mkdir(struct io *io, const char *name)
{
	int rc = io_check_name(name);

	if (rc)
		return rc;
	return mkdirat(posix_io(io)->directory, name, 0700) ? posix_error(errno) : 0;
}

/* A new descriptor of a directory of the store, or -errno. */
static int open_inner_directory(struct io *io, const char *name)
{
	int rc = *name ? io_check_name(name) : 0;
	int fd;

	if (rc)
		return rc;
	do
		fd = openat(posix_io(io)->directory, *name ? name : ".",
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

static int posix_sync_dir(struct io *io, const char *name)
{
	int fd = open_inner_directory(io, name);
	int rc;

	if (fd < 0)
		return fd;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

static int posix_list(struct io *io, const char *name, int (*each)(void *arg, const char *name),
		      void *arg)
{
	int fd = open_inner_directory(io, name);
	struct dirent *entry;
	DIR *dir;
	int rc = 0;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (!rc) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			rc = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = each(arg, entry->d_name);
	}
	closedir(dir);
	return rc;
}

static int lock_byte(int fd, short type, off_t byte)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	int rc;

	do
		rc = fcntl(fd, F_OFD_SETLK, &range) ? -errno : 0;
	while (rc == -EINTR);
	return rc == -EAGAIN || rc == -EACCES ? -EBUSY : rc;
}

/* 1 when another description's lock is in the way of one of that type, 0, or -errno. */
static int range_is_locked(int fd, short type, off_t first, off_t length)
{
	struct flock range = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = length};
	int rc;

	do
		rc = fcntl(fd, F_OFD_GETLK, &range) ? -errno : 0;
	while (rc == -EINTR);
	return rc ? rc : range.l_type != F_UNLCK;
}

static int holder_is_closing(int fd)
{
	return range_is_locked(fd, F_RDLCK, LOCK_BYTE_CLOSING, 1) > 0;
}

/* Waits for a writer that is about to let go, not for any other. */
static int lock_byte_of_writer(int fd, short type)
{
	int rc = lock_byte(fd, type, LOCK_BYTE_WRITER), is_closing = 1;

	for (int i = 0; rc == -EBUSY && i < CLOSING_POLLS && is_closing; i++) {
		is_closing = holder_is_closing(fd);
		if (is_closing)
			usleep(CLOSING_POLL_US);
		rc = lock_byte(fd, type, LOCK_BYTE_WRITER); /* it may have closed between the two */
	}
	return rc;
}

static void posix_closing(struct io *io)
{
	struct posix_io *self = posix_io(io);

	if (self->lock_file >= 0)
		(void)lock_byte(self->lock_file, F_WRLCK, LOCK_BYTE_CLOSING);
}

/* On a read-only medium the lock file can be opened and locked as anywhere. */
static int lock_reader(struct posix_io *self, const char *name)
{
	int fd = openat(self->directory, name, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = lock_byte(fd, F_RDLCK, LOCK_BYTE_MARKS + IO_MARK_OPENING);
	if (rc) {
		close(fd);
		return rc;
	}
	self->lock_file = fd;
	self->mark = IO_MARK_OPENING;
	return 0;
}

static int posix_mark(struct io *io, uint64_t mark)
{
	struct posix_io *self = posix_io(io);

	CHECK(mark <= IO_MARK_MAX);
	if (self->lock_file < 0 || mark == self->mark)
		return 0;
	/* The new one first: at no time is there none. */
	int rc = lock_byte(self->lock_file, F_RDLCK, LOCK_BYTE_MARKS + (off_t)mark);
	if (rc == 0)
		rc = lock_byte(self->lock_file, F_UNLCK, LOCK_BYTE_MARKS + (off_t)self->mark);
	if (rc == 0)
		self->mark = mark;
	return rc;
}

static int posix_marked(struct io *io, uint64_t first, uint64_t last)
{
	struct posix_io *self = posix_io(io);

	CHECK(first <= last && last <= IO_MARK_MAX);
	if (self->lock_file < 0)
		return 0;
	return range_is_locked(self->lock_file, F_WRLCK, LOCK_BYTE_MARKS + (off_t)first,
			       (off_t)(last - first + 1));
}

static int posix_has_writer(struct io *io)
{
	struct posix_io *self = posix_io(io);

	return self->lock_file >= 0 &&
	       range_is_locked(self->lock_file, F_RDLCK, LOCK_BYTE_WRITER, 1) > 0;
}

static void read_holder(int fd, char *holder, size_t holder_size)
{
	ssize_t n;

	if (!holder_size)
		return;
	n = pread(fd, holder, holder_size - 1, 0);
	if (n <= 0) /* the winner is just about to write it */
		n = snprintf(holder, holder_size, "another process");
	if ((size_t)n >= holder_size)
		n = (ssize_t)holder_size - 1;
	holder[n] = 0;
	holder[strcspn(holder, "\n")] = 0;
}

static int write_holder(int fd, const char *text)
{
	char line[512];
	int length = snprintf(line, sizeof(line), "%s\n", text);

	if (length >= (int)sizeof(line))
		length = sizeof(line) - 1;
	if (ftruncate(fd, 0) || pwrite(fd, line, (size_t)length, 0) != length)
		return errno ? -errno : -EIO;
	return 0;
}

static int posix_lock(struct io *io, const char *name, char *holder, size_t holder_size)
{
	struct posix_io *self = posix_io(io);
	int fd;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	if (self->lock_file >= 0)
		return -EINVAL;
	if (!holder)
		return lock_reader(self, name);
	fd = openat(self->directory, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = lock_byte_of_writer(fd, F_WRLCK);
	if (rc) {
		if (rc == -EBUSY)
			read_holder(fd, holder, holder_size);
		goto out;
	}
	if (holder_size && !*holder)
		io_describe_process(holder, holder_size);
	rc = write_holder(fd, holder_size ? holder : "");
	if (!rc) {
		self->lock_file = fd;
		return 0;
	}
out:
	close(fd);
	return rc;
}

int io_posix_lock_out_writers(struct io *io, const char *name, char *holder, size_t holder_size)
{
	struct posix_io *self = posix_io(io);
	int fd = openat(self->directory, name, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (self->lock_file >= 0) {
		close(fd);
		return -EINVAL;
	}
	rc = lock_byte_of_writer(fd, F_RDLCK);
	if (rc == -EBUSY)
		read_holder(fd, holder, holder_size);
	if (rc)
		close(fd);
	else
		self->lock_file = fd;
	return rc;
}

static int posix_space(struct io *io, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct statvfs st;

	if (fstatvfs(posix_io(io)->directory, &st))
		return -errno;
	*free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	*total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
	return 0;
}

int posix_open_directory(struct posix_io *self, const char *directory, int create)
{
	if (create && mkdir(directory, 0700) && errno != EEXIST)
		return -errno;
	do
		self->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (self->directory < 0 && errno == EINTR);
	if (self->directory < 0)
		return -errno;
	self->lock_file = -1;
	return 0;
}

void posix_close_directory(struct posix_io *self)
{
	if (self->lock_file >= 0)
		close(self->lock_file);
	close(self->directory);
}

static void posix_destroy(struct io *io)
{
	posix_close_directory(posix_io(io));
	alloc_free(posix_io(io));
}

const struct io_ops io_posix_ops = {
	.name = "posix",
	.open = posix_open,
	.close = posix_close,
	.read = posix_read,
	.write = posix_write,
	.read_batch = posix_read_batch,
	.write_batch = posix_write_batch,
	.write_sync = posix_write_sync,
	.sync = posix_sync,
	.truncate = posix_truncate,
	.allocate = posix_allocate,
	.punch = posix_punch,
	.size = posix_size,
	.map = posix_map,
	.map_grow = posix_map_grow,
	.map_drop = posix_map_drop,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.sync_dir = posix_sync_dir,
	.list = posix_list,
	.lock = posix_lock,
	.mark = posix_mark,
	.marked = posix_marked,
	.has_writer = posix_has_writer,
	.closing = posix_closing,
	.space = posix_space,
	.destroy = posix_destroy,
};

int io_posix_new(const char *directory, int create, struct io **out)
{
	struct posix_io *self = alloc_zeroed(1, sizeof(*self));
	int rc;

	if (!self)
		return -ENOMEM;
	rc = posix_open_directory(self, directory, create);
	if (rc) {
		alloc_free(self);
		return rc;
	}
	self->io.ops = &io_posix_ops;
	*out = &self->io;
	return 0;
}
