/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: our index as bench_ann sweeps it, and what it says of itself. */
#ifndef MNEME_TESTS_BENCH_ANN_OURS_H
#define MNEME_TESTS_BENCH_ANN_OURS_H

#include "core/search/index/index.h"
#include "tests/bench/ann_peers.h"

struct ann_ours_options {
	enum quantizer_kind quantizer;
	int half; /* vectors as f16 */
};
extern struct ann_ours_options ann_ours_options; /* of what is built next */
extern const struct ann_peer ann_ours;

/* A search with the setting that the index chose for a level when it was built. *compared +=
 * vectors that were read. */
void ann_ours_search_level(void *index, const float *query, unsigned level, uint32_t *ids,
			   uint64_t *compared);
void ann_ours_stats(void *index, struct index_stats *out, uint64_t *vectors_bytes);

#endif
