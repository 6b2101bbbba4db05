/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the heap file; see heap.h.
 */
#include "core/store/heap.h"
#include "core/store/heap_fault.h"
#include "core/store/page.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <string.h>

enum { GROUP_BYTES = sizeof(((struct fmt_bitmap *)0)->bits) };
enum { GROW_PAGES_MIN = 64, GROW_PAGES_MAX = 16384 };

static uint64_t page_bits_bytes(const struct heap *h)
{
	return (h->reserve / FMT_PAGE_SIZE + 63) / 64 * 8;
}

int heap_open(struct heap *h, struct io *io, int read_only, uint64_t reserve, uint64_t pages)
{
	static _Atomic uint64_t opened;
	int rc;

	memset(h, 0, sizeof *h);
	h->io = io;
	h->number = atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed) + 1;
	h->reserve = reserve;
	lock_init(&h->lock, LOCK_HEAP);
	pthread_mutex_init(&h->grow, NULL);
	pthread_mutex_init(&h->syncing, NULL);
	h->groups = alloc_range(FMT_SPACE_MAX * sizeof h->groups[0]);
	h->verified = alloc_range(page_bits_bytes(h));
	h->young = alloc_range(page_bits_bytes(h));
	rc = heap_map_init(h);
	if (!h->groups || !h->verified || !h->young)
		rc = -ENOMEM;
	if (rc < 0)
		goto out;
	rc = io->ops->open(io, "heap", read_only ? IO_READ : IO_WRITE, &h->file);
	if (rc < 0)
		goto out;
	rc = io->ops->map(h->file, reserve, &h->base);
	if (rc == 0)
		rc = heap_fault_watch(h);
	if (rc < 0)
		goto out;
	uint64_t size;
	rc = io->ops->size(h->file, &size);
	if (rc == 0 && size < pages * FMT_PAGE_SIZE)
		rc = -EUCLEAN;
	if (rc == 0)
		rc = io->ops->map_grow(h->file, pages * FMT_PAGE_SIZE);
	atomic_store_explicit(&h->pages, pages, memory_order_release);
out:
	if (rc < 0)
		heap_close(h);
	return rc;
}

void heap_close(struct heap *h)
{
	heap_fault_forget(h);
	if (h->groups) {
		for (uint32_t g = 0; g < FMT_SPACE_MAX && h->groups[g].bits; g++) {
			alloc_free(h->groups[g].bits);
			alloc_free(h->groups[g].disk);
		}
		alloc_range_free(h->groups, FMT_SPACE_MAX * sizeof h->groups[0]);
	}
	alloc_range_free(h->verified, page_bits_bytes(h));
	alloc_range_free(h->young, page_bits_bytes(h));
	heap_map_fini(h);
	if (h->file)
		h->io->ops->close(h->file);
	pthread_mutex_destroy(&h->grow);
	pthread_mutex_destroy(&h->syncing);
	memset(h, 0, sizeof *h);
}

