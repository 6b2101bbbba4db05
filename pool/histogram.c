/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the reading side of histogram.h.
 */
#include "pool/histogram.h"

static uint64_t cell_read(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	uint64_t max = cell_read(&into->max), other = cell_read(&from->max);

	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		uint64_t count = cell_read(&from->bucket[b]);
		if (count)
			atomic_fetch_add_explicit(&into->bucket[b], count, memory_order_relaxed);
	}
	atomic_fetch_add_explicit(&into->sum, cell_read(&from->sum), memory_order_relaxed);
	while (max < other &&
	       !atomic_compare_exchange_weak_explicit(&into->max, &max, other, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t count = 0;

	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
		count += cell_read(&h->bucket[b]);
	return count;
}

uint64_t histogram_sum(const struct histogram *h)
{
	return cell_read(&h->sum);
}

uint64_t histogram_max(const struct histogram *h)
{
	return cell_read(&h->max);
}

double histogram_mean(const struct histogram *h)
{
	uint64_t count = histogram_count(h);

	return count ? (double)histogram_sum(h) / (double)count : 0;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
	uint64_t count = histogram_count(h), below = 0, max = histogram_max(h);

	if (!count)
		return 0;
	double rank = q * (double)count;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS - 1; b++) {
		below += cell_read(&h->bucket[b]);
		if (below && (double)below >= rank) {
			uint64_t top = histogram_lower(b + 1) - 1;
			return top < max ? top : max;
		}
	}
	return max;
}

int histogram_each_cumulative(const struct histogram *h, uint64_t first, uint64_t last,
			      int (*each)(void *arg, uint64_t upper, uint64_t count), void *arg)
{
	uint64_t below = 0;
	unsigned b = 0;

	for (uint64_t upper = first; upper && upper <= last; upper *= 2) {
		while (b < HISTOGRAM_BUCKETS - 1 && histogram_lower(b + 1) <= upper)
			below += cell_read(&h->bucket[b++]);
		int stop = each(arg, upper, below);
		if (stop)
			return stop;
	}
	while (b < HISTOGRAM_BUCKETS)
		below += cell_read(&h->bucket[b++]);
	return each(arg, UINT64_MAX, below);
}
