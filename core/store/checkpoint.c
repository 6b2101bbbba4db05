/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one checkpoint from freeze to recycling; see checkpoint.h. Writing pages is in place.c,
 *            what calls it is in background.c.
 */
#include "core/store/checkpoint_inside.h"
#include "core/store/clock.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/runs.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>

enum { SPARE_GROUPS = 4 }; /* by which the heap may grow during a checkpoint */

/* ---- making ---- */

int checkpoint_new(struct mneme *m)
{
	struct checkpoint *c = alloc_zeroed(1, sizeof *c);
	int rc = -ENOMEM;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->run, NULL);
	pthread_mutex_init(&c->compacting, NULL);
	c->super_page = alloc_aligned(FMT_PAGE_SIZE, FMT_PAGE_SIZE);
	c->bitmap = alloc_aligned(FMT_PAGE_SIZE, FMT_PAGE_SIZE);
	c->stage.bytes = alloc_aligned(FMT_PAGE_SIZE, STAGE_BYTES);
	c->compressed = alloc_get(FMT_VALUE_MAX);
	m->checkpoint = c;
	if (c->super_page && c->bitmap && c->stage.bytes && c->compressed)
		rc = m->io->ops->open(m->io, "super", m->read_only ? IO_READ : IO_WRITE,
				      &c->super_file);
	if (rc < 0)
		checkpoint_free(m);
	return rc;
}

void checkpoint_free(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;

	if (!c)
		return;
	held_free(&c->held);
	if (c->super_file)
		m->io->ops->close(c->super_file);
	alloc_free(c->super_page);
	alloc_free(c->bitmap);
	alloc_free(c->stage.bytes);
	alloc_free(c->compressed);
	alloc_free(c->table);
	pthread_mutex_destroy(&c->run);
	pthread_mutex_destroy(&c->compacting);
	alloc_free(c);
	m->checkpoint = NULL;
}

/* ---- freeze ---- */

/* The era that ends because a change had to wait does not count for the shards that log. [all shards] */
static void logging_prolong(struct mneme *m)
{
	int waited = 0;

	for (uint32_t i = 0; i < m->shard_count; i++) {
		waited |= m->shards[i].unlogged.waited;
		m->shards[i].unlogged.waited = 0;
	}
	for (uint32_t i = 0; waited && i < m->shard_count; i++) {
		struct unlogged *u = &m->shards[i].unlogged;
		if (u->logged_until >= store_era(m))
			u->logged_until = store_era(m) + 2;
	}
}

/* Closes the open epoch, and with a durable checkpoint the era. Returns the LSN that it reaches. */
static uint64_t freeze(struct mneme *m, int durable)
{
	struct checkpoint *c = m->checkpoint;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < m->shard_count; i++)
		lock_write(&m->shards[i].lock);
	for (uint32_t i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shards[i];
		struct freed_list spare = s->closed_freed;
		CHECK(spare.count == 0);
		s->closed = s->open;
		s->open = (struct dirty_list){0};
		s->closed_freed = s->freed;
		s->freed = spare;
		s->freed_moved = 0;
		s->cursor = 0;
		s->closed_root = s->root;
	}
	uint64_t lsn = wal_next(&m->wal);
	if (durable)
		c->named_next = atomic_load_explicit(&m->wal.named, memory_order_relaxed);
	c->birth = store_era(m);
	atomic_fetch_add_explicit(&m->epoch, 1, memory_order_relaxed);
	if (durable) {
		logging_prolong(m);
		atomic_fetch_add_explicit(&m->era, 1, memory_order_relaxed);
	}
	for (uint32_t i = m->shard_count; i-- > 0;)
		lock_write_done(&m->shards[i].lock);
	c->stats.freeze_ns_last = clock_ns(CLOCK_MONOTONIC) - begin;
	if (c->stats.freeze_ns_last > c->stats.freeze_ns_max)
		c->stats.freeze_ns_max = c->stats.freeze_ns_last;
	return lsn;
}

/* ---- moving references of the open epoch ---- */