static int bit_get(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static void bits_set(uint8_t *bits, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		bits[i / 8] |= 1u << (i % 8);
}

static void bits_clear(uint8_t *bits, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		bits[i / 8] &= ~(1u << (i % 8));
}

uint32_t heap_group_extent(uint64_t pages, uint32_t group)
{
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;

	if (pages <= begin)
		return 0;
	return pages - begin < FMT_GROUP_PAGES ? pages - begin : FMT_GROUP_PAGES;
}

static int group_new(struct heap *h, uint32_t group)
{
	struct heap_group *g = &h->groups[group];

	g->bits = alloc_zeroed(1, GROUP_BYTES);
	g->disk = alloc_zeroed(1, GROUP_BYTES);
	if (!g->bits || !g->disk) {
		alloc_free(g->bits);
		alloc_free(g->disk);
		g->bits = g->disk = NULL;
		return -ENOMEM;
	}
	bits_set(g->bits, 0, FMT_GROUP_FIRST);
	bits_set(g->disk, 0, FMT_GROUP_FIRST);
	return 0;
}

int heap_load_group(struct heap *h, uint32_t group, const struct fmt_space *space)
{
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_relaxed);
	uint64_t page = (uint64_t)group * FMT_GROUP_PAGES + (space->copy ? 1 : 0);
	struct heap_group *g = &h->groups[group];
	uint32_t extent = heap_group_extent(pages, group);

	if (page >= pages || space->copy > 1)
		return -EUCLEAN;
	const struct fmt_bitmap *bitmap = (const void *)(h->base + page * FMT_PAGE_SIZE);
	uint32_t crc = crc32c(0, (const uint8_t *)bitmap + 4, FMT_PAGE_SIZE - 4);
	if (crc != bitmap->crc || crc != space->crc || bitmap->group != group)
		return -EUCLEAN;
	int rc = group_new(h, group);
	if (rc < 0)
		return rc;
	memcpy(g->bits, bitmap->bits, GROUP_BYTES);
	memcpy(g->disk, bitmap->bits, GROUP_BYTES);
	g->copy = space->copy;
	g->crc = crc;
	g->disk_free = space->free;
	g->disk_extent = extent;
	for (uint32_t i = 0; i < extent; i++)
		g->free += !bit_get(g->bits, i);
	if (!bit_get(g->bits, 0) || !bit_get(g->bits, 1) || g->free != space->free)
		return -EUCLEAN;
	atomic_fetch_add_explicit(&h->free, g->free, memory_order_relaxed);
	return 0;
}

/* By how much a heap of `old` pages grows to gain `pages`. A group that begins has both of its bitmaps in
 * the file, and a page. */
static uint64_t step_for(uint64_t old, uint64_t pages)
{
	uint64_t step = pages + FMT_GROUP_FIRST;
	uint64_t tail = (old + step) % FMT_GROUP_PAGES;

	return tail && tail <= FMT_GROUP_FIRST ? step + FMT_GROUP_FIRST : step;
}

/* Takes `step` pages more from the disk. */
static int file_grow(struct heap *h, uint64_t old, uint64_t step)
{
	if ((old + step) * FMT_PAGE_SIZE > h->reserve ||
	    old + step > (uint64_t)FMT_SPACE_MAX * FMT_GROUP_PAGES)
		return -ENOSPC;
	int rc = h->io->ops->allocate(h->file, old * FMT_PAGE_SIZE, step * FMT_PAGE_SIZE);
	return rc < 0 ? rc : h->io->ops->map_grow(h->file, (old + step) * FMT_PAGE_SIZE);
}

/* The file has `pages` now instead of `old`. */
static int groups_extend(struct heap *h, uint64_t old, uint64_t pages)
{
	uint64_t gained = 0;
	for (uint32_t g = old / FMT_GROUP_PAGES; g * (uint64_t)FMT_GROUP_PAGES < pages; g++) {
		if (!h->groups[g].bits) {
			int rc = group_new(h, g);
			if (rc < 0)
				return rc;
		}
		lock_write(&h->lock);
		uint32_t before = heap_group_extent(old, g), after = heap_group_extent(pages, g);
		uint32_t first = before < FMT_GROUP_FIRST ? FMT_GROUP_FIRST : before;
		if (after > first) {
			h->groups[g].free += after - first;
			gained += after - first;
		}
		h->groups[g].changed = 1;
		h->groups[g].run_none = 0;
		lock_write_done(&h->lock);
	}
	/* release: whoever sees the size sees the map and the bitmaps */
	atomic_store_explicit(&h->pages, pages, memory_order_release);
	atomic_fetch_add_explicit(&h->free, gained, memory_order_relaxed);
	/* Who searched meanwhile did not know of the new pages. */
	lock_write(&h->lock);
	for (uint32_t g = old / FMT_GROUP_PAGES; g * (uint64_t)FMT_GROUP_PAGES < pages; g++)
		h->groups[g].run_none = 0;
	lock_write_done(&h->lock);
	return 0;
}

