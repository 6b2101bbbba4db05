/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   making, opening and closing a store.
 * Invariants: a new store becomes one with the write of its superblock, which comes last. Opening
 *            takes the newest whole superblock, then the log. The log goes on in a fresh segment, which
 *            is durable before an older one is used again.
 * Threading: one thread until store_open returns.
 * Failure:   every refusal has a sentence that names the way out.
 */
#include "core/store/store.h"
#include "core/store/clock.h"
#include "core/store/background.h"
#include "core/store/checkpoint_inside.h"
#include "core/store/commit.h"
#include "core/store/heap_fault.h"
#include "core/store/named.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/ranges.h"
#include "core/store/reserve.h"
#include "core/store/recover.h"
#include "core/store/runs.h"
#include "core/store/txn.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

enum { FIRST_LSN = 4096, FIRST_PAGES = 512, KEEP_PAGES = 128, HOLDER_SIZE = 160 };
/* Bytes of a transaction: two syncs instead of one have to be worth it. */
enum { RUN_LEAST = 131072 };
enum { SUPER_TRIES = 64, SUPER_PAUSE_US = 1000 };
enum {
	SUPER_FILE_BYTES = 2 * FMT_PAGE_SIZE,
	SPACE_BYTES = FMT_SPACE_MAX * sizeof(struct fmt_space)
};
#define DIRTY_BYTES_LEAST (4ull << 20)
#define DIRTY_BYTES_LARGEST (64ull << 30)
#define HEAP_RESERVE_DEFAULT (4ull << 40)
#define HEAP_RESERVE_LEAST (4ull << 30)
#define RESIDENT_MOST (896ull << 20)
#define MAP_LEAST (128ull << 20)

int store_refuse(struct mneme_error *error, int rc, const char *format, ...)
{
	va_list list;

	if (error) {
		va_start(list, format);
		vsnprintf(error->message, sizeof error->message, format, list);
		va_end(list);
	}
	return rc;
}

int store_fail(struct mneme *m, int rc, const char *what)
{
	/* Too little space or memory spoils nothing, unless the log stopped in the middle of it. */
	if (rc == -EROFS || ((rc == -ENOSPC || rc == -ENOMEM) &&
			     !atomic_load_explicit(&m->wal.failed, memory_order_acquire)))
		return rc;
	return store_fail_for_good(m, rc, what);
}

int store_fail_for_good(struct mneme *m, int rc, const char *what)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&m->failed, &none, -rc))
		fprintf(stderr, "mneme: %s (%s); the store is read-only from now on\n", what,
			strerror(-rc));
	/* Nothing may reach the log after the failure, or it would vouch for what was lost. */
	none = 0;
	atomic_compare_exchange_strong(&m->wal.failed, &none, -rc);
	return rc;
}

int store_read_fault(struct mneme *m, uint64_t faults, int rc)
{
	if (__builtin_expect(heap_faults(&m->heap) == faults, 1))
		return rc;
	return store_fail(m, -EIO, "the heap could not be read");
}

int store_writable(const struct mneme *m)
{
	return m->read_only || atomic_load_explicit(&((struct mneme *)m)->failed,
						    memory_order_relaxed)
		       ? -EROFS
		       : 0;
}

/* ---- making ---- */

int store_create_check(const struct mneme_create_options *o, struct mneme_error *error)
{
	if (!o)
		return 0;
	if (o->shards & (o->shards - 1) || o->shards > MNEME_SHARDS_MAX)
		return store_refuse(error, -EINVAL, "shards must be a power of two up to %d",
				    MNEME_SHARDS_MAX);
	if (o->segment_bytes % 4096 || (o->segment_bytes && o->segment_bytes < 65536) ||
	    o->segment_bytes > 1u << 30)
		return store_refuse(error, -EINVAL,
				    "a log segment is a multiple of 4096 from 64 KiB to 1 GiB");
	if (o->durability > MNEME_DURABILITY_STRICT || o->compression > MNEME_COMPRESSION_ZSTD)
		return store_refuse(error, -EINVAL, "unknown durability or compression");
	return 0;
}

/* A creation that failed leaves an empty "wal". */
static int any_name(void *arg, const char *name)
{
	return !arg || strcmp(name, "wal") != 0;
}

