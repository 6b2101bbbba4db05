/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see ann_report.h. */
#include "tests/bench/ann_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double wanted[ANN_LEVELS] = {.90, .95, .99};
/* What each figure of ours is to be, against the best other library. */
static const double rate_goal = 1.3;

struct ann_result *ann_report_result(struct ann_report *report, const char *name, int is_ours)
{
	if (report->count == ANN_RESULTS)
		return NULL;
	struct ann_result *r = &report->results[report->count++];
	*r = (struct ann_result){.is_ours = is_ours};
	snprintf(r->name, sizeof(r->name), "%s", name);
	return r;
}

void ann_result_add(struct ann_result *r, const struct ann_point *p)
{
	if (r->count < ANN_POINTS)
		r->points[r->count++] = *p;
}

static int compare_points(const void *a, const void *b)
{
	const struct ann_point *x = a, *y = b;

	if (x->recall != y->recall)
		return x->recall < y->recall ? 1 : -1;
	return (x->rate < y->rate) - (x->rate > y->rate);
}

static void level_fill(const struct ann_result *r, double recall, struct ann_level *level)
{
	unsigned i = 0;

	while (i < r->count && r->points[i].recall < recall)
		i++;
	if (i == r->count)
		return;
	const struct ann_point *reaches = &r->points[i];
	level->rate = reaches->rate;
	level->spread = reaches->spread;
	level->effort = reaches->effort;
	level->rerank = reaches->rerank;
	if (!i)
		return;
	const struct ann_point *below = reaches - 1;
	double share = (recall - below->recall) / (reaches->recall - below->recall);
	level->rate = exp(log(below->rate) * (1 - share) + log(reaches->rate) * share);
}

void ann_result_finish(struct ann_result *r)
{
	unsigned kept = 0;

	qsort(r->points, r->count, sizeof(r->points[0]), compare_points);
	for (unsigned i = 0; i < r->count; i++) /* falling recall: the rate must rise */
		if (!kept || r->points[i].rate > r->points[kept - 1].rate)
			r->points[kept++] = r->points[i];
	r->count = kept;
	for (unsigned i = 0; i < kept / 2; i++) {
		struct ann_point t = r->points[i];
		r->points[i] = r->points[kept - 1 - i];
		r->points[kept - 1 - i] = t;
	}
	for (unsigned i = 0; i < ANN_LEVELS; i++)
		level_fill(r, wanted[i], &r->levels[i]);
}

/* ---- comparison ---- */

static const struct ann_result *best_peer(const struct ann_report *report, unsigned level, int two)
{
	const struct ann_result *best = NULL;
	double most = 0;

	for (unsigned i = 0; i < report->count; i++) {
		const struct ann_result *r = &report->results[i];
		double rate = two ? r->levels[level].two : r->levels[level].rate;
		if (!r->is_ours && rate > most) {
			most = rate;
			best = r;
		}
	}
	return best;
}

struct target {
	char what[48];
	double value, limit, ratio;
	const char *peer, *verdict;
};

static struct target rate_target(const struct ann_report *report, const struct ann_result *r,
				 unsigned level, int two)
{
	const struct ann_result *peer = best_peer(report, level, two);
	struct target t = {.value = two ? r->levels[level].two : r->levels[level].rate,
			   .limit = rate_goal,
			   .peer = peer ? peer->name : "none"};
	double held = !peer ? 0 : two ? peer->levels[level].two : peer->levels[level].rate;

	snprintf(t.what, sizeof(t.what), "%.2f, %s", wanted[level], two ? "2 threads" : "1 thread");
	t.ratio = held > 0 ? t.value / held : 0;
	t.verdict = !peer ? "no peer" : t.ratio >= t.limit ? "ok" : "short";
	return t;
}

static void print_targets(const struct ann_report *report, const struct ann_result *r)
{
	printf("\n%s against the best other library (wanted: %.1f times)\n", r->name, rate_goal);
	for (int two = 0; two < 2; two++)
		for (unsigned k = 0; k < ANN_LEVELS; k++) {
			struct target t = rate_target(report, r, k, two);
			printf("  %-20s %9.0f/s  %-26s ratio %5.2f  %s\n", t.what, t.value, t.peer,
			       t.ratio, t.verdict);
		}
}

