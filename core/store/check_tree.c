/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   walks the trees from their roots: every page and every value is read and held against
 *            what its parent and the format say of it.
 * Invariants: a page is entered once (the `reached` bits) and only with a level below its parent's, so
 *            the walk ends whatever the bytes are. Keys that bound a subtree point into the buffers of
 *            the pages above, which stay as they are meanwhile.
 */
#include "core/store/check_inside.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <zstd.h>

void check_key_text(struct page_key key, char out[CHECK_KEY_TEXT])
{
	struct mneme_key k;
	int n;

	if (key.length < FMT_KEY_HEAD) {
		snprintf(out, CHECK_KEY_TEXT, "a key of %u bytes", key.length);
		return;
	}
	store_decode_key(key, &k);
	n = snprintf(out, CHECK_KEY_TEXT, "inode %llu, type 0x%02x", (unsigned long long)k.inode,
		     k.type);
	if (k.sub_length)
		n += snprintf(out + n, CHECK_KEY_TEXT - n, ", sub-key ");
	for (unsigned i = 0; i < k.sub_length && i < 16; i++)
		n += snprintf(out + n, CHECK_KEY_TEXT - n, "%02x", ((const uint8_t *)k.sub)[i]);
	if (k.sub_length > 16)
		snprintf(out + n, CHECK_KEY_TEXT - n, "...");
}

/* Marks the run as referred to: 0, or what forbids it. */
static const char *run_mark(struct check *c, uint64_t page, uint64_t count)
{
	uint64_t first = page % FMT_GROUP_PAGES;

	if (page >= c->pages || count > c->pages - page)
		return "lies behind the end of the heap";
	if (first < FMT_GROUP_FIRST || first + count > FMT_GROUP_PAGES)
		return "covers pages of the space map";
	for (uint64_t p = page; p < page + count; p++)
		if (check_reached(c, p))
			return "is referred to twice, or overlaps something else";
	for (uint64_t p = page; p < page + count; p++)
		c->reached[p / 64] |= 1ull << (p % 64);
	return NULL;
}

void check_unmark(struct check *c, uint64_t page, uint64_t count)
{
	for (uint64_t p = page; p < page + count; p++)
		c->reached[p / 64] &= ~(1ull << (p % 64));
}

/* ---- values ---- */

static const char *plain_problem(struct check *c, const struct fmt_value *v)
{
	const uint8_t *plain = c->stored;

	if (v->stored < v->length) {
		if (!(c->super.incompatible & FMT_INCOMPAT_ZSTD))
			return "is compressed in a store without compression";
		size_t n = ZSTD_decompress(c->plain, FMT_VALUE_MAX, c->stored, v->stored);
		if (ZSTD_isError(n) || n != v->length)
			return "cannot be decompressed";
		plain = c->plain;
	}
	return crc32c(0, plain, v->length) == v->crc_plain
		       ? NULL
		       : "has a wrong checksum of its plain bytes";
}

/* Reads the list of a scattered value's pages. */
static const char *scatter_read(struct check *c, const struct fmt_value *v,
				struct fmt_scatter *list)
{
	uint64_t page = v->address & FMT_ADDRESS_MASK;

	if (page >= c->pages)
		return "has a list of pages behind the end of the heap";
	if (check_read(c, c->stored, FMT_PAGE_SIZE, page * FMT_PAGE_SIZE) < 0)
		return "has a list of pages that cannot be read";
	memcpy(list, c->stored, sizeof *list);
	if (crc32c(0, c->stored + 4, FMT_PAGE_SIZE - 4) != list->crc)
		return "has a list of pages with a wrong checksum";
	if (list->self != page || list->count != fmt_value_pages(v) || list->count < 2)
		return "has a list of pages that is not its own";
	return NULL;
}

void check_unmark_value(struct check *c, const struct fmt_value *v)
{
	struct fmt_scatter list;

	if (!(v->address & FMT_SCATTERED)) {
		check_unmark(c, v->address & FMT_ADDRESS_MASK, fmt_value_pages(v));
		return;
	}
	if (scatter_read(c, v, &list))
		return;
	for (uint32_t i = 0; i < list.count; i++)
		check_unmark(c, list.pages[i], 1);
	check_unmark(c, list.self, 1);
}

/* Marks and reads a scattered value: its bytes are in c->stored. Nothing stays marked when a page is
 * not to be had. */
static const char *scattered_problem(struct check *c, const struct fmt_value *v,
				     struct check_seen *seen)
{
	struct fmt_scatter list;
	const char *problem = scatter_read(c, v, &list);