static int heap_create(struct io *io)
{
	struct fmt_bitmap *bitmap = alloc_zeroed(1, sizeof *bitmap);
	struct io_file *file = NULL;
	int rc = -ENOMEM;

	if (bitmap)
		rc = io->ops->open(io, "heap", IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &file);
	if (rc == 0)
		rc = io->ops->allocate(file, 0, (uint64_t)FIRST_PAGES * FMT_PAGE_SIZE);
	if (rc == 0) {
		bitmap->bits[0] = (1 << FMT_GROUP_FIRST) - 1;
		bitmap->generation = 1;
		bitmap->crc = crc32c(0, (uint8_t *)bitmap + 4, FMT_PAGE_SIZE - 4);
		rc = io_write_full(file, io, bitmap, sizeof *bitmap, 0);
	}
	if (rc == 0)
		rc = io->ops->sync(file);
	if (file)
		io->ops->close(file);
	alloc_free(bitmap);
	return rc;
}

static int wal_create(struct io *io, const struct fmt_super *super)
{
	struct wal *wal = alloc_zeroed(1, sizeof *wal);

	if (!wal)
		return -ENOMEM;
	int rc = wal_init(wal, io, super->uuid, super->segment_bytes);
	if (rc == 0) {
		rc = wal_start(wal, FIRST_LSN, 0);
		if (rc ==
		    0) /* never less than two: on a full disk one can always follow the other */
			rc = wal_prepare(wal);
		wal_fini(wal);
	}
	alloc_free(wal);
	return rc;
}

static int super_create(struct io *io, struct fmt_super *super)
{
	uint8_t *page = alloc_zeroed(1, FMT_PAGE_SIZE);
	struct io_file *file = NULL;
	struct fmt_bitmap bits = {0};
	int rc = -ENOMEM;

	if (!page)
		return rc;
	bits.bits[0] = (1 << FMT_GROUP_FIRST) - 1;
	bits.generation = 1;
	struct fmt_space space = {.crc = crc32c(0, (uint8_t *)&bits + 4, FMT_PAGE_SIZE - 4),
				  .free = FIRST_PAGES - FMT_GROUP_FIRST};
	super->space_groups = 1;
	super->space_crc = crc32c(0, &space, sizeof space);
	memcpy(page, super, sizeof *super);
	super->crc = crc32c(0, page, FMT_PAGE_SIZE);
	memcpy(page, super, sizeof *super);
	rc = io->ops->open(io, "super", IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &file);
	/* All that will ever be written here has its room from the beginning: a checkpoint on a full
	 * disk must not need any. */
	if (rc == 0)
		rc = io->ops->allocate(file, 0, FMT_SPACE_OFFSET + 2ull * SPACE_BYTES);
	if (rc == 0)
		rc = io_write_full(file, io, &space, sizeof space, FMT_SPACE_OFFSET * 2ull);
	if (rc == 0)
		rc = io_write_full(file, io, page, FMT_PAGE_SIZE, FMT_PAGE_SIZE);
	if (rc == 0)
		rc = io_write_full(file, io, page, FMT_PAGE_SIZE, 0);
	if (rc == 0)
		rc = io->ops->sync(file);
	if (file)
		io->ops->close(file);
	alloc_free(page);
	return rc;
}

static int segment_remove(void *arg, const char *name)
{
	struct io *io = arg;
	char path[IO_NAME_MAX];

	if (snprintf(path, sizeof path, "wal/%s", name) < (int)sizeof path)
		io->ops->unlink(io, path);
	return 0;
}

/* What a creation that failed has made, so that it can be tried again. */
static void files_remove(struct io *io)
{
	io->ops->list(io, "wal", segment_remove, io);
	io->ops->unlink(io, "super");
	io->ops->unlink(io, "heap");
}

int store_create(struct io *io, const struct mneme_create_options *options,
		 struct mneme_error *error)
{
	struct mneme_create_options o = options ? *options : (struct mneme_create_options){0};
	struct fmt_super super = {.magic = FMT_SUPER_MAGIC,
				  .version = FMT_VERSION,
				  .generation = 1,
				  .lsn = FIRST_LSN,
				  .heap_pages = FIRST_PAGES,
				  .clean = 1,
				  .log_durable = FIRST_LSN};
	int rc = store_create_check(&o, error);

