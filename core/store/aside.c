/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   runs of pages that are set aside; see aside.h.
 */
#include "core/store/aside.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <string.h>

#define QUAD (1ull << 40)

static uint64_t run_page(uint64_t run)
{
	return run & (QUAD - 1);
}

static uint64_t run_quads(uint64_t run)
{
	return run >> 40;
}

void aside_init(struct aside *a)
{
	pthread_mutex_init(&a->mutex, NULL);
}

void aside_fini(struct aside *a)
{
	alloc_free(a->runs);
	pthread_mutex_destroy(&a->mutex);
}

/* Room for one run more; 0: there is no memory. */
static int has_room(struct aside *a)
{
	if (a->count < a->capacity)
		return 1;
	uint64_t capacity = a->capacity ? 2 * a->capacity : 16;
	uint64_t *runs = alloc_zeroed(capacity, sizeof *runs);
	if (!runs)
		return 0;
	if (a->count)
		memcpy(runs, a->runs, a->count * sizeof *runs);
	alloc_free(a->runs);
	a->runs = runs;
	a->capacity = capacity;
	return 1;
}

/* Takes from the first run at the cursor or behind it: how many quads; 0: there is none. */
static uint64_t run_take(struct aside *a, struct heap *h, uint64_t quads)
{
	uint64_t page, most = quads < FMT_GROUP_PAGES ? quads * ASIDE_PAGES : FMT_GROUP_PAGES;

	if (!has_room(a))
		return 0;
	uint32_t count = heap_claim(h, a->cursor, (uint32_t)most, ASIDE_PAGES, &page);
	if (!count)
		return 0;
	uint64_t taken = count / ASIDE_PAGES;
	uint32_t rest = count % ASIDE_PAGES;
	if (rest)
		heap_unclaim(h, page + count - rest, rest);
	heap_use(h, count - rest);
	heap_unpromise(h, count - rest);
	a->cursor = page + count;
	a->runs[a->count++] = page | taken * QUAD;
	return taken;
}

uint64_t aside_take(struct aside *a, struct heap *h, uint64_t quads)
{
	uint64_t taken = 0, more;

	pthread_mutex_lock(&a->mutex);
	uint64_t begin = a->cursor;
	while (taken < quads && (more = run_take(a, h, quads - taken)))
		taken += more;
	if (taken < quads && begin) { /* once more from the beginning of the heap */
		a->cursor = 0;
		while (taken < quads && (more = run_take(a, h, quads - taken)))
			taken += more;
	}
	pthread_mutex_unlock(&a->mutex);
	return taken;
}

uint64_t aside_claim(struct aside *a, uint64_t quads)
{
	pthread_mutex_lock(&a->mutex);
	uint64_t claimed = quads < a->quads ? quads : a->quads;
	a->quads -= claimed;
	pthread_mutex_unlock(&a->mutex);
	return claimed;
}

void aside_unclaim(struct aside *a, uint64_t quads)
{
	if (!quads)
		return;
	pthread_mutex_lock(&a->mutex);
	a->quads += quads;
	pthread_mutex_unlock(&a->mutex);
}

/* Up to `quads` from the first pages of the last run, so that one after the other lie side by side. */
static uint64_t pop(struct aside *a, uint64_t quads, uint64_t *page)
{
	CHECK(a->count > 0);
	uint64_t *run = &a->runs[a->count - 1];
	uint64_t taken = quads < run_quads(*run) ? quads : run_quads(*run);

	*page = run_page(*run);
	*run = (*page + taken * ASIDE_PAGES) | (run_quads(*run) - taken) * QUAD;
	a->count -= !run_quads(*run);
	return taken;
}

void aside_give(struct aside *a, struct heap *h, uint64_t quads)
{
	if (!quads)
		return;
	pthread_mutex_lock(&a->mutex);
	while (quads) {
		uint64_t page, given = pop(a, quads, &page);
		heap_free_now(h, page, (uint32_t)given * ASIDE_PAGES);
		quads -= given;
	}
	pthread_mutex_unlock(&a->mutex);
}

uint64_t aside_use(struct aside *a, struct heap *h, uint32_t pages)
{
	uint64_t page;

	CHECK(pages <= ASIDE_PAGES);
	pthread_mutex_lock(&a->mutex);
	pop(a, 1, &page);
	pthread_mutex_unlock(&a->mutex);
	if (pages < ASIDE_PAGES)
		heap_free_now(h, page + pages, ASIDE_PAGES - pages);
	heap_use_claimed(h, page, pages);
	return page;
}

int aside_clean(struct aside *a, int (*clean)(void *arg, uint64_t page, uint32_t count), void *arg)
{
	int rc = 0;

	/* What is pushed meanwhile comes behind, what is popped is at the end. */
	for (uint64_t i = 0; rc == 0; i++) {
		pthread_mutex_lock(&a->mutex);
		int more = i < a->count;
		if (more)
			rc = clean(arg, run_page(a->runs[i]),
				   (uint32_t)run_quads(a->runs[i]) * ASIDE_PAGES);
		pthread_mutex_unlock(&a->mutex);
		if (!more)
			break;
	}
	return rc;
}