/* Gains at least `pages` or, where the disk has no more, at least `least`. */
static int grow_locked(struct heap *h, uint64_t pages, uint64_t least)
{
	uint64_t old = atomic_load_explicit(&h->pages, memory_order_relaxed);
	uint64_t more = old / 4;

	if (more < GROW_PAGES_MIN)
		more = GROW_PAGES_MIN;
	if (more > GROW_PAGES_MAX)
		more = GROW_PAGES_MAX;
	uint64_t wishes[] = {more > pages ? more : pages, pages, least}, step = 0;
	int rc = -ENOSPC;
	for (int i = 0; i < 3 && rc == -ENOSPC; i++) {
		if (step_for(old, wishes[i]) == step)
			continue;
		step = step_for(old, wishes[i]);
		rc = file_grow(h, old, step);
	}
	if (rc < 0)
		return rc;
	return groups_extend(h, old, old + step);
}

/* Sees to it that `pages` are free beyond what is promised. */
static int grow_for(struct heap *h, uint64_t pages, int only_missing)
{
	int rc = 0;

	pthread_mutex_lock(&h->grow);
	int64_t spare = heap_spare(h);
	if (spare < (int64_t)pages)
		rc = grow_locked(h, pages,
				 only_missing ? (uint64_t)((int64_t)pages - spare) : pages);
	pthread_mutex_unlock(&h->grow);
	return rc;
}

int heap_grow(struct heap *h, uint64_t pages)
{
	return grow_for(h, pages, 0);
}

int heap_grow_to_the_last(struct heap *h, uint64_t pages)
{
	return grow_for(h, pages, 1);
}

int heap_extend(struct heap *h, uint64_t pages)
{
	pthread_mutex_lock(&h->grow);
	int rc = grow_locked(h, pages, pages);
	pthread_mutex_unlock(&h->grow);
	return rc;
}

int heap_reach(struct heap *h, uint64_t pages, int read_only)
{
	uint64_t bytes;

	if (pages > (uint64_t)FMT_SPACE_MAX * FMT_GROUP_PAGES)
		return -EUCLEAN;
	pthread_mutex_lock(&h->grow);
	uint64_t old = atomic_load_explicit(&h->pages, memory_order_relaxed);
	int rc = pages > old ? h->io->ops->size(h->file, &bytes) : 0;
	if (rc == 0 && pages > old && bytes < pages * FMT_PAGE_SIZE)
		rc = -EUCLEAN;
	if (rc == 0 && pages * FMT_PAGE_SIZE > h->reserve)
		rc = -ENOMEM;
	if (rc == 0 && pages > old)
		rc = h->io->ops->map_grow(h->file, pages * FMT_PAGE_SIZE);
	if (rc == 0 && pages > old && read_only)
		atomic_store_explicit(&h->pages, pages, memory_order_release);
	else if (rc == 0 && pages > old)
		rc = groups_extend(h, old, pages);
	pthread_mutex_unlock(&h->grow);
	return rc;
}

int heap_sync(struct heap *h)
{
	pthread_mutex_lock(&h->syncing);
	if (!h->sync_failed)
		h->sync_failed = h->io->ops->sync(h->file);
	int rc = h->sync_failed;
	pthread_mutex_unlock(&h->syncing);
	return rc;
}

int heap_promise(struct heap *h, uint64_t pages, int64_t keep)
{
	/* relaxed: counts only; pages are handed out under the lock */
	atomic_fetch_add_explicit(&h->promised, pages, memory_order_relaxed);
	if (heap_spare(h) >= keep)
		return 0;
	heap_unpromise(h, pages);
	return -ENOSPC;
}

void heap_unpromise(struct heap *h, uint64_t pages)
{
	uint64_t before = atomic_fetch_sub_explicit(&h->promised, pages, memory_order_relaxed);

	CHECK(before >= pages);
}

void heap_reserve(struct heap *h, int64_t pages)
{
	uint64_t before =
		atomic_fetch_add_explicit(&h->reserved, (uint64_t)pages, memory_order_relaxed);

	CHECK(pages >= 0 || before >= (uint64_t)-pages);
}

/* Longest free run in the group from `from` on, up to `want`; ends the search at the first that is
 * long enough. */
