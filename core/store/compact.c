/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see compact.h.
 */
#include "core/store/compact.h"
#include "core/store/background.h"
#include "core/store/checkpoint_inside.h"
#include "core/store/commit.h"
#include "core/store/heap_fault.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/tree.h"
#include "pool/alloc.h"

#include <errno.h>

enum {
	RUN_PAGES = 256, /* read and overwritten at once */
	TURN_RUNS = 16,  /* between two chances for a checkpoint */
};

struct compact {
	struct mneme *m;
	uint64_t era;        /* pages that were born in it, or later, have no dead cells */
	uint8_t *bytes;      /* RUN_PAGES */
	uint32_t key_length; /* where the walk is; 0: at the shard's first key */
	uint8_t key[FMT_KEY_MAX];
};

/* ---- pages that are reached ---- */

static void key_set(struct compact *c, struct page_key key)
{
	memcpy(c->key, key.bytes, key.length);
	c->key_length = key.length;
}

/* Whether some page of the path, which leads to the first key of its leaf, has more than its keys. */
static int is_stale(const struct compact *c, const struct tree_path *path)
{
	for (uint32_t i = 0; i < path->depth; i++)
		if (path->pages[i]->birth < c->era && page_is_loose(path->pages[i]))
			return 1;
	return tree_separator_is_stale(path);
}

static int is_packed(const struct fmt_page *leaf, unsigned position)
{
	enum page_kind kind;
	uint32_t length;

	(void)page_value(leaf, position, &length, &kind);
	return kind == PAGE_PACKED;
}

/* Where the walk goes on behind the path's leaf. 0: that was the last one. */
static int leaf_pass(struct compact *c, const struct tree_path *path)
{
	for (uint32_t depth = path->depth - 1; depth-- > 0;) {
		unsigned next = path->positions[depth] + 1u;
		if (next < path->pages[depth]->count) {
			key_set(c, page_key_at(path->pages[depth], next));
			return 1;
		}
	}
	return 0;
}

/* Looks at the leaf where the walk is. 1: the key there is to be renewed; 0: the walk went on; *more is 0
 * at the end of the shard. */
static int leaf_visit(struct compact *c, struct shard *s, int *more)
{
	struct mneme *m = c->m;
	struct tree_path path;
	int found = 0;

	lock_read(&s->lock);
	uint64_t faults = heap_faults(&m->heap);
	int rc = tree_seek(m, s, (struct page_key){c->key, c->key_length}, &path);
	if (rc == 0)
		rc = tree_settle(m, &path);
	*more = rc > 0;
	if (rc > 0) {
		const struct fmt_page *leaf = path.pages[path.depth - 1];
		unsigned i = path.positions[path.depth - 1];
		found = i == 0 && is_stale(c, &path);
		for (; !found && i < leaf->count; i += !found)
			found = is_packed(leaf, i);
		if (found)
			key_set(c, page_key_at(leaf, i));
		else
			*more = leaf_pass(c, &path);
	}
	rc = store_read_fault(m, faults, rc < 0 ? rc : 0);
	lock_read_done(&s->lock);
	return rc < 0 ? rc : found;
}

static int key_renew(struct compact *c)
{
	struct page_key key = {c->key, c->key_length};
	int rc;

	for (int tries = 1; (rc = commit_renew(c->m, key)) < 0; tries++) {
		if ((rc != -ENOBUFS && rc != -ENOSPC) || commit_gives_up(tries))
			return rc;
		rc = commit_make_room(c->m, rc);
		if (rc < 0)
			return rc;
	}
	background_poke(c->m);
	return 0;
}

static int shard_renew(struct compact *c, struct shard *s)
{
	int more = 1, rc = 0;

	c->key_length = 0;
	while (more && rc >= 0) {
		rc = leaf_visit(c, s, &more);
		if (rc > 0)
			rc = key_renew(c);
	}
	return rc;
}

