/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the search indexes in memory: kept in line with the records.
 * Invariants: a text is a document of the lexical index, whose "part" is the low half of the version
 *            that was indexed; a part is a row of the vectors, with the whole version.
 * Threading: `index` for writing while a file's parts change, so that a search sees all or nothing.
 */
#include "core/memory/memory_inside.h"

enum { DEAD_LEAST = 20000 };

/* Dead texts cost memory and search time. [index] */
static int is_compaction_due(struct memory *mem)
{
	struct lexical_stats words;

	lexical_get_stats(mem->lexical, &words);
	return words.deleted > DEAD_LEAST && words.deleted > words.passages / 2;
}

void memory_index_compact_if_due(struct memory *mem)
{
	struct lexical *lexical;

	pthread_rwlock_wrlock(&mem->index);
	if (is_compaction_due(mem) && lexical_compact(mem->lexical, &lexical) == 0) {
		lexical_free(mem->lexical);
		mem->lexical = lexical;
		memory_expire(mem);
	}
	pthread_rwlock_unlock(&mem->index);
}

/* [index] */
static int is_build_due(const struct memory *mem)
{
	for (unsigned i = 0; i < mem->models.count; i++) {
		const struct memory_model *m = &mem->models.all[i];
		if (m->vectors && (collection_wants_build(m->vectors) ||
				   (m != mem->models.standard && !memory_model_rows(m))))
			return 1;
	}
	return 0;
}

/* Counts a change; has the work done that follows from many. [index] */
static void changed(struct memory *mem)
{
	mem->changes++;
	memory_expire(mem);
	if (is_compaction_due(mem) || is_build_due(mem) ||
	    mem->changes - mem->snapshot.changes >= MEMORY_SNAPSHOT_CHANGES)
		memory_upkeep_poke(mem);
}

static void model_vectors_delete(struct memory *mem, uint64_t inode)
{
	for (unsigned i = 0; i < mem->models.count; i++)
		if (mem->models.all[i].vectors)
			collection_delete(mem->models.all[i].vectors, inode);
}

static unsigned owner_delete(struct memory *mem, uint64_t inode)
{
	model_vectors_delete(mem, inode);
	return lexical_delete(mem->lexical, inode);
}

void memory_index_remove(struct memory *mem, uint64_t inode)
{
	pthread_rwlock_wrlock(&mem->index);
	if (owner_delete(mem, inode))
		atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
	changed(mem);
	pthread_rwlock_unlock(&mem->index);
}

void memory_index_put_words(struct memory *mem, uint64_t inode, uint64_t version,
			    const struct words_bag *words)
{
	struct names_inode now;

	pthread_rwlock_wrlock(&mem->index);
	if (memory_inode(mem->engine, inode, &now) == 0 && now.nlink && now.version == version &&
	    !lexical_has(mem->lexical, inode, (uint32_t)version)) {
		unsigned deleted = lexical_delete(mem->lexical, inode);
		int rc = lexical_put(mem->lexical, inode, (uint32_t)version, words);
		if (rc == 0 && !deleted)
			atomic_fetch_add_explicit(&mem->files, 1, memory_order_relaxed);
		else if (rc < 0 && deleted)
			atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
		changed(mem);
	}
	pthread_rwlock_unlock(&mem->index);
}

int memory_index_has_words(struct memory *mem, uint64_t inode, uint64_t version)
{
	pthread_rwlock_rdlock(&mem->index);
	int has = lexical_has(mem->lexical, inode, (uint32_t)version);
	pthread_rwlock_unlock(&mem->index);
	return has;
}

int memory_index_put(struct memory *mem, uint64_t inode, uint64_t version,
		     const struct words_bag *words, struct memory_model *model, uint32_t parts,
		     const float *vectors)
{
	pthread_rwlock_wrlock(&mem->index);
	unsigned deleted = words ? owner_delete(mem, inode) : 1;
	int rc = words ? lexical_put(mem->lexical, inode, (uint32_t)version, words) : 0;
	if (!words)
		model_vectors_delete(mem, inode);
	if (rc == 0 && vectors)
		rc = memory_model_collection(model);
	for (uint32_t i = 0; vectors && i < parts && rc == 0; i++)
		rc = collection_put(model->vectors, inode, i, version,
				    vectors + (size_t)i * memory_model_dim(model));
	if (rc < 0)
		owner_delete(mem, inode);
	if (rc == 0 && !deleted)
		atomic_fetch_add_explicit(&mem->files, 1, memory_order_relaxed);
	else if (rc < 0 && deleted)
		atomic_fetch_sub_explicit(&mem->files, 1, memory_order_relaxed);
	changed(mem);
	pthread_rwlock_unlock(&mem->index);
	return rc;
}

int memory_index_holds(struct memory *mem, uint64_t inode, uint64_t version,
		       const struct memory_model *model, uint32_t vectors)
{
	uint32_t found = 0;

	pthread_rwlock_rdlock(&mem->index);
	int holds = lexical_has(mem->lexical, inode, (uint32_t)version);
	if (holds && model && model->vectors) {
		const struct vectors *v = collection_vectors(model->vectors);
		for (uint32_t row = rows_latest(&v->rows, inode); row != ROWS_NONE;
		     row = rows_before(&v->rows, row))
			found += !rows_is_dead(&v->rows, row) && v->versions[row] == version;
	}
	holds = holds && found == vectors;
	pthread_rwlock_unlock(&mem->index);
	return holds;
}
