/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the heap file: which pages are free, where they are mapped, which were verified.
 * Invariants: `bits` has a page set while anything may still read it: the last durable checkpoint,
 *            the open epoch, a record of the log that may be replayed, a reader (held.h). `disk` is what
 *            the next checkpoint will write: pages freed in the epoch that it closes are clear there
 *            already, and the runs of the open epoch are not set yet. So a page that the last
 *            durable superblock reaches is never handed out. Free pages promised to dirty slots
 *            (`promised`) never exceed the free pages there are, those that the checkpoint has in hand
 *            among them, and a slot's promise is enough to place it page by page, so a checkpoint never
 *            lacks space, however the free pages lie.
 * Threading: `free`, `promised` are atomic; bitmaps have the lock; the map is read without one. The
 *            verified bitmap is atomic: two threads may verify the same page; `young` is: commits take
 *            pages while a checkpoint looks.
 * Failure:   -ENOSPC, -EIO, -EUCLEAN.
 */
#ifndef MNEME_CORE_STORE_HEAP_H
#define MNEME_CORE_STORE_HEAP_H

#include "core/store/fmt.h"
#include "core/store/heap_map.h"
#include "core/store/io.h"
#include "pool/lock.h"

#include <pthread.h>
#include <stdatomic.h>

struct heap_group {
	uint8_t *bits;        /* [lock] 4064 bytes: in use */
	uint8_t *disk;        /* [lock] what is written next */
	uint32_t free;        /* [lock] by bits */
	uint32_t run_none;    /* [lock] no run of that many pages is free; 0: unknown */
	uint8_t copy;         /* [checkpoint] the durable one */
	uint8_t changed;      /* [lock] disk differs from what is durable */
	uint32_t crc;         /* [checkpoint] of the durable bitmap page */
	uint32_t disk_free;   /* [checkpoint] free pages in it */
	uint32_t disk_extent; /* [checkpoint] pages of the group when that was counted */
};

struct heap {
	struct io *io;             /* [I] */
	struct io_file *file;      /* [I] */
	const uint8_t *base;       /* [I] of the map */
	struct heap_map map;       /* which of its pieces are used */
	uint64_t reserve;          /* [I] bytes of the map's address range */
	uint64_t number;           /* [I] no other heap of the process has or had it */
	_Atomic uint64_t pages;    /* [A] of the file that are mapped and may be used; grows */
	struct heap_group *groups; /* [I] address range for FMT_SPACE_MAX */
	_Atomic uint64_t
		*verified; /* [A] a bit a page: bytes were checked since they were written */
	_Atomic uint64_t
		*young; /* [A] a bit a page: handed out since heap_settle(), and by heap_alloc() */
	struct lock lock;
	uint64_t cursor;       /* [lock] where the last search ended */
	_Atomic uint64_t free; /* [A] pages that can be handed out, or were and are not used yet */
	_Atomic uint64_t promised; /* [A] of them, to dirty slots */
	_Atomic uint64_t reserved; /* [A] of them, set aside for values to come: reserve.h */
	_Atomic uint64_t checked;  /* [A] pages verified, for statistics */
	_Atomic uint64_t faulted;  /* [A] reads of the map that the disk refused */
	_Atomic uint64_t turn;     /* [A] changes whenever pages are given out or back */
	pthread_mutex_t grow;      /* one grower at a time; held over I/O, no other lock inside */
	pthread_mutex_t syncing;   /* one sync at a time */
	int sync_failed;           /* [syncing] -errno of the first that failed */
};

/* Opens STORE/heap and maps `pages` of it. The bitmaps come by heap_load_group; who only reads needs
 * none. */
int heap_open(struct heap *h, struct io *io, int read_only, uint64_t reserve, uint64_t pages);
void heap_close(struct heap *h);
/* Pages of the group that lie inside a file of `pages`. */
uint32_t heap_group_extent(uint64_t pages, uint32_t group);
/* Takes over the durable bitmap of a group; `space` is its entry in the space table. */
int heap_load_group(struct heap *h, uint32_t group, const struct fmt_space *space);
/* Makes the file larger by about `pages` (at least that much is free afterwards) or -ENOSPC. */
int heap_grow(struct heap *h, uint64_t pages);
/* The same where the disk has not even `pages` any more: takes as many as those that are free lack. Only
 * when nothing else gives room, because then the next one wants some of the disk too. */
int heap_grow_to_the_last(struct heap *h, uint64_t pages);
/* Makes it larger by at least `pages` even where that many are free: they are no run. */
int heap_extend(struct heap *h, uint64_t pages);
/* Sees to it that the first `pages` of the file, which has them, may be used. -EUCLEAN: it has not. */
int heap_reach(struct heap *h, uint64_t pages, int read_only);
/* Makes the file's data durable. The kernel tells of a failure once: it is kept for who asks next. */
int heap_sync(struct heap *h);
/* Promises free pages that are not set aside, keeping `keep` back (negative: as many of those may be
 * taken, heap_reserve() follows): 0 or -ENOSPC (nothing is promised then). */
int heap_promise(struct heap *h, uint64_t pages, int64_t keep);
void heap_unpromise(struct heap *h, uint64_t pages);
/* Sets aside that many more pages, which were promised, or (negative) fewer. */
void heap_reserve(struct heap *h, int64_t pages);
/* Hands out up to `want` pages in one run, at least `least`: the count, or -ENOSPC. They count as free
 * until each is used, when its slot is placed, or returned: they are still promised, and who asks for
 * room meanwhile must not miss them. */
