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

enum { COMPACT_AFTER = 20000, LOAD_BATCH = 256 };

/* Dead passages cost memory and search time: once there are many, the living ones move. [index] */
static void compact_if_due(struct memory *mem, unsigned deleted)
{
	struct lexical_stats words;
	struct vectors_stats rows;

	mem->deleted += deleted;
	if (mem->deleted < COMPACT_AFTER)
		return;
	lexical_get_stats(mem->lexical, &words);
	if (mem->deleted < words.passages / 2)
		return;
	struct lexical *lexical;
	if (lexical_compact(mem->lexical, &lexical) == 0) {
		lexical_free(mem->lexical);
		mem->lexical = lexical;
	}
	if (mem->vectors) {
		struct vectors *vectors;
		vectors_get_stats(mem->vectors, &rows);
		if (vectors_compact(mem->vectors, &vectors) == 0) {
			vectors_free(mem->vectors);
			mem->vectors = vectors;
		}
	}
	mem->deleted = 0;
}

static unsigned owner_delete(struct memory *mem, uint64_t inode)
{
	unsigned deleted = lexical_delete(mem->lexical, inode);

	if (mem->vectors)
		vectors_delete(mem->vectors, inode);
	return deleted;
}

void memory_index_remove(struct memory *mem, uint64_t inode)
{
	pthread_rwlock_wrlock(&mem->index);
	unsigned deleted = owner_delete(mem, inode);
	if (deleted)
		atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
	compact_if_due(mem, deleted);
	pthread_rwlock_unlock(&mem->index);
}

int memory_index_put(struct memory *mem, uint64_t inode, uint64_t version, uint32_t parts,
		     const struct memory_text *texts, const float *vectors)
{
	struct words_bag *bags = alloc_zeroed(parts, sizeof *bags);
	int rc = bags ? 0 : -ENOMEM;

	/* Words are counted before the lock: a search waits for the insertion only. */
	for (uint32_t i = 0; i < parts && rc == 0; i++)
		rc = words_count(mem->work.words, texts[i].text, texts[i].length, &bags[i]);
	if (rc == 0) {
		pthread_rwlock_wrlock(&mem->index);
		unsigned deleted = owner_delete(mem, inode);
		for (uint32_t i = 0; i < parts && rc == 0; i++) {
			rc = lexical_put(mem->lexical, inode, i, &bags[i]);
			if (rc == 0 && vectors)
				rc = vectors_put(mem->vectors, inode, i, version,
						 vectors + (size_t)i * mem->dim, NULL);
		}
		if (rc < 0)
			owner_delete(mem, inode);
		else if (!deleted)
			atomic_fetch_add_explicit(&mem->files, 1, memory_order_relaxed);
		compact_if_due(mem, deleted);
		pthread_rwlock_unlock(&mem->index);
	}
	for (uint32_t i = 0; bags && i < parts; i++)
		words_bag_free(&bags[i]);
	alloc_free(bags);
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

struct load_part {
	struct memory_part *parts;
	uint32_t count, capacity;
};

static int load_part(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct load_part *p = arg;

	if (key->sub_length == 4 && length == sizeof p->parts[0] && p->count < p->capacity)
		memcpy(&p->parts[p->count++], value, sizeof p->parts[0]);
	return 0;
}

/* Puts a file's parts into the indexes from its records and bytes. The heading in front of a passage
 * is not kept, so the words of a passage after a restart are those of its own range. */
static int load_parts(struct memory *mem, const struct names_inode *record, uint64_t inode,
		      const struct memory_state *state)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_PASSAGE), last = first;
	struct load_part p = {.capacity = state->parts};
	struct memory_text *texts = alloc_zeroed(state->parts, sizeof *texts);
	float *vectors = NULL;
	char *bytes = alloc_get(record->size + 1);
	int rc = -ENOMEM;

	p.parts = alloc_get(state->parts * sizeof *p.parts);
	if (mem->dim)
		vectors = alloc_zeroed((size_t)state->parts * mem->dim, sizeof *vectors);
	if (!texts || !bytes || !p.parts || (mem->dim && !vectors))
		goto out;
	last.type++;
	rc = mneme_scan(mem->engine, &first, &last, 0, load_part, &p);
	if (rc == 0)
		rc = memory_read(mem->engine, inode, record->size, 0, bytes, record->size);
	if (rc < 0)
		goto out;
	for (uint32_t i = 0; i < p.count; i++) {
		uint32_t dim = 0;
		if (p.parts[i].end > record->size || p.parts[i].begin > p.parts[i].end) {
			rc = -EUCLEAN;
			goto out;
		}
		texts[i].text = bytes + p.parts[i].begin;
		texts[i].length = p.parts[i].end - p.parts[i].begin;
		if (vectors) {
			rc = memory_vector(mem, inode, i, vectors + (size_t)i * mem->dim, mem->dim,
					   &dim);
			if (rc < 0 || dim != mem->dim) {
				rc = rc < 0 ? rc : -EUCLEAN;
				goto out;
			}
		}
	}
	rc = memory_index_put(mem, inode, state->version, p.count, texts, vectors);
out:
	alloc_free(p.parts);
	alloc_free(texts);
	alloc_free(vectors);
	alloc_free(bytes);
	return rc < 0 ? rc : 0;
}

static int load_file(struct memory *mem, uint64_t inode, uint64_t version)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_PASSAGE);
	uint8_t value[sizeof(struct memory_state) + MEMORY_REASON_MAX + 1];
	struct memory_state state;
	struct names_inode record;
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
			rc = memory_inode(mem->engine, inode, &record);
			if (rc == 0 && state.parts)
				rc = load_parts(mem, &record, inode, &state);
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