	if (rc < 0)
		return rc;
	super.shards = o.shards ? o.shards : 16;
	super.segment_bytes = o.segment_bytes ? o.segment_bytes : 16 << 20;
	super.durability = o.durability ? o.durability : MNEME_DURABILITY_BUFFERED;
	super.compression = o.compression;
	super.incompatible =
		o.compression == MNEME_COMPRESSION_ZSTD ? FMT_INCOMPAT_ZSTD : FMT_INCOMPAT_RUNS;
	super.created_ns = super.written_ns = clock_ns(CLOCK_REALTIME);
	for (int i = 0; i < FMT_SHARDS_MAX; i++)
		super.inode_next[i] = 1;
	if (getrandom(super.uuid, sizeof super.uuid, 0) != sizeof super.uuid)
		return store_refuse(error, -EIO, "the system gave no random bytes");
	rc = io->ops->list(io, "", any_name, io);
	if (rc == 0)
		rc = io->ops->mkdir(io, "wal");
	if (rc == -EEXIST)
		rc = io->ops->list(io, "wal", any_name, NULL);
	if (rc > 0)
		return store_refuse(
			error, -ENOTEMPTY,
			"the directory is not empty; choose a new one or empty it first");
	if (rc == 0)
		rc = heap_create(io);
	if (rc == 0)
		rc = wal_create(io, &super);
	if (rc == 0)
		rc = super_create(io, &super);
	if (rc == 0)
		rc = io->ops->sync_dir(io, "");
	if (rc < 0) {
		files_remove(io);
		store_refuse(error, rc, "the store could not be made: %s", strerror(-rc));
	}
	return rc;
}

/* ---- superblock ---- */

struct super_found {
	struct fmt_super super;
	int whole, is_foreign; /* foreign: of another version */
};

static int super_read(struct mneme *m, uint32_t copy, struct super_found *out)
{
	struct checkpoint *c = m->checkpoint;
	uint8_t *page = c->super_page;
	int rc = io_read_full(c->super_file, m->io, page, FMT_PAGE_SIZE,
			      (uint64_t)copy * FMT_PAGE_SIZE);

	memset(out, 0, sizeof *out);
	if (rc == -ENODATA)
		return 0;
	if (rc < 0)
		return rc;
	memcpy(&out->super, page, sizeof out->super);
	if (out->super.magic != FMT_SUPER_MAGIC)
		return 0;
	((struct fmt_super *)page)->crc = 0;
	if (crc32c(0, page, FMT_PAGE_SIZE) != out->super.crc)
		return 0;
	out->whole = out->super.version == FMT_VERSION;
	out->is_foreign = !out->whole;
	return 0;
}

static int super_sane(const struct fmt_super *s)
{
	return s->shards && !(s->shards & (s->shards - 1)) && s->shards <= FMT_SHARDS_MAX &&
	       s->segment_bytes >= 65536 && s->segment_bytes % 4096 == 0 && s->space_groups &&
	       s->space_groups <= FMT_SPACE_MAX &&
	       s->space_groups == (s->heap_pages + FMT_GROUP_PAGES - 1) / FMT_GROUP_PAGES &&
	       s->durability && s->durability <= MNEME_DURABILITY_STRICT && s->generation &&
	       s->lsn % 8 == 0;
}

/* The space table of that superblock: *out is freed by the caller, NULL if it is not whole. */
static int space_read(struct mneme *m, const struct fmt_super *s, struct fmt_space **out)
{
	uint64_t bytes = s->space_groups * sizeof(struct fmt_space);
	struct fmt_space *table = alloc_get(bytes);

	*out = NULL;
	if (!table)
		return -ENOMEM;
	int rc = io_read_full(m->checkpoint->super_file, m->io, table, bytes,
			      FMT_SPACE_OFFSET * (1 + (s->generation & 1)));
	if (rc == 0 && crc32c(0, table, bytes) == s->space_crc) {
		*out = table;
		return 0;
	}
	alloc_free(table);
	return rc == -ENODATA ? 0 : rc;
}