	if (!problem && !(c->super.incompatible & FMT_INCOMPAT_SCATTERED))
		problem = "is scattered in a store without such values";
	if (!problem)
		problem = run_mark(c, list.self, 1);
	if (problem)
		return problem;
	for (uint32_t i = 0; i < list.count; i++) {
		problem = run_mark(c, list.pages[i], 1);
		if (!problem)
			continue;
		while (i-- > 0)
			check_unmark(c, list.pages[i], 1);
		check_unmark(c, list.self, 1);
		return problem;
	}
	seen->marked = 1;
	for (uint32_t i = 0, at = 0; i < list.count; i++, at += FMT_PAGE_SIZE) {
		uint32_t left = v->stored - at;
		if (check_read(c, c->stored + at, left < FMT_PAGE_SIZE ? left : FMT_PAGE_SIZE,
			       list.pages[i] * FMT_PAGE_SIZE) < 0)
			return "cannot be read";
	}
	return NULL;
}

static const char *run_problem(struct check *c, const struct fmt_value *v, struct check_seen *seen)
{
	uint64_t page = v->address & FMT_ADDRESS_MASK;
	const char *problem = run_mark(c, page, fmt_value_pages(v));

	if (problem)
		return problem;
	seen->marked = 1;
	return check_read(c, c->stored, v->stored, page * FMT_PAGE_SIZE) < 0 ? "cannot be read"
									     : NULL;
}

static const char *value_problem(struct check *c, const struct fmt_value *v, uint64_t leaf_birth,
				 struct check_seen *seen)
{
	const char *problem;

	if (v->address & ~(FMT_ADDRESS_MASK | FMT_SCATTERED))
		return "has an address that is none";
	if (v->length > FMT_VALUE_MAX || v->stored > v->length || !v->stored)
		return "has a length that is not possible";
	problem = v->address & FMT_SCATTERED ? scattered_problem(c, v, seen)
					     : run_problem(c, v, seen);
	if (problem)
		return problem;
	if (crc32c(0, c->stored, v->stored) != v->crc_stored)
		return "has a wrong checksum";
	problem = plain_problem(c, v);
	if (problem)
		return problem;
	seen->soft = 1;
	return v->birth && v->birth <= leaf_birth ? NULL : "is younger than its leaf";
}

static const char *packed_problem(struct check *c, const uint8_t *cell, uint32_t bytes)
{
	struct fmt_packed head;

	memcpy(&head, cell, sizeof head);
	if (!(c->super.incompatible & FMT_INCOMPAT_PACKED))
		return "is packed in a store without such values";
	if (!head.length || head.length > FMT_PACKED_LENGTH_MAX ||
	    head.stored > bytes - sizeof head || head.dictionary != FMT_DICTIONARY)
		return "has a head that is not possible";
	if (!c->dictionary)
		return "is packed with a dictionary that cannot be read";
	size_t n = ZSTD_decompress_usingDDict(c->context, c->plain, head.length, cell + sizeof head,
					      head.stored, c->dictionary);
	if (ZSTD_isError(n) || n != head.length)
		return "cannot be decompressed";
	return crc32c(0, c->plain, n) == head.crc_plain ? NULL
							: "has a wrong checksum of its plain bytes";
}

static void check_packed(struct check *c, const struct fmt_page *leaf, unsigned position,
			 struct check_seen *seen)
{
	char key[CHECK_KEY_TEXT];
	uint32_t bytes;
	enum page_kind kind;
	const uint8_t *cell = page_value(leaf, position, &bytes, &kind);

	c->result->values += !c->mute;
	seen->problem = packed_problem(c, cell, bytes);
	if (!seen->problem)
		return;
	c->damaged |= 1ull << leaf->shard;
	check_key_text(page_key_at(leaf, position), key);
	check_find(c, CHECK_TREE, "shard %u, leaf %llu: the value of %s %s", leaf->shard,
		   (unsigned long long)leaf->self, key, seen->problem);
}

void check_value(struct check *c, const struct fmt_page *leaf, unsigned position,
		 struct check_seen *seen)
{
	char key[CHECK_KEY_TEXT];
	struct fmt_value v;
	uint32_t length;
	enum page_kind kind;
	const uint8_t *cell = page_value(leaf, position, &length, &kind);

	*seen = (struct check_seen){0};
	if (kind == PAGE_PACKED)
		check_packed(c, leaf, position, seen);
	if (kind != PAGE_INDIRECT)
		return;
	memcpy(&v, cell, sizeof v);
	c->result->values += !c->mute;
	seen->problem = value_problem(c, &v, leaf->birth, seen);
	if (!seen->problem)
		return;
	c->damaged |= 1ull << leaf->shard;
	check_key_text(page_key_at(leaf, position), key);
	check_find(c, CHECK_TREE, "shard %u, leaf %llu: the value of %s (%u bytes at page %llu) %s",
		   leaf->shard, (unsigned long long)leaf->self, key, v.length,
		   (unsigned long long)(v.address & FMT_ADDRESS_MASK), seen->problem);
}

