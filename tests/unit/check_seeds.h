/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   edits the bytes of a closed store on the simulated disk, so that everything but the edit
 *            still fits together: checksums and references are made right again by image_seal().
 * Threading: one thread.
 */
#ifndef MNEME_TESTS_CHECK_SEEDS_H
#define MNEME_TESTS_CHECK_SEEDS_H

#include "core/store/io_sim.h"
#include "core/store/page.h"
#include "simd/crc32c.h"

#include <check.h>
#include <string.h>

struct image {
	struct sim *sim;
	uint8_t *heap, *super_file;
	uint64_t heap_size;
	struct fmt_super *super; /* the newest one */
	struct fmt_super *other; /* the one in the other place: mostly the same again */
	struct fmt_space *table; /* its own */
};

static inline uint32_t super_crc(const struct fmt_super *super)
{
	uint8_t page[FMT_PAGE_SIZE] = {0};

	memcpy(page, super, sizeof *super);
	((struct fmt_super *)page)->crc = 0;
	return crc32c(0, page, sizeof page);
}

static inline void image_open(struct image *image, struct sim *sim)
{
	uint64_t size;
	struct fmt_super *b;

	image->sim = sim;
	ck_assert_int_eq(sim_file(sim, "heap", &image->heap, &image->heap_size), 0);
	ck_assert_int_eq(sim_file(sim, "super", &image->super_file, &size), 0);
	image->super = (struct fmt_super *)image->super_file;
	b = (struct fmt_super *)(image->super_file + FMT_PAGE_SIZE);
	image->other = b;
	if (b->generation > image->super->generation) {
		image->other = image->super;
		image->super = b;
	}
	image->table =
		(struct fmt_space *)(image->super_file +
				     FMT_SPACE_OFFSET * (1 + (image->super->generation & 1)));
}

static inline struct fmt_page *image_page(const struct image *image, uint64_t reference)
{
	return (struct fmt_page *)(image->heap + (reference & FMT_ADDRESS_MASK) * FMT_PAGE_SIZE);
}

static inline struct fmt_bitmap *image_bitmap(const struct image *image)
{
	return (struct fmt_bitmap *)(image->heap + image->table[0].copy * FMT_PAGE_SIZE);
}

/* Makes the checksums below a reference right again, but for the page `skip`. */
static inline uint64_t seal_page(const struct image *image, uint64_t reference, uint64_t skip)
{
	struct fmt_page *page = image_page(image, reference);
	uint64_t number = reference & FMT_ADDRESS_MASK;

	if (number == skip || number >= image->super->heap_pages)
		return reference;
	for (unsigned i = 0; page->level && i < page->count; i++)
		page_set_child(page, i, seal_page(image, page_child(page, i), skip));
	page->crc = crc32c(0, (uint8_t *)page + 4, FMT_PAGE_SIZE - 4);
	return fmt_reference(number, page->crc);
}

static inline void image_seal(const struct image *image, uint64_t skip)
{
	struct fmt_bitmap *bitmap = image_bitmap(image);

	for (uint32_t i = 0; i < image->super->shards; i++)
		if (image->super->roots[i])
			image->super->roots[i] = seal_page(image, image->super->roots[i], skip);
	bitmap->crc = crc32c(0, (uint8_t *)bitmap + 4, FMT_PAGE_SIZE - 4);
	image->table[0].crc = bitmap->crc;
	image->super->space_crc =
		crc32c(0, image->table, image->super->space_groups * sizeof image->table[0]);
	image->super->crc = super_crc(image->super);
	if (image->other->generation == image->super->generation)
		*image->other = *image->super;
}

/* The page of that level on the path through the children `turn` (or the last one). */
static inline struct fmt_page *image_descend(const struct image *image, uint32_t shard,
					     unsigned level, unsigned turn)
{
	struct fmt_page *page = image_page(image, image->super->roots[shard]);

	while (page->level > level)
		page = image_page(image,
				  page_child(page, turn < page->count ? turn : page->count - 1u));
	ck_assert_uint_eq(page->level, level);
	return page;
}

/* Cells lie at any address. */
struct value_in_place {
	struct fmt_value v;
} __attribute__((packed));

/* The nth value outside of its leaf, in the tree of a shard. */
static inline struct value_in_place *image_value(const struct image *image, uint64_t reference,
						 unsigned *skip)
{
	struct fmt_page *page = image_page(image, reference);
	struct value_in_place *found = NULL;

	for (unsigned i = 0; i < page->count && !found; i++) {
		uint32_t length;
		enum page_kind kind;
		if (page->level) {
			found = image_value(image, page_child(page, i), skip);
			continue;
		}
		const uint8_t *value = page_value(page, i, &length, &kind);
		if (kind == PAGE_INDIRECT && !(*skip)--)
			found = (struct value_in_place *)(uintptr_t)value;
	}
	return found;
}

/* A sum over the bytes of all files. */
struct files_sum {
	struct sim *sim;
	uint64_t sum;
};

static inline void files_add(void *arg, const char *name, uint64_t size)
{
	struct files_sum *s = arg;
	uint8_t *bytes;

	if (sim_file(s->sim, name, &bytes, &size) == 0)
		s->sum += (crc32c(crc32c(0, name, strlen(name)), bytes, size) + 1ull) * (size + 1);
}

static inline uint64_t files_sum(struct sim *sim)
{
	struct files_sum s = {.sim = sim};

	sim_each_file(sim, files_add, &s);
	return s.sum;
}

#endif