static int super_try(struct mneme *m, struct fmt_space **table, struct mneme_error *error)
{
	struct super_found found[2];
	const struct fmt_super *foreign = NULL;

	*table = NULL;
	for (uint32_t i = 0; i < 2; i++) {
		int rc = super_read(m, i, &found[i]);
		if (rc < 0)
			return store_refuse(error, rc, "the superblock cannot be read: %s",
					    strerror(-rc));
		if (found[i].is_foreign)
			foreign = &found[i].super;
		if (found[i].whole && !super_sane(&found[i].super))
			found[i].whole = 0;
	}
	if (foreign)
		return store_refuse(
			error, -EPROTONOSUPPORT,
			"the store has format %u, this mnemefs knows format %d; use %s one",
			foreign->version, FMT_VERSION,
			foreign->version > FMT_VERSION ? "a newer" : "an older");
	int newer = found[1].whole &&
		    (!found[0].whole || found[1].super.generation > found[0].super.generation);
	if (SEEDED_BUG(13))
		newer = !found[0].whole;
	for (int turn = 0; turn < 2 && !*table; turn++, newer ^= 1) {
		if (!found[newer].whole)
			continue;
		m->super = found[newer].super;
		m->checkpoint->super_copy = newer;
		m->checkpoint->super_alone = !found[!newer].whole ||
					     found[!newer].super.generation != m->super.generation;
		int rc = space_read(m, &m->super, table);
		if (rc < 0)
			return store_refuse(error, rc, "the space table cannot be read: %s",
					    strerror(-rc));
	}
	if (!*table)
		return store_refuse(
			error, -EUCLEAN,
			"no superblock is whole: this is no mnemefs store, or it is damaged; "
			"fsck.mnemefs tells more");
	if (m->super.incompatible & ~(uint64_t)FMT_INCOMPAT_KNOWN)
		return store_refuse(
			error, -EPROTONOSUPPORT,
			"the store uses features (%#llx) that this mnemefs does not know; use a "
			"newer one",
			(unsigned long long)(m->super.incompatible &
					     ~(uint64_t)FMT_INCOMPAT_KNOWN));
	if (m->super.compression > MNEME_COMPRESSION_ZSTD)
		return store_refuse(
			error, -EPROTONOSUPPORT,
			"the store has compression %u, which this mnemefs does not know; use "
			"a newer one",
			m->super.compression);
	return 0;
}

/* A writer may write one place while a reader reads the other, so that the older superblock is all
 * that is found whole, though its pages were used again before this reader had its mark; or write a
 * space table while that is read. Found twice in a row, the superblock is one that counted meanwhile. */
static int super_choose(struct mneme *m, struct fmt_space **table, struct mneme_error *error)
{
	int rc = super_try(m, table, error);

	for (int i = 0; m->read_only && i < SUPER_TRIES && (rc == 0 || rc == -EUCLEAN); i++) {
		uint64_t generation = rc == 0 ? m->super.generation : 0;
		alloc_free(*table);
		rc = super_try(m, table, error);
		if (rc == 0 ? m->super.generation == generation : !m->io->ops->has_writer(m->io))
			return rc;
		usleep(SUPER_PAUSE_US);
	}
	return rc || !m->read_only ? rc
				   : store_refuse(error, -EBUSY,
						  "the writer makes checkpoints faster than the "
						  "superblock can be read; try again");
}

/* ---- opening ---- */

static void options_fill(struct mneme *m, const struct mneme_options *given)
{
	struct mneme_options *o = &m->options;

	if (given)
		*o = *given;
	if (!o->dirty_bytes_max)
		o->dirty_bytes_max = 512ull << 20;
	if (!o->flush_ms)
		o->flush_ms = 100;
	if (!o->flush_bytes)
		o->flush_bytes = 1 << 20;
	if (!o->checkpoint_ms)
		o->checkpoint_ms = 30000;
	m->read_only = o->read_only;
}