static int trees_renew(struct compact *c)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->m->shard_count && rc == 0; i++)
		rc = shard_renew(c, &c->m->shards[i]);
	return rc;
}

/* ---- the dictionary ---- */

/* Nothing is packed any more: the next checkpoint writes a store without a dictionary. */
static int dictionary_drop(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;
	struct shard *s = &m->shards[0];

	pthread_mutex_lock(&c->run);
	lock_write(&s->lock);
	int rc = tree_reserve_freed(s, 2);
	for (int i = 0; i < 2 && rc == 0; i++)
		if (m->super.dictionary[i].address)
			tree_free_value(m, s, &m->super.dictionary[i], NULL);
	lock_write_done(&s->lock);
	if (rc == 0)
		packing_drop(m);
	pthread_mutex_unlock(&c->run);
	return rc;
}

/* The trees, written anew where it is due; the packer is held off. */
static int trees_and_dictionary(struct compact *c)
{
	struct mneme *m = c->m;

	if (packing_state(m->packing) == PACKING_LOST)
		return -EUCLEAN;
	int rc = trees_renew(c);
	if (rc == 0 && packing_state(m->packing) != PACKING_NONE)
		rc = dictionary_drop(m);
	if (rc == 0)
		packer_forget(m);
	return rc;
}

/* ---- the log ---- */

/* Behind this, no segment has a record of what was done before. */
static int log_renew(struct mneme *m)
{
	int rc = wal_clean(&m->wal);

	if (rc == 0)
		rc = wal_renew(&m->wal);
	if (rc == 0)
		rc = checkpoint_run(m);
	if (rc == 0)
		rc = wal_clean(&m->wal);
	return rc < 0 ? store_fail(m, rc, "the log could not be renewed") : 0;
}

/* ---- pages that nobody reaches ---- */

static int is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, FMT_PAGE_SIZE - 1) == 0;
}

/* Overwrites what is not zero in a run of pages that nobody else takes meanwhile. */
static int run_clean(struct compact *c, uint64_t page, uint32_t count, uint64_t *cleaned)
{
	static const uint8_t zeros[RUN_PAGES * FMT_PAGE_SIZE];
	struct heap *h = &c->m->heap;
	int rc =
		io_read_full(h->file, h->io, c->bytes, count * FMT_PAGE_SIZE, page * FMT_PAGE_SIZE);

	for (uint32_t i = 0, end; i < count && rc == 0; i = end + 1) {
		while (i < count && is_zero(c->bytes + (size_t)i * FMT_PAGE_SIZE))
			i++;
		for (end = i; end < count && !is_zero(c->bytes + (size_t)end * FMT_PAGE_SIZE);)
			end++;
		if (end == i)
			break;
		rc = io_write_full(h->file, h->io, zeros, (end - i) * FMT_PAGE_SIZE,
				   (page + i) * FMT_PAGE_SIZE);
		if (rc < 0)
			return store_fail_for_good(c->m, rc, "free pages could not be overwritten");
		*cleaned += (uint64_t)(end - i) * FMT_PAGE_SIZE;
	}
	return rc;
}

/* Cleans the next run of free pages from *at on, while it is out of use. 0: there is none. */
static int free_clean(struct compact *c, uint64_t *at, uint64_t *cleaned)
{
	struct heap *h = &c->m->heap;
	uint64_t page;
	uint32_t count = heap_claim(h, *at, RUN_PAGES, 1, &page);

	if (!count)
		return 0;
	int rc = run_clean(c, page, count, cleaned);
	heap_unclaim(h, page, count);
	*at = page + count;
	return rc < 0 ? rc : 1;
}

/* The same behind the heap: what a checkpoint wrote there whose superblock was lost. Meanwhile the heap
 * does not grow. */