static uint64_t moved_reference(const struct mneme *m, uint64_t reference)
{
	const struct dirty_slot *d = &m->dirty.slots[dirty_slot_of(reference)];

	if (!(reference & FMT_DIRTY) || d->epoch == store_epoch(m))
		return reference;
	DCHECK(d->value.address);
	return d->value.address;
}

static void page_move_references(struct mneme *m, struct fmt_page *page)
{
	for (unsigned i = 0; i < page->count; i++) {
		if (page->level) {
			uint64_t child = page_child(page, i);
			if (child & FMT_DIRTY)
				page_set_child(page, i, moved_reference(m, child));
			continue;
		}
		uint32_t length;
		enum page_kind kind;
		uint8_t *cell = (uint8_t *)page_value(page, i, &length, &kind);
		if (kind != PAGE_INDIRECT)
			continue;
		struct fmt_value v;
		memcpy(&v, cell, sizeof v);
		const struct dirty_slot *d = &m->dirty.slots[dirty_slot_of(v.address)];
		if (v.address & FMT_DIRTY && d->epoch != store_epoch(m))
			memcpy(cell, &d->value, sizeof d->value);
	}
}

static uint64_t moved_freed(const struct mneme *m, uint64_t item)
{
	if (!(item & FMT_DIRTY))
		return item;
	const struct dirty_slot *d = &m->dirty.slots[dirty_slot_of(item)];
	if (d->kind == DIRTY_PAGE)
		return (d->value.address & FMT_ADDRESS_MASK) | 1ull << 40;
	return d->value.address | (uint64_t)fmt_value_pages(&d->value) << 40;
}

/* A bounded piece of the work below; 1 when all is done. [lock of s] */
static int shard_move_some(struct mneme *m, struct shard *s)
{
	enum { SLOTS = 48, ITEMS = 512 };
	uint64_t end = s->freed_moved + ITEMS;

	for (int i = 0; i < SLOTS && s->cursor; i++) {
		struct dirty_slot *d = &m->dirty.slots[s->cursor];
		if (d->kind == DIRTY_PAGE)
			page_move_references(m, dirty_memory(&m->dirty, s->cursor));
		s->cursor = d->next;
	}
	for (; s->freed_moved < s->freed.count && s->freed_moved < end; s->freed_moved++)
		s->freed.items[s->freed_moved] = moved_freed(m, s->freed.items[s->freed_moved]);
	if (s->cursor || s->freed_moved < s->freed.count)
		return 0;
	if (s->root)
		s->root = moved_reference(m, s->root);
	return 1;
}

/* After this no page refers to a slot of the closed epoch, whose memory is then given back. */
static void shard_move(struct mneme *m, struct shard *s)
{
	int done = 0, begun = 0;

	while (!done) {
		lock_write(&s->lock);
		if (!begun)
			s->cursor = s->open.first;
		begun = 1;
		done = shard_move_some(m, s);
		lock_write_done(&s->lock);
	}
	dirty_free_list(&m->dirty, &s->closed);
}

/* ---- freed pages ---- */

/* What a spill could not give away counts as freed in the open epoch. 0 or -ENOMEM. */
static int freed_keep(struct mneme *m)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->shard_count && rc == 0; i++) {
		struct shard *s = &m->shards[i];
		if (!s->closed_freed.count)
			continue;
		lock_write(&s->lock);
		rc = tree_reserve_freed(s, s->closed_freed.count);
		if (rc == 0) {
			memcpy(s->freed.items + s->freed.count, s->closed_freed.items,
			       s->closed_freed.count * sizeof s->freed.items[0]);
			s->freed.count += s->closed_freed.count;
			s->closed_freed.count = 0;
		}
		lock_write_done(&s->lock);
	}
	return rc;
}

/* Gives away what the shard freed in the closed epoch and no durable superblock reaches. */
static void freed_give_young(struct mneme *m, struct shard *s)
{
	struct freed_list *f = &s->closed_freed, part = {.items = f->items};

	for (uint64_t k = 0; k < f->count; k++) {
		uint64_t item = f->items[k];
		if (!heap_young(&m->heap, item & FMT_ADDRESS_MASK))
			continue;
		f->items[k] = f->items[part.count];
		f->items[part.count++] = item;
	}
	freed_give(&m->heap, &part, heap_free_on_disk);
	freed_give(&m->heap, &part, heap_free_now);
	f->count -= part.count;
	if (f->count)
		memmove(f->items, f->items + part.count, f->count * sizeof f->items[0]);
}