static int lock_take(struct mneme *m, struct mneme_error *error)
{
	char host[64] = "", holder[HOLDER_SIZE];

	if (m->read_only) {
		int rc = m->io->ops->lock(m->io, "lock", NULL, 0);
		return rc < 0 ? store_refuse(
					error, rc,
					"the lock file cannot be used to tell a writer of this "
					"reader: %s",
					strerror(-rc))
			      : 0;
	}
	gethostname(host, sizeof host - 1);
	snprintf(holder, sizeof holder, "process %d on %s", (int)getpid(), host);
	int rc = m->io->ops->lock(m->io, "lock", holder, sizeof holder);
	if (rc == -EBUSY)
		return store_refuse(
			error, rc,
			"the store is in use by %s; unmount it there, or open it read-only",
			holder);
	return rc < 0 ? store_refuse(error, rc, "the lock file cannot be used: %s", strerror(-rc))
		      : 0;
}

/* The superblock that was found may be in the page cache only, after a kill, or be the only one that is
 * whole, after a crash or damage: it is made durable, then put into the other place as well. The next
 * checkpoint overwrites one of them. */
static int super_settle(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;
	int rc = m->io->ops->sync(c->super_file);

	if (rc < 0 || !c->super_alone)
		return rc;
	memset(c->super_page, 0, FMT_PAGE_SIZE);
	memcpy(c->super_page, &m->super, sizeof m->super);
	rc = io_write_full(c->super_file, m->io, c->super_page, FMT_PAGE_SIZE,
			   (uint64_t)!c->super_copy * FMT_PAGE_SIZE);
	return rc < 0 ? rc : m->io->ops->sync(c->super_file);
}

static int log_refuse(int rc, struct mneme_error *error)
{
	if (rc == -EUCLEAN)
		return store_refuse(
			error, rc,
			"the log is damaged; fsck.mnemefs -n says where; copy the store, then "
			"fsck.mnemefs -y cuts the log off there and lists what is lost");
	return store_refuse(error, rc, "the log cannot be replayed: %s", strerror(-rc));
}

static int recover(struct mneme *m, struct mneme_error *error)
{
	uint64_t end, sequence;
	int rc = recover_replay(m, &end, &sequence);

	if (rc < 0)
		return log_refuse(rc, error);
	if (m->read_only)
		return 0;
	rc = super_settle(m);
	if (rc == 0)
		rc = m->io->ops->sync_dir(m->io, "");
	if (rc < 0)
		return store_refuse(error, rc, "the store cannot be made durable: %s",
				    strerror(-rc));
	rc = wal_start(&m->wal, end, sequence);
	if (rc == -ENOSPC) { /* a full disk: a checkpoint makes the older segments spare */
		rc = checkpoint_run(m);
		if (rc == 0) /* the first try may have left a head with its number */
			rc = wal_start(&m->wal, end, m->wal.sequence);
	}
	if (rc < 0)
		return store_refuse(error, rc, "a log segment cannot be made: %s", strerror(-rc));
	wal_recycle(&m->wal, m->super.lsn);
	atomic_store_explicit(&m->checkpoint->log_begin, m->super.lsn, memory_order_relaxed);
	return 0;
}

uint64_t store_map_bytes(const struct mneme *m)
{
	uint64_t arena = dirty_resident(&m->dirty);

	if (m->options.mapped_bytes_max)
		return m->options.mapped_bytes_max;
	return arena + MAP_LEAST < RESIDENT_MOST ? RESIDENT_MOST - arena : MAP_LEAST;
}

static int heap_load(struct mneme *m, const struct fmt_space *table, uint64_t reserve,
		     struct mneme_error *error)
{
	uint64_t bytes = reserve ? reserve : HEAP_RESERVE_DEFAULT;
	int rc;

	/* Where address space is short (limits, sanitizers) a smaller range does for a smaller store. */
	while ((rc = heap_open(&m->heap, m->io, m->read_only, bytes, m->super.heap_pages)) ==
		       -ENOMEM &&
	       !reserve && bytes > HEAP_RESERVE_LEAST)
		bytes /= 4;
	if (rc == 0)
		heap_map_limit(&m->heap, store_map_bytes(m));

	/* A reader needs no space map, and a writer may write it meanwhile. */
	for (uint32_t g = 0; g < m->super.space_groups && rc == 0 && !m->read_only; g++)
		rc = heap_load_group(&m->heap, g, &table[g]);
	if (rc == -ENOENT)
		return store_refuse(
			error, rc,
			"the file heap is missing, which holds everything in the store; put it "
			"back, or restore the store from a backup");
	if (rc < 0)
		return store_refuse(error, rc, "the heap cannot be opened: %s",
				    rc == -EUCLEAN ? "its space map is damaged" : strerror(-rc));
	if (m->read_only) /* a replay without writing needs no space */
		atomic_fetch_add_explicit(&m->heap.free, 1ull << 40, memory_order_relaxed);
	return 0;
}

