/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the manifest of the indexes in files; the format is in memory_snapshot.c.
 * Threading: plain data.
 * Failure:   -EUCLEAN: these bytes are no manifest.
 */
#ifndef MNEME_CORE_MEMORY_SNAPSHOT_H
#define MNEME_CORE_MEMORY_SNAPSHOT_H

#include "core/memory/spaces.h"
#include "core/search/file.h"

#include <stdint.h>

#define MEMORY_MANIFEST "index/memory"
extern const char memory_manifest_magic[8];
enum { MEMORY_MANIFEST_FORMAT = 3 };
enum memory_manifest_flags { MEMORY_MANIFEST_FINAL = 1, MEMORY_MANIFEST_HIDES = 2 };

/* Stored; little-endian. */
struct memory_manifest_head {
	uint8_t uuid[16];
	uint64_t lsn, epoch;
	uint32_t choice; /* memory_models_choice() */
	uint32_t models; /* that have vectors */
	uint32_t flags;  /* enum memory_manifest_flags */
	uint32_t pending;
	uint32_t spaces, zero;
};
_Static_assert(sizeof(struct memory_manifest_head) == 56, "layout");

/* Stored. */
struct memory_manifest_model {
	uint32_t number, dim;
};
_Static_assert(sizeof(struct memory_manifest_model) == 8, "layout");

_Static_assert(sizeof(struct spaces_file) == 8, "layout"); /* stored, too */

struct memory_manifest {
	struct memory_manifest_head head;
	const uint8_t *models;  /* struct memory_manifest_model x head.models, borrowed as: */
	const uint8_t *spaces;  /* struct spaces_file x head.spaces */
	const uint8_t *pending; /* u64 x head.pending, borrowed of the reader */
};

/* Any bytes are safe. */
int memory_manifest_read(struct search_reader *r, struct memory_manifest *out);

#endif
