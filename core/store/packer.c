/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see packer.h.
 */
#include "core/store/packer.h"
#include "core/store/background.h"
#include "core/store/checkpoint.h"
#include "core/store/commit.h"
#include "core/store/heap_fault.h"
#include "core/store/packing.h"
#include "core/store/value.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <zdict.h>

enum {
	BATCH = 16,          /* values of a step */
	VISIT = 4,           /* of them read under one lock: they may have to come from the disk */
	LEAVES = 32,         /* that it looks at */
	SAMPLES_MAX = 1024,  /* a page each */
	SAMPLES_LEAST = 500, /* below that a dictionary is not worth its pages */
	SEEN_ENOUGH = 8192,  /* values that samples are taken from */
	ROOM_PAGES = 64,     /* of the heap: more than a pack or the dictionary needs */
};

struct candidate {
	struct fmt_value value;
	uint32_t key_length;
	uint8_t key[FMT_KEY_MAX];
	uint8_t plain[FMT_PACKED_LENGTH_MAX];
};

struct packer {
	pthread_mutex_t step;   /* held for a step, or by packer_hold() */
	int active;             /* a pass is under way */
	uint64_t since, target; /* of the pass: since < birth <= target is looked at */
	uint64_t sampled;       /* epoch up to which samples were taken */
	_Atomic uint64_t until; /* [A] epoch up to which values were tried */
	uint32_t shard;         /* where the pass is */
	uint32_t cursor_length; /* 0: at the shard's first key */
	uint8_t cursor[FMT_KEY_MAX];
	uint32_t count; /* of candidates */
	struct candidate candidates[BATCH];
	uint8_t packed[FMT_CELL_MAX];

	uint64_t seen;    /* values that samples were taken from */
	uint64_t random;  /* state */
	uint8_t *samples; /* SAMPLES_MAX pages, while there is no dictionary */
	size_t sizes[SAMPLES_MAX];

	_Atomic uint64_t values, saved_bytes; /* [A] */
};

