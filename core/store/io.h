/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the one seam through which the engine touches store files. Three implementations:
 *            io_uring (io_uring.c), plain system calls (io_posix.c; also what the other two fall back
 *            to) and a simulator (io_sim.h) that records, injects faults and materialises crashes.
 * Invariants: names are relative to the store directory, with '/' between parts, at most IO_NAME_MAX.
 *            Files that are written are never mapped writable. `map` shows what `write` has written
 *            (one page cache), and its base address never moves.
 * Threading: an io_file may be used by several threads at once, except close. io_dir operations too.
 * Failure:   0 or -errno; read and write return the number of bytes, which may be short, or -errno
 *            (-EINTR included): callers use the io_*_full() helpers, which continue after both.
 *            The end of a quota (-EDQUOT) or of the size of a file (-EFBIG) is -ENOSPC.
 *            A sync that failed must never be retried: the caller turns the store read-only.
 */
#ifndef MNEME_CORE_STORE_IO_H
#define MNEME_CORE_STORE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { IO_NAME_MAX = 64, IO_BATCH_MAX = 64 };

enum io_open_flags {
	IO_READ = 0,      /* read only */
	IO_WRITE = 1,     /* read and write */
	IO_CREATE = 2,    /* make it if it is not there (0600) */
	IO_EXCLUSIVE = 4, /* with IO_CREATE: -EEXIST if it is there */
};

/* A reader's mark: of one that is opening the store, and the largest of one that has it open. */
#define IO_MARK_OPENING 0
#define IO_MARK_MAX (1ull << 48)

struct io;
struct io_file; /* an open file; owned by the caller of open until close */

/* One write or read of a batch. Filled by the caller; `result` by the implementation. */
struct io_request {
	void *data;      /* source or target; aligned to 4096 where the caller can */
	uint64_t offset; /* bytes */
	uint32_t length; /* bytes, > 0 */
	int32_t result;  /* bytes transferred, or -errno */
};

struct io_ops {
	const char *name; /* "uring", "posix", "sim" */

	int (*open)(struct io *io, const char *name, int flags, struct io_file **out);
	void (*close)(struct io_file *file);
	ssize_t (*read)(struct io_file *file, void *data, size_t length, uint64_t offset);
	ssize_t (*write)(struct io_file *file, const void *data, size_t length, uint64_t offset);
	/* Transfers all requests in any order and waits for them; sets each result (short is possible).
	 * count <= IO_BATCH_MAX. Returns 0 when every request was tried, else -errno. */
	int (*read_batch)(struct io_file *file, struct io_request *requests, unsigned count);
	int (*write_batch)(struct io_file *file, struct io_request *requests, unsigned count);
	/* Writes one range, then makes the file's data durable, as one linked submission where the
	 * implementation can. A short write breaks such a chain: the implementation then writes the
	 * rest and syncs again before it returns 0. */
	int (*write_sync)(struct io_file *file, const void *data, size_t length, uint64_t offset);
	int (*sync)(struct io_file *file);                    /* fdatasync(2) */
	int (*truncate)(struct io_file *file, uint64_t size); /* shrink or grow (sparse) */
	/* Reserves blocks and grows the file to at least offset + length; -ENOSPC when it cannot.
	 * Where the filesystem has no fallocate the file is grown by truncate. */
	int (*allocate)(struct io_file *file, uint64_t offset, uint64_t length);
	/* Gives blocks of a range back, reads as zeros afterwards; 0 also where it is not supported. */
	int (*punch)(struct io_file *file, uint64_t offset, uint64_t length);
	int (*size)(struct io_file *file, uint64_t *out);
	/* Maps the file read-only at the start of a reserved range of `reserve` bytes; the part past the
	 * end of the file is unmapped (PROT_NONE) until map_grow. One map a file; closed with it. */
	int (*map)(struct io_file *file, uint64_t reserve, const uint8_t **base);
	int (*map_grow)(struct io_file *file, uint64_t size);
	/* Drops resident pages of a range (MADV_DONTNEED): later reads fault them in again. */
	int (*map_drop)(struct io_file *file, uint64_t offset, uint64_t length);

