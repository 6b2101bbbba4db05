/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: an index inside; shared by index.c and index_file.c. */
#ifndef MNEME_CORE_SEARCH_INDEX_PRIVATE_H
#define MNEME_CORE_SEARCH_INDEX_PRIVATE_H

#include "core/search/index/index.h"
#include "core/search/index/partitions.h"

enum { INDEX_RERANK_MAX = 1 << 20 };

struct index {
	enum index_kind kind;
	struct partitions *partitions; /* NULL where the kind is flat */
	struct index_level levels[INDEX_LEVELS];
};

#endif