/* ---- the dictionary ---- */

/* One copy: its bytes are in c->stored. */
static const char *copy_problem(struct check *c, const struct fmt_value *v, struct check_seen *seen)
{
	if (v->address & ~FMT_ADDRESS_MASK)
		return "has an address that is none";
	if (!v->length || v->length > FMT_DICTIONARY_MAX || v->stored != v->length)
		return "has a length that is not possible";
	const char *problem = run_problem(c, v, seen);
	if (problem)
		return problem;
	return crc32c(0, c->stored, v->stored) == v->crc_stored && v->crc_plain == v->crc_stored
		       ? NULL
		       : "has a wrong checksum";
}

static int dictionary_take(struct check *c, uint32_t length)
{
	if (c->dictionary)
		return 0;
	c->context = c->context ? c->context : ZSTD_createDCtx();
	c->dictionary = ZSTD_createDDict(c->stored, length);
	return c->context && c->dictionary ? 0 : -ENOMEM;
}

int check_dictionary(struct check *c)
{
	struct check_seen seen[2] = {0};
	int rc = 0;

	for (uint32_t i = 0; i < 2 && rc == 0; i++) {
		const struct fmt_value *v = &c->super.dictionary[i];
		if (!v->address)
			continue;
		seen[i].problem = copy_problem(c, v, &seen[i]);
		c->copies_damaged |= (uint32_t)(seen[i].problem != NULL) << i;
		c->copies_marked |= (uint32_t)seen[i].marked << i;
		if (!seen[i].problem)
			rc = dictionary_take(c, v->length);
	}
	/* Without the other copy packed values are lost with it. */
	for (uint32_t i = 0; i < 2; i++)
		if (seen[i].problem)
			check_find(c, c->dictionary ? CHECK_SPACE : CHECK_TREE,
				   "copy %u of the dictionary %s", i + 1, seen[i].problem);
	return rc < 0 ? check_refuse(c, rc, "out of memory") : 0;
}

/* ---- pages ---- */

static unsigned cell_bytes(const struct fmt_page *page, unsigned position)
{
	unsigned bytes = page_cell_head(page) + page_slots(page)[position].key_length;
	enum page_kind kind;

	return page->level ? bytes : bytes + page_payload(page_cell(page, position), &kind);
}

const char *check_inside(const struct fmt_page *page)
{
	unsigned cells = 0;

	if (sizeof *page + page->count * sizeof(struct fmt_slot) > page->top ||
	    page->top > FMT_PAGE_SIZE)
		return "its slots and cells overlap";
	if (page->level && !page->count)
		return "it is an inner page without children";
	for (unsigned i = 0; i < page->count; i++) {
		const struct fmt_slot *slot = &page_slots(page)[i];
		if (slot->offset < page->top || slot->offset + 2u > FMT_PAGE_SIZE ||
		    slot->key_length > FMT_KEY_MAX ||
		    slot->offset + cell_bytes(page, i) > FMT_PAGE_SIZE)
			return "a cell lies outside of it";
		if (!page->level && slot->key_length < FMT_KEY_HEAD)
			return "a key is too short";
		cells += cell_bytes(page, i);
	}
	if (cells + page->garbage != FMT_PAGE_SIZE - page->top)
		return "its cells overlap, or its count of dead bytes is wrong";
	for (unsigned i = page->level ? 2 : 1; i < page->count; i++)
		if (page_key_compare(page_key_at(page, i - 1), page_key_at(page, i)) >= 0)
			return "its keys are out of order";
	if (page->reserved || page_verify(page) < 0)
		return "its slots do not fit its keys";
	return NULL;
}

static const char *page_problem(struct check *c, const struct check_step *step,
				struct check_seen *seen)
{
	struct fmt_page *page = (struct fmt_page *)check_buffer(c, step->depth);
	uint64_t number = step->reference & FMT_ADDRESS_MASK;