/* ---- space map and superblock ---- */

static int bitmap_write(struct mneme *m, uint32_t group, uint64_t generation, uint64_t pages)
{
	struct heap_group *g = &m->heap.groups[group];
	struct fmt_bitmap *out = m->checkpoint->bitmap;
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;
	uint32_t extent = heap_group_extent(pages, group);

	lock_write(&m->heap.lock);
	memcpy(out->bits, g->disk, sizeof out->bits);
	g->changed = 0;
	lock_write_done(&m->heap.lock);
	out->group = group;
	out->generation = generation;
	memset(out->reserved, 0, sizeof out->reserved);
	out->crc = crc32c(0, (uint8_t *)out + 4, FMT_PAGE_SIZE - 4);
	g->crc = out->crc;
	g->copy ^= SEEDED_BUG(7) ? 0 : 1;
	uint32_t used = 0;
	for (uint32_t i = 0; i < extent; i++)
		used += out->bits[i / 8] >> (i % 8) & 1;
	g->disk_free = extent - used;
	g->disk_extent = extent;
	return io_write_full(m->heap.file, m->io, out, FMT_PAGE_SIZE,
			     (begin + g->copy) * FMT_PAGE_SIZE);
}

static int bitmaps_write(struct mneme *m, uint64_t generation, uint64_t pages)
{
	uint32_t groups = (pages + FMT_GROUP_PAGES - 1) / FMT_GROUP_PAGES;
	int rc = 0;

	for (uint32_t i = 0; i < m->shard_count; i++)
		freed_give(&m->heap, &m->shards[i].closed_freed, heap_free_on_disk);
	for (uint32_t g = 0; g < groups && rc == 0; g++)
		if (m->heap.groups[g].changed ||
		    m->heap.groups[g].disk_extent != heap_group_extent(pages, g))
			rc = bitmap_write(m, g, generation, pages);
	return rc;
}

/* Room for the space table: taken before the freeze, after which nothing may run out. */
static int table_reserve(struct checkpoint *c, uint32_t groups)
{
	if (groups <= c->table_groups)
		return 0;
	struct fmt_space *more = alloc_resize(c->table, groups * sizeof *more);
	if (!more)
		return -ENOMEM;
	c->table = more;
	c->table_groups = groups;
	return 0;
}

static int super_write(struct mneme *m, struct fmt_super *super)
{
	struct checkpoint *c = m->checkpoint;
	uint32_t groups = (super->heap_pages + FMT_GROUP_PAGES - 1) / FMT_GROUP_PAGES;
	uint32_t copy = super->generation & 1;
	int rc = table_reserve(c, groups);

	if (rc < 0)
		return rc;
	struct fmt_space *table = c->table;
	for (uint32_t g = 0; g < groups; g++)
		table[g] = (struct fmt_space){.crc = m->heap.groups[g].crc,
					      .free = m->heap.groups[g].disk_free,
					      .copy = m->heap.groups[g].copy};
	super->space_groups = groups;
	super->space_crc = crc32c(0, table, groups * sizeof *table);
	rc = io_write_full(c->super_file, m->io, table, groups * sizeof *table,
			   (uint64_t)FMT_SPACE_OFFSET * (1 + copy));
	if (rc < 0)
		return rc;
	memset(c->super_page, 0, FMT_PAGE_SIZE);
	super->crc = 0;
	memcpy(c->super_page, super, sizeof *super);
	super->crc = crc32c(0, c->super_page, FMT_PAGE_SIZE);
	memcpy(c->super_page, super, sizeof *super);
	return m->io->ops->write_sync(c->super_file, c->super_page, FMT_PAGE_SIZE,
				      (uint64_t)FMT_PAGE_SIZE * copy);
}

/* The older superblock is of no use any more: were it found alone, what happened since would be missing
 * without a word. It becomes a second copy of the new one; nothing depends on when that is durable. */
