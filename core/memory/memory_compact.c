/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   compaction (core/mneme.h: mneme_compact) with what is derived: the indexes in memory
 *            lose what is dead, and their files are written anew from that.
 * Invariants: no file of STORE/index/ is left from before. A crash in between leaves some or none
 *            of them: the next open builds anew what is missing.
 * Threading: as upkeep's task, which is kept off meanwhile.
 * Failure:   what mneme_compact() says; the indexes are right in any case.
 */
#include "core/memory/memory_inside.h"
#include "core/store/compact.h"

#include <errno.h>
#include <stdio.h>

/* ---- files ---- */

enum { BATCH = 32 };
#define DIRECTORY "index"

struct names {
	int keeps_brought;
	unsigned count;
	char names[BATCH][IO_NAME_MAX];
};

static int name_add(void *arg, const char *name)
{
	struct names *n = arg;

	if (n->keeps_brought && spaces_owns(name, NULL, 0) != -ENOENT)
		return 0;
	if (snprintf(n->names[n->count], IO_NAME_MAX, DIRECTORY "/%s", name) < IO_NAME_MAX)
		n->count++;
	return n->count == BATCH;
}

/* Removes the files of STORE/index/. What was brought has lost what is dead; its next table takes
 * away what is not of it. */
static int files_remove(struct io *io, int keeps_brought)
{
	struct names n = {.keeps_brought = keeps_brought};
	int rc;

	do {
		n.count = 0;
		rc = io->ops->list(io, DIRECTORY, name_add, &n);
		for (unsigned i = 0; i < n.count && rc >= 0; i++)
			rc = io->ops->unlink(io, n.names[i]);
	} while (n.count && rc >= 0);
	if (rc == 0)
		rc = io->ops->sync_dir(io, DIRECTORY);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- indexes ---- */

static int words_clean(struct memory *mem)
{
	struct lexical_stats stats;
	struct lexical *living;
	int rc = 0;

	pthread_rwlock_wrlock(&mem->index);
	lexical_get_stats(mem->lexical, &stats);
	if (stats.deleted) {
		rc = lexical_compact(mem->lexical, &living);
		if (rc == 0) {
			lexical_free(mem->lexical);
			mem->lexical = living;
			memory_expire(mem);
		}
	}
	pthread_rwlock_unlock(&mem->index);
	return rc;
}

/* The files are written with segments that have none yet: all rows are moved to new ones. */
static int indexes_clean(struct memory *mem)
{
	int rc;

	pthread_mutex_lock(&mem->upkeep.run);
	rc = words_clean(mem);
	if (rc == 0)
		rc = memory_index_build(mem, 1);
	if (rc == 0 && mem->snapshot.io && !mem->read_only) {
		rc = files_remove(mem->snapshot.io, 1);
		mem->snapshot.is_saved = 0;
		if (rc == 0)
			memory_snapshot_save(mem, 0);
	}
	pthread_mutex_unlock(&mem->upkeep.run);
	return rc;
}

int memory_compact(struct memory *mem, struct mneme_compacted *out)
{
	/* What overwritten texts have in records goes with the new ones. */
	int rc = memory_sync(mem, 0);

	if (rc == 0)
		rc = compact_run(mem->engine, out);
	return rc < 0 ? rc : indexes_clean(mem);
}

int mneme_compact(struct mneme *m, struct mneme_memory *memory, struct mneme_compacted *out)
{
	struct mneme_compacted ignored;

	if (!out)
		out = &ignored;
	if (memory)
		return memory_compact((struct memory *)memory, out);
	int rc = compact_run(m, out);
	return rc < 0 ? rc : files_remove(m->io, 0);
}
