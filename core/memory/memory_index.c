/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the search indexes in memory: kept in line with the records, built from them at open.
 * Threading: `index` for writing while a file's parts change, so that a search sees all or nothing.
 */
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { DEAD_LEAST = 20000 };

/* Dead texts cost memory and search time: once there are many, the living ones move. [index] */
static void compact_if_due(struct memory *mem)
{
	struct lexical_stats words;
	struct lexical *lexical;

	lexical_get_stats(mem->lexical, &words);
	if (words.deleted > DEAD_LEAST && words.deleted > words.passages / 2 &&
	    lexical_compact(mem->lexical, &lexical) == 0) {
		lexical_free(mem->lexical);
		mem->lexical = lexical;
	}
	if (mem->vectors && collection_wants_build(mem->vectors))
		memory_upkeep_poke(mem);
}

static unsigned owner_delete(struct memory *mem, uint64_t inode)
{
	unsigned deleted = lexical_delete(mem->lexical, inode);

	if (mem->vectors)
		collection_delete(mem->vectors, inode);
	return deleted;
}

void memory_index_remove(struct memory *mem, uint64_t inode)
{
	pthread_rwlock_wrlock(&mem->index);
	if (owner_delete(mem, inode))
		atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
	compact_if_due(mem);
	pthread_rwlock_unlock(&mem->index);
}

int memory_index_put(struct memory *mem, uint64_t inode, uint64_t version,
		     const struct words_bag *words, uint32_t parts, const float *vectors)
{
	pthread_rwlock_wrlock(&mem->index);
	unsigned deleted = owner_delete(mem, inode);
	int rc = lexical_put(mem->lexical, inode, 0, words);
	for (uint32_t i = 0; vectors && i < parts && rc == 0; i++)
		rc = collection_put(mem->vectors, inode, i, version,
				    vectors + (size_t)i * mem->dim);
	if (rc < 0)
		owner_delete(mem, inode);
	if (rc == 0 && !deleted)
		atomic_fetch_add_explicit(&mem->files, 1, memory_order_relaxed);
	else if (rc < 0 && deleted)
		atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
	compact_if_due(mem);
	pthread_rwlock_unlock(&mem->index);
	return rc;
}

/* ---- at open ---- */

struct load {
	struct memory *mem;
	uint64_t *inodes; /* of a shard, found in one walk: number and version in turn */
	uint32_t count, capacity;
	int rc;
};

static int load_inode(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct load *l = arg;
	struct names_inode inode;

	if (key->type != MNEME_TYPE_INODE || length < sizeof inode)
		return 0;
	memcpy(&inode, value, sizeof inode);
	if (inode.state & NAMES_HAS_ROBOTS)
		atomic_store_explicit(&l->mem->hides, 1, memory_order_relaxed);
	if (!S_ISREG(inode.mode) || !inode.nlink)
		return 0;
	if (l->count == l->capacity) {
		uint32_t capacity = l->capacity ? 2 * l->capacity : 4096;
		void *more = alloc_resize(l->inodes, 2 * capacity * sizeof l->inodes[0]);
		if (!more)
			return -ENOMEM;
		l->inodes = more;
		l->capacity = capacity;
	}
	l->inodes[2 * l->count] = key->inode;
	l->inodes[2 * l->count + 1] = inode.version;
	l->count++;
	return 0;
}

/* Where a file's last part ends: its words are taken from what is before. */
static int load_part(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	uint64_t *end = arg;
	struct memory_part part;

	if (key->sub_length != 4 || length != sizeof part)
		return 0;
	memcpy(&part, value, sizeof part);
	*end = part.end > *end ? part.end : *end;
	return 0;
}

/* Puts a file into the indexes from its records and bytes. */
static int load_parts(struct memory *mem, uint64_t inode, const struct memory_state *state)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_PASSAGE), last = first;
	float *vectors = NULL;
	uint64_t end = 0;
	int rc = 0;

	if (mem->dim)
		vectors = alloc_get((size_t)state->parts * mem->dim * sizeof *vectors);
	if (mem->dim && !vectors)
		return -ENOMEM;
	for (uint32_t i = 0; vectors && i < state->parts && rc == 0; i++) {
		uint32_t dim = 0;
		rc = memory_vector(mem, inode, i, vectors + (size_t)i * mem->dim, mem->dim, &dim);
		if (rc == 0 && dim != mem->dim)
			rc = -EUCLEAN;
	}
	last.type++;
	if (rc == 0)
		rc = mneme_scan(mem->engine, &first, &last, 0, load_part, &end);
	if (rc == 0)
		rc = memory_words_count(mem, mem->work.words, inode, end, &mem->work.bag);
	if (rc == 0)
		rc = memory_index_put(mem, inode, state->version, &mem->work.bag, state->parts,
				      vectors);
	alloc_free(vectors);
	return rc;
}

static int load_file(struct memory *mem, uint64_t inode, uint64_t version)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_PASSAGE);
	uint8_t value[sizeof(struct memory_state) + MEMORY_REASON_MAX + 1];
	struct memory_state state;
	size_t length;
	int rc = mneme_get(mem->engine, &key, value, sizeof value - 1, &length);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && length >= sizeof state) {
		memcpy(&state, value, sizeof state);
		int same_model = state.model == mem->model && state.dim == mem->dim;
		value[length] = 0;
		int hidden = memory_is_hidden(mem, inode);
		int said = !strcmp((char *)value + sizeof state, MEMORY_HIDDEN);
		if (state.version == version && state.status == MEMORY_SKIPPED && hidden == said)
			return 0;
		if (state.version == version && state.status == MEMORY_INDEXED && same_model &&
		    !hidden && state.parts <= MEMORY_PARTS_MAX) {
			rc = state.parts ? load_parts(mem, inode, &state) : 0;
			if (rc == 0 || rc == -ENOMEM)
				return rc;
		}
	}
	return mem->read_only ? 0 : pending_add(&mem->pending, inode, 0);
}

/* All regular files, from one walk of each shard. */
static int load_walk(struct load *l)
{
	int rc = 0;

	for (uint32_t shard = 0; shard < mneme_shards(l->mem->engine) && rc == 0; shard++) {
		struct mneme_key first = {.inode = shard, .type = 0};
		struct mneme_key last = {.inode = UINT64_MAX, .type = 0xff};
		rc = mneme_scan(l->mem->engine, &first, &last, 0, load_inode, l);
	}
	return rc;
}

int memory_index_load(struct memory *mem)
{
	struct load l = {.mem = mem};
	int rc = load_walk(&l);

	for (uint32_t i = 0; i < l.count && rc == 0; i++)
		rc = load_file(mem, l.inodes[2 * i], l.inodes[2 * i + 1]);
	alloc_free(l.inodes);
	return rc;
}

int memory_index_review(struct memory *mem)
{
	struct load l = {.mem = mem};
	char reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	int rc = load_walk(&l);

	for (uint32_t i = 0; i < l.count && rc == 0; i++) {
		uint64_t inode = l.inodes[2 * i];
		if (memory_state_get(mem, inode, &state, reason) < 0)
			continue; /* it is pending anyhow, or gone */
		if (memory_is_hidden(mem, inode) != !strcmp(reason, MEMORY_HIDDEN))
			rc = pending_add(&mem->pending, inode, 0);
	}
	alloc_free(l.inodes);
	return rc;
}