	if (step->reference & FMT_DIRTY)
		return "is a reference that only memory has";
	const char *problem = run_mark(c, number, 1);
	if (problem)
		return problem;
	seen->marked = 1;
	int rc = check_read(c, page, FMT_PAGE_SIZE, number * FMT_PAGE_SIZE);
	if (rc < 0)
		return rc == -EIO ? "cannot be read: the disk failed" : "cannot be read";
	uint32_t crc = crc32c(0, (uint8_t *)page + 4, FMT_PAGE_SIZE - 4);
	if (crc != page->crc)
		return "has a wrong checksum";
	if (page->self != number)
		return "was written for another place";
	if (!fmt_reference_fits(step->reference, crc))
		return "is whole, but not the one that its parent means: it is an old one";
	if (page->shard != step->shard)
		return "belongs to another shard";
	if (page->level > TREE_HEIGHT_MAX || (step->level >= 0 && page->level != step->level))
		return "has a level that does not fit its parent";
	problem = check_inside(page);
	if (problem)
		return problem;
	seen->soft = 1;
	return page->birth && page->birth <= step->birth ? NULL
							 : "is younger than the page above it";
}

void check_page(struct check *c, const struct check_step *step, struct check_seen *seen)
{
	*seen = (struct check_seen){0};
	seen->problem = page_problem(c, step, seen);
	if (!seen->problem)
		return;
	c->damaged |= 1ull << step->shard;
	check_find(c, CHECK_TREE, "shard %u, page %llu %s", step->shard,
		   (unsigned long long)(step->reference & FMT_ADDRESS_MASK), seen->problem);
}

static int key_inside(const struct check_step *step, struct page_key key)
{
	return !(step->bounds.low.bytes && page_key_compare(key, step->bounds.low) < 0) &&
	       !(step->bounds.high.bytes && page_key_compare(key, step->bounds.high) >= 0);
}

static uint32_t shard_of(const struct check *c, struct page_key key)
{
	uint64_t inode;

	memcpy(&inode, key.bytes, sizeof inode);
	return __builtin_bswap64(inode) & (c->super.shards - 1);
}

int check_key_fits(const struct check *c, const struct check_step *step, struct page_key key)
{
	return key_inside(step, key) && shard_of(c, key) == step->shard;
}

/* Keys inside of the bounds and of the shard: reported once a page for each kind. */
static void check_keys(struct check *c, const struct fmt_page *page, const struct check_step *step)
{
	int bounds_told = 0, shard_told = 0;
	char text[CHECK_KEY_TEXT];

	for (unsigned i = page->level ? 1 : 0; i < page->count; i++) {
		struct page_key key = page_key_at(page, i);
		int inside = key_inside(step, key);
		int at_home = page->level || shard_of(c, key) == step->shard;
		if (inside && at_home)
			continue;
		c->damaged |= 1ull << step->shard;
		check_key_text(key, text);
		if (!inside && !bounds_told++)
			check_find(c, CHECK_TREE,
				   "shard %u, page %llu: %s is outside of what its parent says",
				   step->shard, (unsigned long long)page->self, text);
		if (!at_home && !shard_told++)
			check_find(c, CHECK_TREE,
				   "shard %u, page %llu: %s belongs to another shard", step->shard,
				   (unsigned long long)page->self, text);
	}
}

struct check_step check_child(const struct check_step *step, const struct fmt_page *page,
			      unsigned position)
{
	struct check_step below = {.reference = page_child(page, position),
				   .bounds = step->bounds,
				   .birth = page->birth,
				   .level = page->level - 1,
				   .shard = step->shard,
				   .depth = step->depth + 1};

	if (position)
		below.bounds.low = page_key_at(page, position);
	if (position + 1 < page->count)
		below.bounds.high = page_key_at(page, position + 1);
	return below;
}

/* Recursion is as deep as levels are high: at most CHECK_DEPTH_MAX. */
static void walk(struct check *c, const struct check_step *step)
{
	const struct fmt_page *page = (const void *)check_buffer(c, step->depth);
	struct check_seen seen;

	check_page(c, step, &seen);
	if (seen.problem && !seen.soft) {
		c->lost++;
		return;
	}
	c->result->pages += !c->mute;
	check_keys(c, page, step);
	for (unsigned i = 0; page->level && i < page->count; i++) {
		struct check_step below = check_child(step, page, i);
		walk(c, &below);
	}
	if (page->level)
		return;
	c->result->keys += c->mute ? 0 : page->count;
	for (unsigned i = 0; i < page->count; i++)
		check_value(c, page, i, &seen);
}

void check_shard(struct check *c, uint32_t shard)
{
	struct check_step root = {.reference = c->super.roots[shard],
				  .birth = c->super.generation,
				  .level = -1,
				  .shard = shard};

	if (root.reference)
		walk(c, &root);
}

int check_trees(struct check *c)
{
	int rc = check_dictionary(c);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < c->super.shards; i++)
		check_shard(c, i);
	for (uint32_t i = c->super.shards; i < FMT_SHARDS_MAX; i++)
		if (c->super.roots[i])
			check_find(c, CHECK_SUPER, "the superblock names a root for shard %u of %u",
				   i, c->super.shards);
	return 0;
}