static uint32_t run_find(const struct heap_group *g, uint32_t from, uint32_t extent, uint32_t want,
			 uint32_t least, uint32_t *first)
{
	uint32_t i = from;

	while (i < extent) {
		if (i % 8 == 0 && g->bits[i / 8] == 0xff) {
			i += 8;
			continue;
		}
		if (bit_get(g->bits, i)) {
			i++;
			continue;
		}
		uint32_t begin = i;
		while (i < extent && i - begin < want && !bit_get(g->bits, i))
			i++;
		if (i - begin >= least) {
			*first = begin;
			return i - begin;
		}
	}
	return 0;
}

/* Other bytes will come there. */
static void forget_pages(struct heap *h, uint64_t page, uint32_t count)
{
	for (uint64_t p = page; p < page + count; p++)
		atomic_fetch_and_explicit(&h->verified[p / 64], ~(1ull << (p % 64)),
					  memory_order_relaxed);
	heap_copies_forget(h, page, count);
	atomic_fetch_add_explicit(&h->turn, 1, memory_order_relaxed);
}

static void set_young(struct heap *h, uint64_t page, uint32_t count, int young)
{
	for (uint64_t p = page; p < page + count; p++) {
		uint64_t bit = 1ull << p % 64;
		/* relaxed: who gives the page up takes a lock before anybody looks */
		if (young)
			atomic_fetch_or_explicit(&h->young[p / 64], bit, memory_order_relaxed);
		else if (heap_young(h, p))
			atomic_fetch_and_explicit(&h->young[p / 64], ~bit, memory_order_relaxed);
	}
}

/* A run is `young` if a checkpoint takes it. */
static int run_take(struct heap *h, uint32_t want, uint32_t least, int young, uint64_t *page)
{
	uint32_t count = 0, first = 0;

	lock_write(&h->lock);
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_acquire);
	uint32_t groups = heap_groups(h);
	uint32_t start = h->cursor / FMT_GROUP_PAGES;
	for (uint32_t turn = 0; turn <= groups && !count; turn++) {
		uint32_t group = (start + turn) % groups;
		struct heap_group *g = &h->groups[group];
		if (g->free < least || (g->run_none && g->run_none <= least))
			continue;
		uint32_t from = turn == 0 ? h->cursor % FMT_GROUP_PAGES : FMT_GROUP_FIRST;
		count = run_find(g, from, heap_group_extent(pages, group), want, least, &first);
		if (!count) {
			if (turn)
				g->run_none = least;
			continue;
		}
		bits_set(g->bits, first, count);
		if (young || SEEDED_BUG(27)) {
			bits_set(g->disk, first, count);
			g->changed = 1;
		}
		g->free -= count;
		*page = (uint64_t)group * FMT_GROUP_PAGES + first;
		h->cursor = *page + count;
	}
	lock_write_done(&h->lock);
	if (!count)
		return -ENOSPC;
	forget_pages(h, *page, count);
	set_young(h, *page, count, young || SEEDED_BUG(23));
	return (int)count;
}

int heap_alloc(struct heap *h, uint32_t want, uint32_t least, uint64_t *page)
{
	return run_take(h, want, least, 1, page);
}

int heap_alloc_run(struct heap *h, uint32_t want, uint32_t least, uint64_t *page)
{
	return run_take(h, want, least, 0, page);
}

void heap_use_on_disk(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_group *g = &h->groups[page / FMT_GROUP_PAGES];
	uint32_t first = page % FMT_GROUP_PAGES;

	lock_write(&h->lock);
	for (uint32_t i = first; i < first + count; i++) {
		CHECK(bit_get(g->bits, i));
		g->changed |= !bit_get(g->disk, i);
	}
	bits_set(g->disk, first, count);
	lock_write_done(&h->lock);
}

void heap_set_aside(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_group *g = &h->groups[page / FMT_GROUP_PAGES];
	uint32_t first = page % FMT_GROUP_PAGES, taken = 0;

	lock_write(&h->lock);
	for (uint32_t i = first; i < first + count; i++)
		taken += !bit_get(g->bits, i);
	bits_set(g->bits, first, count);
	g->free -= taken;
	lock_write_done(&h->lock);
	atomic_fetch_sub_explicit(&h->free, taken, memory_order_relaxed);
}