static void shards_init(struct mneme *m)
{
	m->shard_count = m->super.shards;
	m->shard_mask = m->shard_count - 1;
	m->durability = m->options.durability ? m->options.durability : m->super.durability;
	m->compression = m->super.compression;
	m->keep_pages = KEEP_PAGES;
	aside_init(&m->aside);
	pthread_mutex_init(&m->ranges_run, NULL);
	lock_init(&m->ranges_lock, LOCK_LEAF);
	atomic_store_explicit(&m->epoch, m->super.generation + 1, memory_order_relaxed);
	atomic_store_explicit(&m->era, m->super.generation + 1, memory_order_relaxed);
	for (uint32_t i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shards[i];
		lock_init(&s->lock, LOCK_SHARD + i);
		s->index = i;
		s->root = m->super.roots[i];
		atomic_store_explicit(&s->inode_next, m->super.inode_next[i], memory_order_relaxed);
	}
}

/* Heights follow from the roots; a root that cannot be read is found out here. */
static int roots_check(struct mneme *m, struct mneme_error *error)
{
	for (uint32_t i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shards[i];
		int rc = 0;
		if (!s->root)
			continue;
		const struct fmt_page *page = heap_page(&m->heap, s->root, 0, &rc);
		if (!page)
			return store_refuse(error, rc,
					    "the root page of shard %u is damaged; "
					    "fsck.mnemefs tells more",
					    i);
		s->height = page->level + 1;
	}
	return 0;
}

static int background_begin(struct mneme *m, struct mneme_error *error)
{
	int rc = background_start(m);

	return rc < 0 ? store_refuse(error, rc,
				     "the threads for background work cannot be made: %s",
				     strerror(-rc))
		      : 0;
}

/* `arg` becomes 1 for a file that only a store has. */
static int any_remains(void *arg, const char *name)
{
	*(int *)arg |= !strcmp(name, "heap") || !strcmp(name, "wal");
	return 0;
}

int store_refuse_absent(struct io *io, struct mneme_error *error)
{
	int remains = 0;

	(void)io->ops->list(io, "", any_remains, &remains);
	return store_refuse(
		error, -ENOENT, "%s",
		remains ? "the file super of this store is missing, without which the rest "
			  "cannot be read, not even by fsck.mnemefs; put it back, or restore "
			  "the store from a backup"
			: "there is no mnemefs store here; mkfs.mnemefs makes one");
}

static int heap_before(void *heap)
{
	return heap_sync(heap);
}

/* The log, not begun yet; the runs that it names are out of use from now on. */
static int log_init(struct mneme *m, uint32_t run_least, struct mneme_error *error)
{
	int rc = wal_init(&m->wal, m->io, m->super.uuid, m->super.segment_bytes);

	if (rc < 0)
		return store_refuse(error, rc, "out of memory");
	m->run_least = run_least                                  ? run_least
		       : m->compression == MNEME_COMPRESSION_NONE ? RUN_LEAST
								  : 0;
	m->wal.before = heap_before;
	m->wal.before_arg = &m->heap;
	runs_allow(m, &m->super);
	rc = named_begin(m);
	return rc < 0 ? log_refuse(rc, error) : 0;
}