static void super_write_again(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;
	uint64_t other = ~m->super.generation & 1;
	int rc = io_write_full(c->super_file, m->io, c->super_page, FMT_PAGE_SIZE,
			       FMT_PAGE_SIZE * other);

	if (rc < 0)
		store_fail(m, rc, "the second superblock could not be written");
}

/* What only older states reach. Readers of them have said so before they read a superblock; this is asked
 * when the new one can be read. */
static void release_pages(struct mneme *m)
{
	held_release(m);
	if (held_add_freed(m))
		return;
	for (uint32_t i = 0; i < m->shard_count; i++) {
		freed_give(&m->heap, &m->shards[i].closed_freed, heap_free_now);
		m->shards[i].closed_freed.count = 0;
	}
}

static void release(struct mneme *m, uint64_t lsn)
{
	release_pages(m);
	heap_settle(&m->heap);
	atomic_store_explicit(&m->checkpoint->spilled, 0, memory_order_relaxed);
	atomic_store_explicit(&m->wal.generation, m->super.generation, memory_order_relaxed);
	atomic_store_explicit(&m->checkpoint->log_begin, lsn, memory_order_relaxed);
	atomic_store_explicit(&m->checkpoint->named_begin, m->checkpoint->named_next,
			      memory_order_relaxed);
	wal_leave_out(&m->wal, lsn);
	wal_recycle(&m->wal, lsn);
}

static int checkpoint_once(struct mneme *m, int clean)
{
	struct checkpoint *c = m->checkpoint;
	struct fmt_super *super = &c->next;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int rc = store_writable(m);

	if (rc == 0)
		rc = table_reserve(c, heap_groups(&m->heap) + SPARE_GROUPS);
	if (rc == 0)
		rc = freed_keep(m);
	if (rc < 0)
		return rc;
	*super = m->super;
	super->generation = store_era(m);
	/* Before the freeze: what was packed up to there is in the era that it closes. */
	super->packed_until = packer_until(m);
	super->lsn = freeze(m, 1);
	super->clean = clean;
	super->written_ns = clock_ns(CLOCK_REALTIME);
	uint64_t written = atomic_load_explicit(&m->wal.written, memory_order_acquire);
	if (written > super->log_durable)
		super->log_durable = written;
	for (uint32_t i = 0; i < m->shard_count; i++)
		super->inode_next[i] =
			atomic_load_explicit(&m->shards[i].inode_next, memory_order_relaxed);
	if (SEEDED_BUG(8))
		(void)super_write(m, super); /* before what it refers to */
	if (SEEDED_BUG(14))
		release_pages(m); /* while the durable superblock still reaches them */
	for (uint32_t i = 0; i < m->shard_count && rc == 0; i++)
		rc = place_shard(m, &m->shards[i], &super->roots[i]);
	if (rc == 0)
		rc = place_dictionary(m, super);
	if (SEEDED_BUG(16))
		super->roots[m->shard_count - 1] = m->super.roots[m->shard_count - 1];
	if (c->stage.scattered)
		super->incompatible |= FMT_INCOMPAT_SCATTERED;
	if (m->run_least) /* a store that an older program made has not said so yet */
		super->incompatible |= FMT_INCOMPAT_RUNS;
	super->heap_pages = atomic_load_explicit(&m->heap.pages, memory_order_acquire);
	if (rc == 0)
		rc = bitmaps_write(m, super->generation, super->heap_pages);
	if (rc < 0)
		return store_fail_for_good(m, rc, "a checkpoint could not be written");
	for (uint32_t i = 0; i < m->shard_count; i++)
		shard_move(m, &m->shards[i]);
	if (!SEEDED_BUG(9))
		rc = heap_sync(&m->heap);
	if (rc == 0)
		rc = super_write(m, super);
	if (rc < 0)
		return store_fail_for_good(m, rc, "a checkpoint could not be made durable");
	m->super = *super;
	runs_allow(m, super);
	packing_written(m->packing, super);
	release(m, super->lsn);
	super_write_again(m);
	c->stats.count++;
	c->stats.ns_last = clock_ns(CLOCK_MONOTONIC) - begin;
	return 0;
}

