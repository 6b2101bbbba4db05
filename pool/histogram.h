/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a latency histogram with log-linear buckets (the idea of HdrHistogram): each power
 *            of two is divided into 16 equal buckets, so a quantile is right to 1/16 of its value
 *            and recording is an addition.
 * Invariants: bucket b < 16 holds the value b. For b >= 16, with shift = b / 16 - 1, it holds the
 *            values from (16 + b % 16) << shift, 1 << shift of them. Values from 2^40 on (18
 *            minutes in nanoseconds) count in the last bucket; the sum and the maximum keep them
 *            exact.
 * Threading: histogram_record(): any thread, atomic adds. histogram_record_owned(): the
 *            histogram's one writer, plain adds, a few nanoseconds. Reading is always allowed;
 *            while others record, the parts may be some records apart.
 * Failure:   none.
 */
#ifndef MNEME_POOL_HISTOGRAM_H
#define MNEME_POOL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 4,
	HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
	HISTOGRAM_VALUE_BITS = 40,
	HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB,
};

/* All zero is an empty histogram. About 4.7 KiB. */
struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS]; /* [A] */
	_Atomic uint64_t sum;                       /* [A] */
	_Atomic uint64_t max;                       /* [A] */
};

static inline unsigned histogram_bucket(uint64_t value)
{
	if (value < HISTOGRAM_SUB)
		return (unsigned)value;
	if (value >> HISTOGRAM_VALUE_BITS)
		return HISTOGRAM_BUCKETS - 1;
	unsigned shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(value);
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The least value of bucket b; histogram_lower(b + 1) is the first one above it. */
static inline uint64_t histogram_lower(unsigned b)
{
	if (b < HISTOGRAM_SUB)
		return b;
	return (uint64_t)(HISTOGRAM_SUB + b % HISTOGRAM_SUB) << (b / HISTOGRAM_SUB - 1);
}

/* relaxed throughout: a count orders nothing */
static inline void histogram_record(struct histogram *h, uint64_t value)
{
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&h->bucket[histogram_bucket(value)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
	while (__builtin_expect(max < value, 0) &&
	       !atomic_compare_exchange_weak_explicit(&h->max, &max, value, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static inline void histogram_record_owned(struct histogram *h, uint64_t value)
{
	_Atomic uint64_t *bucket = &h->bucket[histogram_bucket(value)];

	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store_explicit(&h->sum, atomic_load_explicit(&h->sum, memory_order_relaxed) + value,
			      memory_order_relaxed);
	if (__builtin_expect(atomic_load_explicit(&h->max, memory_order_relaxed) < value, 0))
		atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

/* Adds `from` to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_sum(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h);
/* 0 when empty. */
double histogram_mean(const struct histogram *h);
/* The value that a fraction `q` (0 .. 1) of the records does not exceed: the top of its bucket, at
 * most the maximum. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
/* Calls `each` for ascending boundaries, powers of two times `first` (>= 1) up to `last`, with the
 * number of records below the boundary (Prometheus: le="upper" to within a bucket), then once with
 * UINT64_MAX and the count of all. Stops at a non-zero result and returns it. */
int histogram_each_cumulative(const struct histogram *h, uint64_t first, uint64_t last,
			      int (*each)(void *arg, uint64_t upper, uint64_t count), void *arg);

#endif
