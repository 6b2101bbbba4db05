/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   layers.h, in builds with -Dperf_diagnostics=true.
 */
#include "pool/layers.h"
#include "pool/histogram.h"

#include <stdio.h>
#include <time.h>

static struct histogram layers[LAYERS];
static const char *const names[LAYERS] = {"snapshot", "lock", "apply", "log", "index"};

uint64_t layers_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void layers_record(enum layer layer, uint64_t ns)
{
	histogram_record(&layers[layer], ns);
}

size_t layers_print(char *out, size_t size)
{
	size_t used = 0;

	for (int i = -1; i < LAYERS && used < size; i++) {
		const struct histogram *h = &layers[i < 0 ? 0 : i];
		int n = i < 0 ? snprintf(out, size, "%-10s %12s %12s %10s %10s %10s\n", "layer",
					 "times", "all ms", "mean ns", "p99 ns", "most ns")
			      : snprintf(out + used, size - used,
					 "%-10s %12lu %12.3f %10.0f %10lu %10lu\n", names[i],
					 histogram_count(h), (double)histogram_sum(h) / 1e6,
					 histogram_mean(h), histogram_quantile(h, .99),
					 histogram_max(h));
		used += n > 0 ? (size_t)n : 0;
	}
	return used < size ? used : size - 1;
}