	int (*rename)(struct io *io, const char *from, const char *to);
	int (*unlink)(struct io *io, const char *name);
	int (*mkdir)(struct io *io, const char *name);    /* 0700; -EEXIST if it is there */
	int (*sync_dir)(struct io *io, const char *name); /* "" is the store directory itself */
	/* Calls `each` with every name in a directory (no "." and ".."), until it returns non-zero;
	 * that value is returned. */
	int (*list)(struct io *io, const char *name, int (*each)(void *arg, const char *name),
		    void *arg);
	/* Takes the store's lock file. A writer passes `holder`, a buffer of `holder_size` bytes with
	 * the text that names it ("" lets io_describe_process() fill it in): it is written into the
	 * file. -EBUSY when another writer has the lock: `holder` then receives that writer's text
	 * (NUL-terminated). A reader passes NULL: readers and one writer may coexist; only writers
	 * exclude each other. Released by destroy, or by the death of the process. Once an io.
	 * A reader receives the mark IO_MARK_OPENING; none where there is no lock file: such a store
	 * never had a writer, and nothing in it is reached or used again. */
	int (*lock)(struct io *io, const char *name, char *holder, size_t holder_size);
	/* A reader says what it reaches: every io of the store sees its mark until the next one takes
	 * the place, destroy, or the death of the process. At most IO_MARK_MAX. */
	int (*mark)(struct io *io, uint64_t mark);
	/* 1 when another io has a mark from `first` to `last`, 0 when none has, or -errno. */
	int (*marked)(struct io *io, uint64_t first, uint64_t last);
	/* 1 when another io is the writer; 0 when none is, or it cannot be known. */
	int (*has_writer)(struct io *io);
	/* The writer that has the lock will let go of it soon: another one's lock() waits for that, up
	 * to a minute, instead of failing. NULL: not supported. */
	void (*closing)(struct io *io);
	/* Free bytes and total bytes of the filesystem below. */
	int (*space)(struct io *io, uint64_t *free_bytes, uint64_t *total_bytes);
	void (*destroy)(struct io *io); /* after all its files are closed */
};

/* An implementation bound to one store directory. Implementations embed it as their first member. */
struct io {
	const struct io_ops *ops; /* [I] */
};

/* Opens the store directory with plain system calls. With `create` it makes the directory first
 * (0700), parents excluded. The caller destroys it with io->ops->destroy(). */
int io_posix_new(const char *directory, int create, struct io **out);
/* Keeps writers out of the store of an io of io_posix_new() without changing a byte of it: -EBUSY when
 * there is one, and `holder` receives its text. Several may do this at once. 0 also where the store
 * has no lock file: it never had a writer. Released by destroy. */
int io_posix_lock_out_writers(struct io *io, const char *name, char *holder, size_t holder_size);
/* As io_posix_new, with io_uring for batches and log writes; -ENOSYS or -EPERM where the kernel does not
 * permit io_uring. */
int io_uring_new(const char *directory, int create, struct io **out);
/* io_uring where it is permitted, plain system calls otherwise. `MNEME_IO=posix|uring` forces one;
 * `uring-linked` also makes a log write and its sync one linked submission. -EINVAL for others. */
int io_open_directory(const char *directory, int create, struct io **out);

/* Says who this process is, for a lock file: "pid 123 on host: command". Always NUL-terminated. */
void io_describe_process(char *text, size_t size);
/* 0 when `name` may be handed to an implementation: 1 to IO_NAME_MAX bytes, relative, without empty,
 * "." and ".." parts. -EINVAL or -ENAMETOOLONG otherwise. */
int io_check_name(const char *name);

/* Transfer everything or fail: continue after short transfers and EINTR.
 * io_read_full: -ENODATA if the file ends before `length` bytes. */
int io_read_full(struct io_file *file, const struct io *io, void *data, size_t length,
		 uint64_t offset);
int io_write_full(struct io_file *file, const struct io *io, const void *data, size_t length,
		  uint64_t offset);
/* Batches of any count; finishes short ones. */
int io_read_all(struct io_file *file, const struct io *io, struct io_request *requests,
		unsigned count);
int io_write_all(struct io_file *file, const struct io *io, struct io_request *requests,
		 unsigned count);

#endif