void ann_report_print(const struct ann_report *report)
{
	const struct ann_data *d = report->data;

	printf("%s, %zu x %zu, %s, %zu queries; queries a second of processor time\n", d->name,
	       d->count, d->dim, d->cosine ? "cosine" : "L2", d->query_count);
	printf("%-26s %9s %9s %9s | %9s %9s %9s | %9s %9s | %7s %8s\n", "recall@10", ".90", ".95",
	       ".99", "2: .90", ".95", ".99", "inserting", "inserts/s", "build s", "B/vector");
	for (unsigned i = 0; i < report->count; i++) {
		const struct ann_result *r = &report->results[i];
		const struct ann_level *l = r->levels;
		printf("%-26s %9.0f %9.0f %9.0f | %9.0f %9.0f %9.0f | %9.0f %9.0f | %7.1f %8.0f\n",
		       r->name, l[0].rate, l[1].rate, l[2].rate, l[0].two, l[1].two, l[2].two,
		       r->inserting, r->inserts, r->build_s, r->bytes);
	}
	printf("build s: by the clock, %u threads. inserting: the setting of .95, one thread\n",
	       report->threads);
	for (unsigned i = 0; i < report->count; i++) {
		const struct ann_result *r = &report->results[i];
		if (!r->is_ours)
			continue;
		print_targets(report, r);
		for (unsigned k = 0; k < ANN_LEVELS; k++)
			printf("  asked for %.2f        %9.0f/s  recall %.4f, vectors read %.0f\n",
			       wanted[k], r->levels[k].own_rate, r->levels[k].own_recall,
			       r->levels[k].own_compared);
		printf("  index alone %.0f bytes a vector; processor time of the build %.1f s\n",
		       r->codes_bytes, r->build_work_s);
		if (r->error_deviation > 0)
			printf("  errors of the quantizer: mean %.3f, deviation %.3f of the "
			       "stated\n",
			       r->error_mean, r->error_deviation);
	}
}

static void json_levels(const struct ann_report *report, const struct ann_result *r)
{
	printf("\"levels\": [");
	for (unsigned k = 0; k < ANN_LEVELS; k++) {
		const struct ann_level *l = &r->levels[k];
		printf("%s{\"recall\": %.2f, \"qps\": %.0f, \"spread\": %.2f, \"qps_2\": %.0f",
		       k ? ", " : "", wanted[k], l->rate, l->spread, l->two);
		if (r->is_ours) {
			struct target t = rate_target(report, r, k, 0);
			printf(", \"own_recall\": %.4f, \"own_qps\": %.0f, \"own_compared\": %.1f, "
			       "\"peer\": \"%s\", "
			       "\"ratio\": %.3f, \"verdict\": \"%s\"",
			       l->own_recall, l->own_rate, l->own_compared, t.peer, t.ratio,
			       t.verdict);
		}
		printf("}");
	}
	printf("]");
}

void ann_report_json(const struct ann_report *report)
{
	const struct ann_data *d = report->data;

	printf("{\"data\": \"%s\", \"rows\": %zu, \"dim\": %zu, \"metric\": \"%s\", \"results\": [",
	       d->name, d->count, d->dim, d->cosine ? "cosine" : "l2");
	for (unsigned i = 0; i < report->count; i++) {
		const struct ann_result *r = &report->results[i];
		printf("%s\n {\"name\": \"%s\", \"build_s\": %.2f, \"bytes_per_vector\": %.1f, "
		       "\"inserting_qps\": %.0f, \"inserts_per_s\": %.0f,\n  ",
		       i ? "," : "", r->name, r->build_s, r->bytes, r->inserting, r->inserts);
		json_levels(report, r);
		printf(",\n  \"points\": [");
		for (unsigned k = 0; k < r->count; k++)
			printf("%s[%.4f, %.0f]", k ? ", " : "", r->points[k].recall,
			       r->points[k].rate);
		printf("]}");
	}
	printf("\n]}\n");
}
