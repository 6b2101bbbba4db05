/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   where the time of an operation goes, layer by layer: for builds with
 *            -Dperf_diagnostics=true, and as USDT probes mneme:LAYER_begin and mneme:LAYER_end where
 *            <sys/sdt.h> was there at build time (a nop each until somebody attaches).
 *
 *   snapshot   taking a transaction, and proving that what it read still holds
 *   lock       waiting for shards
 *   apply      finding and changing pages
 *   log        copying the record, and waiting for its sync where that is asked for
 *   index      taking a text's passages and words into the search indexes, and finding candidates
 *
 * Invariants: in other builds LAYER() is its statement and nothing else.
 * Threading: any thread; records are atomic additions.
 * Failure:   none.
 */
#ifndef MNEME_POOL_LAYERS_H
#define MNEME_POOL_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#ifdef MNEME_PROBES
#include <sys/sdt.h>
#define LAYER_PROBE(name) DTRACE_PROBE(mneme, name)
#else
#define LAYER_PROBE(name)
#endif

enum layer { LAYER_snapshot, LAYER_lock, LAYER_apply, LAYER_log, LAYER_index, LAYERS };

#ifdef MNEME_PERF_DIAGNOSTICS
#define LAYER_TIMED(layer, statement)                                                              \
	uint64_t layer##_begin_ns = layers_now();                                                  \
	statement;                                                                                 \
	layers_record(LAYER_##layer, layers_now() - layer##_begin_ns)

uint64_t layers_now(void);
void layers_record(enum layer layer, uint64_t ns);
/* A table of what was recorded so far, a line a layer: returns its length, 0 in other builds. Cut off
 * at `size`, always NUL-terminated. */
size_t layers_print(char *out, size_t size);
#else
#define LAYER_TIMED(layer, statement) statement
static inline size_t layers_print(char *out, size_t size)
{
	(void)out;
	(void)size;
	return 0;
}
#endif

/* Runs the statement as part of a layer: LAYER(lock, lock_write(l)); */
#define LAYER(layer, statement)                                                                    \
	do {                                                                                       \
		LAYER_PROBE(layer##_begin);                                                        \
		LAYER_TIMED(layer, statement);                                                     \
		LAYER_PROBE(layer##_end);                                                          \
	} while (0)

#endif