int store_open(struct io *io, const struct mneme_options *options,
	       const struct store_tuning *tuning, struct mneme **out, struct mneme_error *error)
{
	struct mneme *m = alloc_aligned(128, sizeof *m);
	struct fmt_space *table = NULL;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int rc;

	if (!m) {
		io->ops->destroy(io);
		return store_refuse(error, -ENOMEM, "out of memory");
	}
	memset(m, 0, sizeof *m);
	m->io = io;
	options_fill(m, options);
	rc = m->options.dirty_bytes_max < DIRTY_BYTES_LEAST ||
			     m->options.dirty_bytes_max > DIRTY_BYTES_LARGEST
		     ? store_refuse(error, -EINVAL,
				    "dirty_bytes_max is 4 MiB to 64 GiB (0: 512 MiB)")
		     : lock_take(m, error);
	if (rc < 0)
		goto out;
	rc = checkpoint_new(m);
	if (rc < 0) {
		if (rc == -ENOENT)
			store_refuse_absent(io, error);
		else
			store_refuse(error, rc, "the store cannot be opened: %s", strerror(-rc));
		goto out;
	}
	rc = super_choose(m, &table, error);
	if (rc < 0)
		goto out;
	shards_init(m);
	rc = heap_load(m, table, tuning ? tuning->heap_reserve : 0, error);
	if (rc == 0)
		rc = log_init(m, tuning ? tuning->run_least : 0, error);
	if (rc == 0 && !m->read_only && (rc = held_begin(m)) < 0)
		store_refuse(error, rc, "what a reader reaches cannot be held: %s", strerror(-rc));
	if (rc == 0)
		rc = roots_check(m, error);
	if (rc < 0)
		goto out;
	if (rc == 0)
		rc = dirty_init(&m->dirty, m->read_only ? 8ull << 30 : m->options.dirty_bytes_max);
	if (rc == 0)
		rc = txn_pool_new(m);
	if (rc == 0)
		rc = packing_new(&m->packing);
	if (rc == 0)
		rc = packer_new(m);
	if (rc < 0) {
		store_refuse(error, rc, "out of memory");
		goto out;
	}
	rc = packing_load(m);
	if (rc < 0) {
		store_refuse(error, rc, "the dictionary cannot be read: %s", strerror(-rc));
		goto out;
	}
	rc = recover(m, error);
	if (rc == 0)
		rc = ranges_load(m, error);
	if (rc == 0 && (rc = reserve_load(m)) < 0)
		store_refuse(error, rc, "what is set aside cannot be read: %s", strerror(-rc));
	if (rc == 0 && m->read_only && (rc = io->ops->mark(io, m->super.generation)) < 0)
		store_refuse(error, rc, "the lock file cannot be used: %s", strerror(-rc));
	if (rc == 0 && !(tuning && tuning->no_threads))
		rc = background_begin(m, error);
	m->open_ns = clock_ns(CLOCK_MONOTONIC) - begin;
out:
	alloc_free(table);
	if (rc < 0)
		store_abandon(m);
	else
		*out = m;
	return rc;
}

void store_abandon(struct mneme *m)
{
	if (!m)
		return;
	background_stop(m);
	packer_free(m);
	packing_free(m->packing);
	txn_pool_free(m);
	if (m->wal.buffer[0])
		wal_fini(&m->wal);
	if (m->heap.file)
		heap_close(&m->heap);
	if (m->dirty.base)
		dirty_fini(&m->dirty);
	for (uint32_t i = 0; i < m->shard_count; i++) {
		alloc_free(m->shards[i].freed.items);
		alloc_free(m->shards[i].closed_freed.items);
	}
	named_free(m);
	checkpoint_free(m);
	if (m->shard_count) {
		pthread_mutex_destroy(&m->ranges_run);
		aside_fini(&m->aside);
	}
	m->io->ops->destroy(m->io);
	alloc_free(m);
}

/* Whether the superblock already says all that there is. */
static int is_settled(const struct mneme *m)
{
	if (!m->super.clean || wal_next(&m->wal) != m->super.lsn)
		return 0;
	for (uint32_t i = 0; i < m->shard_count; i++)
		if (unlogged_any(&m->shards[i].unlogged, m->super.generation))
			return 0;
	return 1;
}

void mneme_closing(struct mneme *m)
{
	if (!m->read_only && m->io->ops->closing)
		m->io->ops->closing(m->io);
}

int mneme_close(struct mneme *m)
{
	int rc = 0;

	if (!m)
		return 0;
	background_stop(m);
	if (store_writable(m) == 0 && !is_settled(m)) {
		(void)wal_sync_to(&m->wal, wal_next(&m->wal)); /* the checkpoint covers it anyway */
		rc = checkpoint_run_as(m, 1);
		(void)wal_trim(&m->wal);
	} else if (!m->read_only && atomic_load(&m->failed)) {
		rc = -atomic_load(&m->failed);
	}
	store_abandon(m);
	return rc;
}
