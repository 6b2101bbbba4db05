/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall_request.h: answers as text, JSON and links.
 */
#include "core/memory/answer_inside.h"
#include "core/memory/recall_request.h"
#include "simd/crc32c.h"

#include <string.h>

/* All bytes of names escaped, digits of a path besides, and what stands around them. */
static int begin(struct answer_writer *w, const struct recall_answer *answer)
{
	enum { RESULT = 256, NAME = 8, ESCAPED = 6, DIGITS = 2 };
	size_t size = 1024;

	for (uint32_t i = 0; i < answer->count; i++) {
		const struct recall_result *r = &answer->results[i];
		const char *via = r->via;
		size += RESULT + (ESCAPED + DIGITS) * (strlen(r->path) + 1);
		for (uint32_t k = 0; k < r->via_count; k++) {
			size_t n = strlen(via) + 1;
			size += NAME + ESCAPED * n;
			via += n;
		}
	}
	return writer_begin(w, size);
}

static void put_via(struct answer_writer *w, const struct recall_result *r, int json)
{
	const char *via = r->via;

	for (uint32_t k = 0; k < r->via_count; k++) {
		writer_put(w, json ? k ? ", \"" : "\"" : k ? " > " : "");
		writer_put_escaped(w, via, json);
		writer_put(w, json ? "\"" : "");
		via += strlen(via) + 1;
	}
}

int recall_write_text(const struct recall_answer *answer, char **text, size_t *length)
{
	struct answer_writer w;
	int err = begin(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct recall_result *r = &answer->results[i];
		writer_put(&w, "%.3f\t", r->activation);
		writer_put_escaped(&w, r->path, 0);
		writer_put(&w, "\t%u\t", r->hops);
		put_via(&w, r, 0);
		writer_put(&w, "\n");
	}
	return writer_end(&w, text, length);
}

int recall_write_json(const struct recall_answer *answer, char **text, size_t *length)
{
	const struct spread_report *report = &answer->report;
	static const char *const truth[] = {"false", "true"};
	struct answer_writer w;
	int err = begin(&w, answer);

	if (err)
		return err;
	writer_put(&w,
		   "{\"narrowed\": %s, \"cut\": %s, \"budget\": %s, \"hops\": %u, \"fan_out\": %u, "
		   "\"active\": %u, \"left_out\": %u, \"predicted_us\": %llu, \"spent_us\": %llu, "
		   "\"results\": [",
		   truth[(report->flags & SPREAD_NARROWED) != 0],
		   truth[(report->flags & SPREAD_CUT) != 0],
		   truth[(report->flags & SPREAD_BUDGET) != 0], report->hops_max, report->fan_out,
		   report->active, answer->left_out,
		   (unsigned long long)report->predicted_ns / 1000,
		   (unsigned long long)report->spent_ns / 1000);
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct recall_result *r = &answer->results[i];
		writer_put(&w, i ? ",\n{\"path\": \"" : "\n{\"path\": \"");
		writer_put_escaped(&w, r->path, 1);
		writer_put_exact(&w, r->path);
		writer_put(&w,
			   "\", \"activation\": %.6f, \"confidence\": %.4g, \"pinned\": %s, "
			   "\"hops\": %u, \"via\": [",
			   r->activation, r->confidence, truth[r->is_pinned], r->hops);
		put_via(&w, r, 1);
		writer_put(&w, "]}");
	}
	writer_put(&w, "]}\n");
	return writer_end(&w, text, length);
}

int recall_write_links(const struct recall_answer *answer, char **text, size_t *length)
{
	struct answer_writer w;
	int err = begin(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++)
		writer_put_link(&w, i + 1, answer->results[i].activation, answer->results[i].path);
	return writer_end(&w, text, length);
}

uint64_t recall_digest(const struct recall_answer *answer)
{
	uint32_t sums[2] = {answer->count, ~answer->count};

	for (uint32_t i = 0; i < answer->count; i++) {
		const struct recall_result *r = &answer->results[i];
		const char *via = r->via;
		for (uint32_t n = 0; n < r->via_count; n++)
			via += strlen(via) + 1;
		for (int k = 0; k < 2; k++) {
			sums[k] = crc32c(sums[k], r->path, strlen(r->path) + 1);
			sums[k] = crc32c(sums[k] + (uint32_t)k * i, r->via, (size_t)(via - r->via));
		}
	}
	return (uint64_t)sums[0] << 32 | sums[1];
}