static int spill_once(struct mneme *m)
{
	uint64_t root;
	int rc = store_writable(m);

	if (rc == 0)
		rc = freed_keep(m);
	if (rc < 0)
		return rc;
	atomic_store_explicit(&m->checkpoint->spilled, 1, memory_order_relaxed);
	(void)freeze(m, 0);
	for (uint32_t i = 0; i < m->shard_count && rc == 0; i++)
		rc = place_shard(m, &m->shards[i], &root);
	if (rc < 0)
		return store_fail_for_good(m, rc, "the dirty arena could not be written");
	for (uint32_t i = 0; i < m->shard_count; i++)
		shard_move(m, &m->shards[i]);
	for (uint32_t i = 0; i < m->shard_count; i++)
		freed_give_young(m, &m->shards[i]);
	(void)freed_keep(m); /* without memory it is tried again */
	return 0;
}

int checkpoint_spill(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;
	uint64_t seen = atomic_load_explicit(&c->begun, memory_order_acquire) +
			atomic_load_explicit(&c->spills, memory_order_acquire);
	int rc;

	pthread_mutex_lock(&c->run);
	if (atomic_load_explicit(&c->begun, memory_order_relaxed) +
		    atomic_load_explicit(&c->spills, memory_order_relaxed) >
	    seen) {
		rc = store_writable(m);
	} else {
		atomic_fetch_add_explicit(&c->spills, 1, memory_order_release);
		rc = spill_once(m);
	}
	pthread_mutex_unlock(&c->run);
	return rc;
}

uint64_t checkpoint_log_bytes(struct mneme *m)
{
	return atomic_load_explicit(&m->wal.next, memory_order_relaxed) -
	       atomic_load_explicit(&m->checkpoint->log_begin, memory_order_relaxed) +
	       atomic_load_explicit(&m->wal.named, memory_order_relaxed) -
	       atomic_load_explicit(&m->checkpoint->named_begin, memory_order_relaxed);
}

int checkpoint_run_as(struct mneme *m, int clean)
{
	struct checkpoint *c = m->checkpoint;
	uint64_t seen = atomic_load_explicit(&c->begun, memory_order_acquire);
	int rc;

	pthread_mutex_lock(&c->run);
	/* One that began after this call has ended by now. */
	if (atomic_load_explicit(&c->begun, memory_order_relaxed) > seen && !clean) {
		rc = c->result;
	} else {
		atomic_fetch_add_explicit(&c->begun, 1, memory_order_release);
		rc = c->result = checkpoint_once(m, clean);
	}
	pthread_mutex_unlock(&c->run);
	return rc;
}

int checkpoint_wait(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;

	pthread_mutex_lock(&c->run);
	int rc = c->result;
	pthread_mutex_unlock(&c->run);
	return rc;
}

int checkpoint_run(struct mneme *m)
{
	return checkpoint_run_as(m, 0);
}

int checkpoint_reclaim(struct mneme *m)
{
	uint64_t free_before = atomic_load_explicit(&m->heap.free, memory_order_relaxed);
	uint64_t promised_before = atomic_load_explicit(&m->heap.promised, memory_order_relaxed);
	int rc = checkpoint_run(m);

	if (rc < 0)
		return rc;
	uint64_t free_now = atomic_load_explicit(&m->heap.free, memory_order_relaxed);
	uint64_t promised_now = atomic_load_explicit(&m->heap.promised, memory_order_relaxed);
	return free_now + promised_before > free_before + promised_now ? 0 : -ENOSPC;
}

void checkpoint_get_stats(struct mneme *m, struct checkpoint_stats *out)
{
	struct checkpoint *c = m->checkpoint;

	*out = (struct checkpoint_stats){.count = c->stats.count,
					 .pages = c->stats.pages,
					 .ns_last = c->stats.ns_last,
					 .freeze_ns_last = c->stats.freeze_ns_last,
					 .freeze_ns_max = c->stats.freeze_ns_max,
					 .log_begin = c->log_begin};
}