void heap_settle(struct heap *h)
{
	uint64_t words = (atomic_load_explicit(&h->pages, memory_order_relaxed) + 63) / 64;

	for (uint64_t i = 0; i < words; i++)
		atomic_store_explicit(&h->young[i], 0, memory_order_relaxed);
}

uint64_t heap_free_runs(struct heap *h, uint64_t *items)
{
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_relaxed), runs = 0;

	lock_write(&h->lock);
	for (uint32_t group = 0; group < heap_groups(h); group++) {
		uint32_t extent = heap_group_extent(pages, group), first, count;
		for (uint32_t at = FMT_GROUP_FIRST;
		     (count = run_find(&h->groups[group], at, extent, extent, 1, &first));
		     at = first + count) {
			if (items)
				items[runs] = ((uint64_t)group * FMT_GROUP_PAGES + first) |
					      (uint64_t)count << 40;
			runs++;
		}
	}
	lock_write_done(&h->lock);
	return runs;
}

uint32_t heap_claim(struct heap *h, uint64_t from, uint32_t want, uint32_t least, uint64_t *page)
{
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_acquire);
	uint32_t count = 0, first = 0, at = from % FMT_GROUP_PAGES;

	lock_write(&h->lock);
	for (uint32_t group = from / FMT_GROUP_PAGES; group < heap_groups(h) && !count; group++) {
		struct heap_group *g = &h->groups[group];
		uint32_t begin = at < FMT_GROUP_FIRST ? FMT_GROUP_FIRST : at;
		if (g->free >= least)
			count = run_find(g, begin, heap_group_extent(pages, group), want, least,
					 &first);
		*page = (uint64_t)group * FMT_GROUP_PAGES + first;
		at = 0;
		if (!count)
			continue;
		bits_set(g->bits, first, count);
		g->free -= count;
	}
	lock_write_done(&h->lock);
	return count;
}

void heap_use_claimed(struct heap *h, uint64_t page, uint32_t count)
{
	heap_use_on_disk(h, page, count);
	forget_pages(h, page, count);
	set_young(h, page, count, 1);
}

void heap_take(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_group *g = &h->groups[page / FMT_GROUP_PAGES];

	lock_write(&h->lock);
	bits_set(g->bits, page % FMT_GROUP_PAGES, count);
	g->free -= count;
	lock_write_done(&h->lock);
	atomic_fetch_sub_explicit(&h->free, count, memory_order_relaxed);
}

void heap_free_on_disk(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_group *g = &h->groups[page / FMT_GROUP_PAGES];

	lock_write(&h->lock);
	bits_clear(g->disk, page % FMT_GROUP_PAGES, count);
	g->changed = 1;
	lock_write_done(&h->lock);
}

void heap_use(struct heap *h, uint32_t count)
{
	atomic_fetch_sub_explicit(&h->free, count, memory_order_relaxed);
}

static void pages_clear(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_group *g = &h->groups[page / FMT_GROUP_PAGES];

	lock_write(&h->lock);
	for (uint32_t i = 0; i < count; i++)
		CHECK(bit_get(g->bits, page % FMT_GROUP_PAGES + i));
	bits_clear(g->bits, page % FMT_GROUP_PAGES, count);
	g->free += count;
	g->run_none = 0;
	lock_write_done(&h->lock);
	forget_pages(h, page, count);
}

void heap_return(struct heap *h, uint64_t page, uint32_t count)
{
	heap_free_on_disk(h, page, count);
	pages_clear(h, page, count);
}

void heap_unclaim(struct heap *h, uint64_t page, uint32_t count)
{
	pages_clear(h, page, count);
}

void heap_free_now(struct heap *h, uint64_t page, uint32_t count)
{
	pages_clear(h, page, count);
	atomic_fetch_add_explicit(&h->free, count, memory_order_relaxed);
}

