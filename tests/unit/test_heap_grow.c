/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   by how much the heap file grows (core/store/heap.h): a full disk gives its last pages, and
 *            what is there can be loaded.
 */
#include "core/store/heap.h"
#include "core/store/io_sim.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct sim *disk;

static void before(void)
{
	ck_assert_int_eq(sim_new(&disk), 0);
}

static void after(void)
{
	sim_free(disk);
}

/* An empty heap, on a disk that has room for so many pages; 0: for any number. */
static void heap_make(struct heap *h, uint64_t pages_max)
{
	struct io_file *file;
	struct io *io;

	sim_limit(disk, pages_max * FMT_PAGE_SIZE);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(io->ops->open(io, "heap", IO_WRITE | IO_CREATE, &file), 0);
	io->ops->close(file);
	ck_assert_int_eq(heap_open(h, io, 0, 256 << 20, 0), 0);
}

static void heap_end(struct heap *h)
{
	struct io *io = h->io;

	heap_close(h);
	ck_assert_int_eq(io->ops->unlink(io, "heap"), 0);
	io->ops->destroy(io);
}

/* Free pages and the disk's last ones are enough together, though neither is alone. */
START_TEST(a_full_disk_gives_what_is_missing)
{
	struct heap h;

	heap_make(&h, 100);
	ck_assert_int_eq(heap_grow(&h, 80), 0);
	ck_assert_int_eq(heap_promise(&h, 70, 0), 0);
	ck_assert_int_eq(heap_grow(&h, 20), -ENOSPC);
	ck_assert_int_eq(heap_grow_to_the_last(&h, 20), 0);
	ck_assert_int_eq(heap_promise(&h, 20, 0), 0);
	ck_assert_int_eq(heap_grow_to_the_last(&h, 20), -ENOSPC);
	heap_unpromise(&h, 90);
	heap_end(&h);
}
END_TEST

/* A checkpoint takes long runs, and uses their pages one by one. */
START_TEST(what_is_in_hand_is_not_missing)
{
	struct heap h;
	uint64_t page;

	heap_make(&h, 0);
	ck_assert_int_eq(heap_grow(&h, 100), 0);
	ck_assert_int_eq(heap_promise(&h, 90, 0), 0);
	ck_assert_int_eq(heap_alloc(&h, 80, 80, &page), 80);
	ck_assert_int_eq(heap_promise(&h, 10, 0), 0);
	ck_assert_int_eq(heap_promise(&h, 1, 0), -ENOSPC);
	heap_use(&h, 30);
	heap_unpromise(&h, 40);
	heap_return(&h, page + 30, 50);
	ck_assert_int_eq(heap_promise(&h, 10, 0), 0);
	ck_assert_int_eq(heap_promise(&h, 1, 0), -ENOSPC);
	heap_free_now(&h, page, 30);
	ck_assert_int_eq(heap_promise(&h, 30, 0), 0);
	heap_unpromise(&h, 100);
	heap_end(&h);
}
END_TEST

/* Both bitmaps of a group lie in the file, or the heap could not be loaded again. */
START_TEST(a_group_that_begins_has_its_bitmaps)
{
	for (uint64_t pages = FMT_GROUP_PAGES - 1; pages <= FMT_GROUP_PAGES + 3; pages++) {
		struct heap h;
		heap_make(&h, 0);
		ck_assert_int_eq(heap_extend(&h, pages - FMT_GROUP_FIRST), 0);
		ck_assert_uint_ge(atomic_load(&h.pages), pages);
		ck_assert_uint_gt(heap_group_extent(h.pages, heap_groups(&h) - 1), FMT_GROUP_FIRST);
		heap_end(&h);
	}
}
END_TEST

UNIT_MAIN_WITH("heap_grow", before, after, a_full_disk_gives_what_is_missing,
	       what_is_in_hand_is_not_missing, a_group_that_begins_has_its_bitmaps)
