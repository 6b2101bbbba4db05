/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what bench_ann found: settings, figures at the wanted recalls, comparison with the best
 *            other library, as a table or JSON (which tests/bench/plot draws).
 */
#ifndef MNEME_TESTS_BENCH_ANN_REPORT_H
#define MNEME_TESTS_BENCH_ANN_REPORT_H

#include "tests/bench/ann_data.h"

enum { ANN_LEVELS = 3, ANN_POINTS = 256, ANN_RESULTS = 24 };

struct ann_point {
	double recall, rate, spread; /* largest rate of the runs against the smallest */
	unsigned effort, rerank;
};

struct ann_level {
	double rate, spread; /* on the line between settings; 0: not reached */
	double two;          /* two threads, the setting that reaches it */
	unsigned effort, rerank;
	/* ours: the setting that the index chose, and vectors read by a search */
	double own_recall, own_rate, own_compared;
};

struct ann_result {
	char name[64];
	int is_ours;
	double build_s, build_work_s, bytes, codes_bytes;
	double inserting,
		inserts; /* queries a second at .95 and the inserts meanwhile; 0: not measured */
	double error_mean, error_deviation; /* of a quantizer */
	struct ann_point points[ANN_POINTS];
	unsigned count;
	struct ann_level levels[ANN_LEVELS];
};

struct ann_report {
	const struct ann_data *data;
	unsigned threads; /* of the builds */
	struct ann_result results[ANN_RESULTS];
	unsigned count;
};

struct ann_result *ann_report_result(struct ann_report *report, const char *name, int is_ours);
void ann_result_add(struct ann_result *r, const struct ann_point *p);
/* Leaves the settings that no other beats in both, by recall, and fills the levels. */
void ann_result_finish(struct ann_result *r);
void ann_report_print(const struct ann_report *report);
void ann_report_json(const struct ann_report *report);

#endif