static void set_verified(struct heap *h, uint64_t page)
{
	atomic_fetch_or_explicit(&h->verified[page / 64], 1ull << (page % 64),
				 memory_order_relaxed);
	atomic_fetch_add_explicit(&h->checked, 1, memory_order_relaxed);
}

static int fault_or_damage(const struct heap *h, uint64_t faults)
{
	return faults != heap_faults(h) ? -EIO : -EUCLEAN;
}

/* Verifies a page's bytes, unless that was done since they were written. */
static int page_fits(struct heap *h, uint64_t reference, const struct fmt_page *p)
{
	uint64_t page = reference & FMT_ADDRESS_MASK;

	if (heap_verified(h, page))
		return 1;
	uint32_t crc = crc32c(0, (const uint8_t *)p + 4, FMT_PAGE_SIZE - 4);
	int fits = crc == p->crc && fmt_reference_fits(reference, crc);
	if ((!fits && !SEEDED_BUG(1)) || p->self != page || page_verify(p) < 0)
		return 0;
	set_verified(h, page);
	return 1;
}

/* Copies `length` bytes from the page on. Not after a fault: in the map there may be zeros for what the
 * file has, and what is verified is taken from there. */
static int copy_read(struct heap *h, void *to, uint32_t length, uint64_t page)
{
	return heap_faults(h) ? -EIO
			      : io_read_full(h->file, h->io, to, length, page * FMT_PAGE_SIZE);
}

/* The last page that a thread copied; what looks a key up often changes it next. It is still right when
 * no page was given out since. Not on the stack: handlers have 3 KiB. */
static _Thread_local struct {
	_Alignas(8) uint8_t bytes[FMT_PAGE_SIZE];
	uint64_t heap; /* its number, 0: none */
	uint64_t reference;
	uint64_t turn;
} last_copy;

int heap_page_is_brief(const struct fmt_page *page)
{
	return page == (const struct fmt_page *)last_copy.bytes;
}

/* A page of an unmapped piece: its copy. NULL: the map must tell, because a copy would not live long
 * enough, or something is wrong. */
static const struct fmt_page *page_copied(struct heap *h, uint64_t reference, int brief)
{
	uint64_t page = reference & FMT_ADDRESS_MASK;
	/* relaxed: a page that the caller can reach is not given out meanwhile */
	uint64_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);
	const struct fmt_page *copy = (const struct fmt_page *)last_copy.bytes;

	if (brief && last_copy.heap == h->number && last_copy.reference == reference &&
	    last_copy.turn == turn)
		return copy;
	const struct fmt_page *kept = heap_copy_find(h, page);
	if (kept || heap_map_admits(h, page))
		return kept;
	last_copy.heap = 0;
	if (copy_read(h, last_copy.bytes, FMT_PAGE_SIZE, page) < 0 ||
	    !page_fits(h, reference, copy))
		return NULL;
	if (copy->level)
		return heap_copy_keep(h, page, copy);
	last_copy.heap = h->number;
	last_copy.reference = reference;
	last_copy.turn = turn;
	return brief ? copy : NULL;
}

const struct fmt_page *heap_page_slow(struct heap *h, uint64_t reference, int brief, int *error)
{
	uint64_t page = reference & FMT_ADDRESS_MASK;

	if (page >= atomic_load_explicit(&h->pages, memory_order_acquire) || page == 0) {
		*error = -EUCLEAN;
		return NULL;
	}
	if (!heap_mapped(h, page)) {
		const struct fmt_page *copy = page_copied(h, reference, brief);
		if (copy)
			return copy;
		heap_map_use(h, page);
	}
	uint64_t faults = heap_faults(h);
	const struct fmt_page *p = (const void *)(h->base + page * FMT_PAGE_SIZE);
	if (page_fits(h, reference, p))
		return p;
	*error = fault_or_damage(h, faults);
	return NULL;
}

