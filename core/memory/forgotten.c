/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   core/mneme.h: mneme_check_forgotten(). What core/store/check_forgotten.h does, and the same
 *            for the files of STORE/index/: no text's words, no vector and no wait for embedding of the
 *            memory, and no words of any text that is gone.
 * Invariants: an index file that cannot be read, as one of another version, has been looked at as bytes;
 *            the next mount replaces it.
 * Threading: any thread; nobody may write to the store meanwhile, which is seen to.
 * Failure:   see core/mneme.h.
 */
#include "core/memory/memory_snapshot.h"
#include "core/search/lexical.h"
#include "core/search/vectors.h"
#include "core/store/check_forgotten.h"
#include "core/store/io_posix.h"
#include "core/store/store.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { HOLDER_SIZE = 160, MODELS_MAX = 64 };

/* ---- index files ---- */

static int is_owner(void *arg, uint64_t owner)
{
	const struct forgotten *f = arg;

	return owner == f->receipt->memory;
}

static int words_look(struct forgotten *f, struct io *io)
{
	struct lexical_stats stats;
	struct lexical *lexical;
	uint64_t position;
	int rc = lexical_load(io, "index/words", &lexical, &position);

	if (rc)
		return rc;
	lexical_get_stats(lexical, &stats);
	if (lexical_each(lexical, is_owner, f))
		check_forgotten_find(f, "index/words has its words");
	if (stats.deleted)
		check_forgotten_find(f, "index/words has words of texts that are gone");
	lexical_free(lexical);
	return 0;
}

static int vectors_look(struct forgotten *f, struct io *io, const char *name)
{
	struct vectors *v;
	uint64_t position, found = 0;
	int rc = vectors_load(io, name, &v, &position);

	if (rc)
		return rc;
	for (uint32_t row = 0; row < v->rows.count; row++)
		found += v->rows.owners[row] == f->receipt->memory;
	if (found)
		check_forgotten_find(f, "%s has %llu vectors of it", name,
				     (unsigned long long)found);
	vectors_free(v);
	return 0;
}

static void pending_look(struct forgotten *f, const struct memory_manifest *m)
{
	for (uint32_t i = 0; i < m->head.pending; i++) {
		uint64_t inode;
		memcpy(&inode, m->pending + 8ull * i, sizeof inode);
		if (inode == f->receipt->memory)
			check_forgotten_find(f, "index/memory has it as waiting to be embedded");
	}
}

static int is_unreadable(int rc)
{
	return rc == -ENOENT || rc == -EUCLEAN;
}

static int manifest_look(struct forgotten *f, struct io *io)
{
	struct memory_manifest manifest;
	struct search_reader r;
	char name[IO_NAME_MAX];
	int rc = search_reader_open(&r, io, MEMORY_MANIFEST, memory_manifest_magic,
				    MEMORY_MANIFEST_FORMAT, 0);

	if (rc)
		return is_unreadable(rc) ? 0 : rc;
	rc = memory_manifest_read(&r, &manifest);
	if (rc == 0)
		pending_look(f, &manifest);
	for (uint32_t i = 0; rc == 0 && i < manifest.head.models; i++) {
		struct memory_manifest_model model;
		memcpy(&model, manifest.models + i * sizeof model, sizeof model);
		snprintf(name, sizeof name, "index/vectors-%08x", model.number);
		rc = vectors_look(f, io, name);
		if (is_unreadable(rc))
			rc = 0;
	}
	for (uint32_t i = 0; rc == 0 && i < manifest.head.spaces; i++) {
		struct spaces_file file;
		memcpy(&file, manifest.spaces + i * sizeof file, sizeof file);
		spaces_file_name(&file, name);
		rc = vectors_look(f, io, name);
		if (is_unreadable(rc))
			rc = 0;
	}
	search_reader_close(&r);
	return is_unreadable(rc) ? 0 : rc;
}

static int indexes_look(struct forgotten *f, struct io *io)
{
	int rc = words_look(f, io);

	return is_unreadable(rc) || rc == 0 ? manifest_look(f, io) : rc;
}

/* ---- all ---- */

static int look(struct forgotten *f, struct io *io, const char *directory,
		struct mneme_error *error)
{
	static const uint8_t any[16];
	const struct mneme_options options = {.read_only = 1, .io = "posix"};
	struct mneme *engine;
	uint8_t uuid[16];
	int rc = mneme_open(directory, &options, &engine, error);

	if (rc < 0)
		return rc;
	mneme_uuid(engine, uuid);
	if (memcmp(uuid, f->receipt->uuid, sizeof uuid) &&
	    memcmp(any, f->receipt->uuid, sizeof any))
		rc = store_refuse(error, -ESTALE, "the receipt is of another store");
	if (rc == 0) {
		rc = check_forgotten(f, io, engine);
		if (rc == 0)
			rc = indexes_look(f, io);
		if (rc < 0)
			store_refuse(error, rc, "the store cannot be looked through: %s",
				     strerror(-rc));
	}
	mneme_close(engine);
	return rc;
}

int mneme_check_forgotten(const char *directory, const struct mneme_receipt *receipt,
			  mneme_check_report *report, void *arg, struct mneme_forgotten *result,
			  struct mneme_error *error)
{
	struct mneme_forgotten own;
	struct forgotten f = {.receipt = receipt, .report = report, .arg = arg};
	char holder[HOLDER_SIZE] = "";
	struct io *io;

	f.result = result ? result : &own;
	*f.result = (struct mneme_forgotten){0};
	if (!directory || !receipt)
		return -EINVAL;
	int rc = io_posix_new(directory, 0, &io);
	if (rc < 0)
		return store_refuse(error, rc, "%s: %s", directory, strerror(-rc));
	rc = io_posix_lock_out_writers(io, "lock", holder, sizeof holder);
	if (rc < 0)
		store_refuse(error, rc,
			     rc == -EBUSY ? "the store is in use by %s; unmount it there first"
					  : "the lock file cannot be used%s",
			     holder);
	if (rc == 0)
		rc = look(&f, io, directory, error);
	io->ops->destroy(io);
	return rc;
}