int packer_new(struct mneme *m)
{
	if (m->compression != MNEME_COMPRESSION_ZSTD || m->read_only)
		return 0;
	struct packer *p = alloc_zeroed(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	/* One that is not possible is a store's that was repaired: all is tried again. */
	if (m->super.packed_until < m->super.generation)
		atomic_store_explicit(&p->until, m->super.packed_until, memory_order_relaxed);
	p->random = 1;
	pthread_mutex_init(&p->step, NULL);
	m->packer = p;
	return 0;
}

void packer_free(struct mneme *m)
{
	struct packer *p = m->packer;

	if (!p)
		return;
	alloc_free(p->samples);
	pthread_mutex_destroy(&p->step);
	alloc_free(p);
	m->packer = NULL;
}

void packer_hold(struct mneme *m)
{
	if (m->packer)
		pthread_mutex_lock(&m->packer->step);
}

void packer_release(struct mneme *m)
{
	if (m->packer)
		pthread_mutex_unlock(&m->packer->step);
}

void packer_forget(struct mneme *m)
{
	struct packer *p = m->packer;

	if (!p)
		return;
	p->active = 0;
	p->sampled = p->seen = 0;
	alloc_free(p->samples);
	p->samples = NULL;
	/* release: as in pass_end() */
	atomic_store_explicit(&p->until, 0, memory_order_release);
}

uint64_t packer_until(const struct mneme *m)
{
	/* acquire: pairs with the release in pass_end() */
	return m->packer ? atomic_load_explicit(&m->packer->until, memory_order_acquire)
			 : m->super.packed_until;
}

void packer_get_stats(const struct mneme *m, struct packer_stats *out)
{
	struct packer *p = m->packer;

	*out = (struct packer_stats){0};
	if (!p)
		return;
	out->values = atomic_load_explicit(&p->values, memory_order_relaxed);
	out->saved_bytes = atomic_load_explicit(&p->saved_bytes, memory_order_relaxed);
}

/* ---- walking ---- */

/* A page of its own, written by a checkpoint of the pass's epochs. */
static int is_wanted(const struct packer *p, const struct fmt_value *v)
{
	return !(v->address & (FMT_DIRTY | FMT_SCATTERED)) && v->length &&
	       v->length <= FMT_PACKED_LENGTH_MAX && v->stored == v->length &&
	       v->birth > p->since && v->birth <= p->target;
}

/* Copies one value where it is wanted and can be read. */
static void candidate_take(struct packer *p, struct mneme *m, const struct fmt_page *leaf,
			   unsigned position)
{
	struct candidate *c = &p->candidates[p->count];
	struct page_key key = page_key_at(leaf, position);
	enum page_kind kind;
	uint32_t length;
	int error;
	const uint8_t *payload = page_value(leaf, position, &length, &kind);

	if (kind != PAGE_INDIRECT)
		return;
	memcpy(&c->value, payload, sizeof c->value);
	if (!is_wanted(p, &c->value))
		return;
	const uint8_t *plain = value_read(m, leaf, position, &length, &error);
	if (!plain || crc32c(0, plain, length) != c->value.crc_plain)
		return;
	memcpy(c->plain, plain, length);
	memcpy(c->key, key.bytes, key.length);
	c->key_length = key.length;
	p->count++;
}

static void cursor_set(struct packer *p, struct page_key key)
{
	memcpy(p->cursor, key.bytes, key.length);
	p->cursor_length = key.length;
}

/* Takes some of what is wanted of the path's leaf and sets the cursor behind it, or behind the
 * highest page of the path that is too old: nothing below it is younger. 0: that is the end of the
 * shard. */
static int leaf_take(struct packer *p, struct mneme *m, const struct tree_path *path)
{
	uint32_t depth = 0, most = p->count + VISIT < BATCH ? p->count + VISIT : BATCH;

	while (depth < path->depth && path->pages[depth]->birth > p->since)
		depth++;
	if (depth == path->depth) {
		const struct fmt_page *leaf = path->pages[--depth];
		for (unsigned i = path->positions[depth]; i < leaf->count; i++) {
			if (p->count == most) {
				cursor_set(p, page_key_at(leaf, i));
				return 1;
			}
			candidate_take(p, m, leaf, i);
		}
	}
	while (depth-- > 0) {
		unsigned next = path->positions[depth] + 1u;
		if (next < path->pages[depth]->count) {
			cursor_set(p, page_key_at(path->pages[depth], next));
			return 1;
		}
	}
	return 0;
}

/* Looks at one leaf: 0, or why it could not be read. */
static int leaf_visit(struct packer *p, struct mneme *m)
{
	struct shard *s = &m->shards[p->shard];
	struct tree_path path;
	int more = 0;

	lock_read(&s->lock);
	uint64_t faults = heap_faults(&m->heap);
	int rc = tree_seek(m, s, (struct page_key){p->cursor, p->cursor_length}, &path);
	if (rc == 0 && path.depth)
		more = leaf_take(p, m, &path);
	rc = store_read_fault(m, faults, rc);
	lock_read_done(&s->lock);
	if (rc == 0 && !more) {
		p->shard++;
		p->cursor_length = 0;
	}
	return rc;
}

/* ---- the dictionary ---- */

/* Keeps a sample of what was seen: each with the same chance. */
static int sample(struct packer *p)
{
	if (!p->count)
		return 0;
	if (!p->samples)
		p->samples = alloc_get((size_t)SAMPLES_MAX * FMT_PAGE_SIZE);
	if (!p->samples)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct candidate *c = &p->candidates[i];
		if (c->key[FMT_KEY_HEAD - 1] == MNEME_TYPE_VECTOR)
			continue; /* it compresses as well without, and would crowd texts out */
		uint64_t at = p->seen++;
		if (at >= SAMPLES_MAX) {
			p->random = p->random * 6364136223846793005u + 1442695040888963407u;
			at = (p->random >> 33) % p->seen;
		}
		if (at >= SAMPLES_MAX)
			continue;
		memcpy(p->samples + at * FMT_PAGE_SIZE, c->plain, c->value.length);
		p->sizes[at] = c->value.length;
	}
	if (p->seen >= SEEN_ENOUGH)
		p->shard = UINT32_MAX;
	return 0;
}

/* Trains a dictionary on the samples, which go. */
static int train(struct packer *p, struct mneme *m)
{
	unsigned count = p->seen < SAMPLES_MAX ? p->seen : SAMPLES_MAX;
	uint8_t *dictionary = alloc_get(FMT_DICTIONARY_MAX);
	size_t used = 0, length = 0;

	for (unsigned i = 0; i < count; used += p->sizes[i++])
		memmove(p->samples + used, p->samples + (size_t)i * FMT_PAGE_SIZE, p->sizes[i]);
	if (dictionary)
		length = ZDICT_trainFromBuffer(dictionary, FMT_DICTIONARY_MAX, p->samples, p->sizes,
					       count);
	alloc_free(p->samples);
	p->samples = NULL;
	p->seen = 0;
	int rc = dictionary ? 0 : -ENOMEM;
	/* Samples that have nothing in common give none: the next ones may. */
	if (rc == 0 && !ZDICT_isError(length)) {
		rc = packing_adopt(m, dictionary, (uint32_t)length);
		if (rc == -ENOSPC && commit_make_heap_room(m, m->keep_pages + ROOM_PAGES) == 0)
			rc = packing_adopt(m, dictionary, (uint32_t)length);
	}
	alloc_free(dictionary);
	return rc;
}