int heap_alloc(struct heap *h, uint32_t want, uint32_t least, uint64_t *page);
void heap_use(struct heap *h, uint32_t count);
void heap_return(struct heap *h, uint64_t page, uint32_t count);
/* The same for values that the log will name (runs.h): the pages are not young, and `disk` learns of them
 * by heap_use_on_disk() from the checkpoint that closes their epoch. */
int heap_alloc_run(struct heap *h, uint32_t want, uint32_t least, uint64_t *page);
void heap_use_on_disk(struct heap *h, uint64_t page, uint32_t count);
/* Takes pages that the log names out of use, those that are not yet. [recovery] */
void heap_set_aside(struct heap *h, uint64_t page, uint32_t count);
/* What was handed out up to now is reached by the durable superblock: no page is young. [checkpoint] */
void heap_settle(struct heap *h);
/* The runs of free pages, as items of a freed_list (store.h): how many; `items` may be NULL. */
uint64_t heap_free_runs(struct heap *h, uint64_t *items);
/* Takes the first run of at least `least` free pages from `from` on, inside of one group, and at most
 * `want` of it: how many; 0: there is none. They count as free, and heap_unclaim() gives them back. */
uint32_t heap_claim(struct heap *h, uint64_t from, uint32_t want, uint32_t least, uint64_t *page);
void heap_unclaim(struct heap *h, uint64_t page, uint32_t count);
/* Pages that were claimed are from now on as heap_alloc() hands them out. [checkpoint] */
void heap_use_claimed(struct heap *h, uint64_t page, uint32_t count);
/* Takes a run of free pages out of use, in memory alone, until heap_free_now(). */
void heap_take(struct heap *h, uint64_t page, uint32_t count);
/* Freed in the epoch being closed: not in the next checkpoint, but still not to be handed out. */
void heap_free_on_disk(struct heap *h, uint64_t page, uint32_t count);
/* Can be handed out again. */
void heap_free_now(struct heap *h, uint64_t page, uint32_t count);

/* Pages that may be promised; negative: what is set aside or promised is not there. */
static inline int64_t heap_spare(const struct heap *h)
{
	/* relaxed: counts only */
	return (int64_t)(atomic_load_explicit(&((struct heap *)h)->free, memory_order_relaxed) -
			 atomic_load_explicit(&((struct heap *)h)->promised, memory_order_relaxed) -
			 atomic_load_explicit(&((struct heap *)h)->reserved, memory_order_relaxed));
}

static inline uint32_t heap_groups(const struct heap *h)
{
	return (atomic_load_explicit(&((struct heap *)h)->pages, memory_order_acquire) +
		FMT_GROUP_PAGES - 1) /
	       FMT_GROUP_PAGES;
}

/* Is it the copy that is valid until this thread's next brief page? */
int heap_page_is_brief(const struct fmt_page *page);
/* heap_page() where that takes more than a look. */
const struct fmt_page *heap_page_slow(struct heap *h, uint64_t reference, int brief, int *error);
/* The stored bytes of a value, verified. NULL: *error. Those of a scattered one, and of one in a part of
 * the heap that is not mapped, are put together in `copy`, FMT_VALUE_MAX bytes (NULL: there is none; such
 * a part is mapped then). */
const uint8_t *heap_value(struct heap *h, const struct fmt_value *value, uint8_t *copy, int *error);
/* The list of a scattered value's `count` pages, verified: all lie in the heap. NULL: *error. */
const struct fmt_scatter *heap_scatter(struct heap *h, uint64_t page, uint32_t count, int *error);

/* Does neither a durable superblock nor the log reach the page? [checkpoint] */
static inline int heap_young(const struct heap *h, uint64_t page)
{
	/* relaxed: who gave the page up held a lock since it was taken */
	return atomic_load_explicit(&h->young[page / 64], memory_order_relaxed) >> (page % 64) & 1;
}

static inline int heap_verified(const struct heap *h, uint64_t page)
{
	/* relaxed: the bytes are immutable while they can be read */
	return atomic_load_explicit(&h->verified[page / 64], memory_order_relaxed) >> (page % 64) &
	       1;
}

/* Is the page read through the map? */
static inline int heap_mapped(const struct heap *h, uint64_t page)
{
	/* relaxed: the map is there in any case; this only keeps it small */
	return atomic_load_explicit(&h->map.pieces[page / HEAP_PIECE_PAGES].mapped,
				    memory_order_relaxed);
}

/* The tree page of a reference, verified: CRC, address, structure. Borrowed until the shard is
 * unlocked; a `brief` leaf only until the thread's next brief one. NULL: *error is -EUCLEAN or -EIO; a
 * page that was verified does not fail. */
static inline const struct fmt_page *heap_page(struct heap *h, uint64_t reference, int brief,
					       int *error)
{
	uint64_t page = reference & FMT_ADDRESS_MASK;

	if (__builtin_expect(page < atomic_load_explicit(&h->pages, memory_order_relaxed) &&
				     heap_mapped(h, page) && heap_verified(h, page),
			     1))
		return (const struct fmt_page *)(h->base + page * FMT_PAGE_SIZE);
	return heap_page_slow(h, reference, brief, error);
}

#endif