static int tail_clean(struct compact *c, uint64_t *at, uint64_t *cleaned)
{
	struct heap *h = &c->m->heap;
	uint64_t bytes, count = 0;

	pthread_mutex_lock(&h->grow);
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_relaxed);
	int rc = h->io->ops->size(h->file, &bytes);
	if (*at < pages)
		*at = pages;
	if (rc == 0 && *at < bytes / FMT_PAGE_SIZE)
		count = bytes / FMT_PAGE_SIZE - *at;
	if (count > RUN_PAGES)
		count = RUN_PAGES;
	if (count)
		rc = run_clean(c, *at, (uint32_t)count, cleaned);
	*at += count;
	pthread_mutex_unlock(&h->grow);
	return rc < 0 ? rc : count > 0;
}

/* Some runs from *at on; 1: there are more. */
static int heap_clean_some(struct compact *c, uint64_t *at, uint64_t *cleaned)
{
	struct mneme *m = c->m;
	uint64_t pages = atomic_load_explicit(&m->heap.pages, memory_order_acquire);
	int more = 1;

	pthread_mutex_lock(&m->checkpoint->run);
	int rc = store_writable(m);
	for (int i = 0; i < TURN_RUNS && rc == 0 && more; i++) {
		more = *at < pages ? free_clean(c, at, cleaned) : 0;
		if (more == 0)
			more = tail_clean(c, at, cleaned);
		if (more < 0)
			rc = more;
	}
	pthread_mutex_unlock(&m->checkpoint->run);
	return rc < 0 ? rc : more;
}

struct cleaning {
	struct compact *c;
	uint64_t *cleaned;
};

static int aside_run_clean(void *arg, uint64_t page, uint32_t count)
{
	struct cleaning *cleaning = arg;
	int rc = 0;

	for (uint32_t i = 0, part; i < count && rc == 0; i += part) {
		part = count - i < RUN_PAGES ? count - i : RUN_PAGES;
		rc = run_clean(cleaning->c, page + i, part, cleaning->cleaned);
	}
	return rc;
}

static int heap_clean(struct compact *c, struct mneme_compacted *out)
{
	struct mneme *m = c->m;
	uint64_t at = 0;
	int rc;

	pthread_mutex_lock(&m->checkpoint->run);
	out->kept_bytes = (held_pages(&m->checkpoint->held) * FMT_PAGE_SIZE) +
			  wal_kept(&m->wal, m->super.lsn);
	pthread_mutex_unlock(&m->checkpoint->run);
	while ((rc = heap_clean_some(c, &at, &out->cleaned_bytes)) > 0)
		;
	if (rc == 0)
		rc = aside_clean(&m->aside, aside_run_clean,
				 &(struct cleaning){c, &out->cleaned_bytes});
	if (rc == 0 && out->cleaned_bytes) {
		rc = heap_sync(&m->heap);
		if (rc < 0)
			rc = store_fail_for_good(m, rc, "the heap could not be synced");
	}
	return rc;
}

/* ---- all of it ---- */

static int compact(struct compact *c, struct mneme_compacted *out)
{
	struct mneme *m = c->m;
	int rc = checkpoint_run(m);

	if (rc < 0)
		return rc;
	c->era = store_era(m);
	packer_hold(m);
	rc = trees_and_dictionary(c);
	if (rc == 0)
		rc = log_renew(m);
	packer_release(m);
	return rc < 0 ? rc : heap_clean(c, out);
}

int compact_run(struct mneme *m, struct mneme_compacted *out)
{
	struct compact *c = alloc_zeroed(1, sizeof *c);
	int rc = store_writable(m);

	*out = (struct mneme_compacted){0};
	if (c)
		c->bytes = alloc_aligned(FMT_PAGE_SIZE, (size_t)RUN_PAGES * FMT_PAGE_SIZE);
	if (rc == 0 && (!c || !c->bytes))
		rc = -ENOMEM;
	if (rc == 0) {
		c->m = m;
		pthread_mutex_lock(&m->checkpoint->compacting);
		rc = compact(c, out);
		pthread_mutex_unlock(&m->checkpoint->compacting);
	}
	if (c)
		alloc_free(c->bytes);
	alloc_free(c);
	return rc;
}