const struct fmt_scatter *heap_scatter(struct heap *h, uint64_t page, uint32_t count, int *error)
{
	uint64_t pages = atomic_load_explicit(&h->pages, memory_order_acquire);
	const struct fmt_scatter *list = (const void *)(h->base + page * FMT_PAGE_SIZE);

	*error = -EUCLEAN;
	if (page == 0 || page >= pages || count < 2 || count > FMT_VALUE_PAGES_MAX)
		return NULL;
	heap_map_use(h, page);
	uint64_t faults = heap_faults(h);
	if (heap_verified(h, page) && list->count == count)
		return list;
	if (crc32c(0, (const uint8_t *)list + 4, FMT_PAGE_SIZE - 4) != list->crc ||
	    list->self != page || list->count != count) {
		*error = fault_or_damage(h, faults);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		if (list->pages[i] == 0 || list->pages[i] >= pages)
			return NULL;
	set_verified(h, page);
	return list;
}

/* The bytes of a scattered value, one behind the other; they are verified each time. */
static const uint8_t *value_gather(struct heap *h, const struct fmt_value *value, uint8_t *gathered,
				   int *error)
{
	uint32_t count = fmt_value_pages(value);
	uint64_t faults = heap_faults(h);
	const struct fmt_scatter *list =
		heap_scatter(h, value->address & FMT_ADDRESS_MASK, count, error);

	if (!list)
		return NULL;
	for (uint32_t i = 0, at = 0; i < count; i++, at += FMT_PAGE_SIZE) {
		uint32_t left = value->stored - at;
		heap_map_use(h, list->pages[i]);
		memcpy(gathered + at, h->base + list->pages[i] * FMT_PAGE_SIZE,
		       left < FMT_PAGE_SIZE ? left : FMT_PAGE_SIZE);
	}
	if (crc32c(0, gathered, value->stored) == value->crc_stored || SEEDED_BUG(2))
		return gathered;
	*error = fault_or_damage(h, faults);
	return NULL;
}

static int value_fits(struct heap *h, const struct fmt_value *value, const uint8_t *bytes)
{
	uint64_t page = value->address & FMT_ADDRESS_MASK;

	if (heap_verified(h, page))
		return 1;
	if (crc32c(0, bytes, value->stored) != value->crc_stored && !SEEDED_BUG(2))
		return 0;
	set_verified(h, page);
	return 1;
}

/* Takes the faults that reading the bytes would meet: the caller looks at the count before he reads. */
static void value_touch(const uint8_t *bytes, uint32_t length)
{
	for (uint32_t at = 0; at < length; at += FMT_PAGE_SIZE)
		(void)*(const volatile uint8_t *)(bytes + at);
}

/* A value that does not lie in mapped pieces: copied to `copy`. NULL: they are mapped now. */
static const uint8_t *value_copied(struct heap *h, const struct fmt_value *value, uint8_t *copy)
{
	uint64_t page = value->address & FMT_ADDRESS_MASK, last = page + fmt_value_pages(value) - 1;

	if (copy && !heap_map_admits(h, page) && copy_read(h, copy, value->stored, page) == 0 &&
	    value_fits(h, value, copy))
		return copy;
	heap_map_use(h, page);
	heap_map_use(h, last);
	return NULL;
}

const uint8_t *heap_value(struct heap *h, const struct fmt_value *value, uint8_t *copy, int *error)
{
	uint64_t page = value->address & FMT_ADDRESS_MASK;
	uint64_t count = fmt_value_pages(value);

	*error = -EUCLEAN;
	if (value->stored > value->length || value->length > FMT_VALUE_MAX)
		return NULL;
	if (value->address & FMT_SCATTERED)
		return value_gather(h, value, copy, error);
	if (page == 0 || page + count > atomic_load_explicit(&h->pages, memory_order_acquire))
		return NULL;
	if (!heap_mapped(h, page) || !heap_mapped(h, page + count - 1)) {
		const uint8_t *copied = value_copied(h, value, copy);
		if (copied)
			return copied;
	}
	uint64_t faults = heap_faults(h);
	const uint8_t *bytes = h->base + page * FMT_PAGE_SIZE;
	int fits = value_fits(h, value, bytes);
	value_touch(bytes, value->stored);
	if (fits && faults == heap_faults(h))
		return bytes;
	*error = fault_or_damage(h, faults);
	return NULL;
}