/* ---- packing ---- */

static int candidate_pack(struct packer *p, struct mneme *m, const struct candidate *c)
{
	struct page_key key = {c->key, c->key_length};
	uint32_t length = packing_make(m->packing, c->plain, c->value.length,
				       FMT_CELL_MAX - 2 - c->key_length, p->packed);

	if (!length)
		return 0;
	int rc = commit_pack(m, key, &c->value, p->packed, length);
	if (rc == -ENOSPC && commit_make_heap_room(m, m->keep_pages + ROOM_PAGES) == 0)
		rc = commit_pack(m, key, &c->value, p->packed, length);
	if (rc == 0) {
		atomic_fetch_add_explicit(&p->values, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&p->saved_bytes, FMT_PAGE_SIZE + sizeof c->value - length,
					  memory_order_relaxed);
	}
	return rc == -ESTALE ? 0 : rc;
}

static int pack(struct packer *p, struct mneme *m)
{
	uint64_t before = atomic_load_explicit(&p->values, memory_order_relaxed);
	int rc = 0;

	for (uint32_t i = 0; i < p->count && rc == 0; i++)
		rc = candidate_pack(p, m, &p->candidates[i]);
	/* What changed nothing asks for no checkpoint, and so for no other pass. */
	if (atomic_load_explicit(&p->values, memory_order_relaxed) != before)
		background_poke(m);
	return rc;
}

/* ---- passes ---- */

/* The newest epoch that is on the disk. */
static uint64_t durable(struct mneme *m)
{
	return atomic_load_explicit(&m->wal.generation, memory_order_relaxed);
}

/* Whether there is something that the last pass has not seen. */
static int pass_begin(struct packer *p, struct mneme *m)
{
	int samples = packing_state(m->packing) == PACKING_NONE;

	p->target = durable(m);
	p->since = samples ? p->sampled : packer_until(m);
	p->shard = p->cursor_length = 0;
	p->active = p->target > p->since;
	return p->active;
}

/* 1: go on with another pass. */
static int pass_end(struct packer *p, struct mneme *m)
{
	int rc = 0;

	p->active = 0;
	if (packing_state(m->packing) == PACKING_DURABLE) {
		/* release: pairs with the acquire in packer_until(): the changes before it */
		atomic_store_explicit(&p->until, p->target, memory_order_release);
		return 0;
	}
	p->sampled = p->target;
	if (p->seen < SAMPLES_LEAST)
		return 0;
	rc = train(p, m);
	if (rc == 0 && packing_state(m->packing) == PACKING_NEW)
		rc = checkpoint_run(m);
	return rc < 0 ? rc : packing_state(m->packing) == PACKING_DURABLE;
}

/* Whether others need the arena more. */
static int is_crowded(struct mneme *m)
{
	return atomic_load_explicit(&m->dirty.budget, memory_order_relaxed) >
	       m->dirty.budget_max / 4;
}

static int step(struct packer *p, struct mneme *m)
{
	int rc = 0;
	enum packing_state state = packing_state(m->packing);
	if (state == PACKING_NEW || state == PACKING_LOST)
		return 0;
	if (!p->active && !pass_begin(p, m))
		return 0;
	if (is_crowded(m))
		return -EBUSY;
	p->count = 0;
	for (int i = 0; i < LEAVES && p->count < BATCH && p->shard < m->shard_count && rc == 0; i++)
		rc = leaf_visit(p, m);
	if (rc == 0)
		rc = state == PACKING_NONE ? sample(p) : pack(p, m);
	if (rc < 0) {
		p->active = 0;
		return rc;
	}
	if (p->shard < m->shard_count)
		return 1;
	rc = pass_end(p, m);
	/* A checkpoint that came during the pass asks for the next one. */
	return rc == 0 && durable(m) > p->target ? 1 : rc;
}

int packer_step(struct mneme *m)
{
	struct packer *p = m->packer;
	int rc = p ? store_writable(m) : 0;

	if (!p || rc < 0)
		return rc;
	if (pthread_mutex_trylock(&p->step))
		return -EBUSY;
	rc = step(p, m);
	pthread_mutex_unlock(&p->step);
	return rc;
}

int packer_run(struct mneme *m)
{
	int rc;

	while ((rc = packer_step(m)) != 0)
		if (rc < 0 && (rc != -EBUSY || (rc = checkpoint_run(m)) < 0))
			break;
	return rc;
}
