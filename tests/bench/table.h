/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   collects the figures of a benchmark and prints them as a table or, with --json, as
 *            JSON: value, peer or limit, their ratio, and whether it is good enough.
 * Invariants: a figure is the median of its rounds, best the best round (what an unshared machine
 *            would show more often); spread is (p90 - p10) / median.
 * Threading: one thread.
 */
#ifndef MNEME_TESTS_BENCH_TABLE_H
#define MNEME_TESTS_BENCH_TABLE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TABLE_ROWS_MAX = 256, TABLE_ROUNDS_MAX = 101 };

struct table_row {
	char name[56];
	const char *unit;
	double value[TABLE_ROUNDS_MAX];
	unsigned rounds;
	char peer[32];     /* what it is held against; "" for nothing */
	double limit;      /* the peer's figure or the target */
	int lower_is_good; /* else higher */
};

struct table {
	struct table_row row[TABLE_ROWS_MAX];
	unsigned rows;
	int json;
};

/* Where a benchmark writes when it is not told: the folder that tests/bench/run makes and removes. */
static inline const char *bench_directory(void)
{
	const char *directory = getenv("MNEME_BENCH_DIR");

	return directory ? directory : ".";
}

/* Tells a terminal what is running; a log stays free of it. */
__attribute__((format(printf, 1, 2))) static inline void bench_progress(const char *format, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO))
		return;
	va_start(args, format);
	fputs("\r\033[K", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
}

static inline double table_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The row of this name, made on first use. */
static inline struct table_row *table_row(struct table *table, const char *name, const char *unit)
{
	for (unsigned i = 0; i < table->rows; i++)
		if (!strcmp(table->row[i].name, name))
			return &table->row[i];
	if (table->rows == TABLE_ROWS_MAX)
		abort();
	struct table_row *row = &table->row[table->rows++];
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->unit = unit;
	row->lower_is_good = 1;
	return row;
}

static inline void table_add(struct table *table, const char *name, const char *unit, double value)
{
	struct table_row *row = table_row(table, name, unit);

	if (row->rounds < TABLE_ROUNDS_MAX)
		row->value[row->rounds++] = value;
}

static inline int table_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double table_quantile(struct table_row *row, double q)
{
	qsort(row->value, row->rounds, sizeof(row->value[0]), table_compare);
	return row->rounds ? row->value[(unsigned)(q * (row->rounds - 1) + 0.5)] : 0;
}

static inline double table_median(struct table *table, const char *name)
{
	return table_quantile(table_row(table, name, ""), 0.5);
}

/* Holds a row against a target or a peer's figure. */
static inline void table_hold(struct table *table, const char *name, const char *peer, double limit,
			      int lower_is_good)
{
	struct table_row *row = table_row(table, name, "");

	snprintf(row->peer, sizeof(row->peer), "%s", peer);
	row->limit = limit;
	row->lower_is_good = lower_is_good;
}

static inline void table_print_row(const struct table *table, struct table_row *row, int last)
{
	double value = table_quantile(row, 0.5);
	double spread = value ? (table_quantile(row, 0.9) - table_quantile(row, 0.1)) / value : 0;
	/* what is held against nothing is judged by its unit: rates are better when higher */
	int lower_is_good = row->peer[0] ? row->lower_is_good : !strstr(row->unit, "/s");
	double best = table_quantile(row, lower_is_good ? 0 : 1);
	double ratio = row->limit ? value / row->limit : 0;
	const char *verdict = !row->peer[0]                                    ? ""
			      : (row->lower_is_good ? ratio <= 1 : ratio >= 1) ? "ok"
									       : "short";

	if (table->json)
		printf("  {\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.6g, \"best\": %.6g, "
		       "\"spread\": %.3f, "
		       "\"rounds\": %u, \"peer\": \"%s\", \"limit\": %.6g, \"ratio\": %.4g, "
		       "\"verdict\": \"%s\"}%s\n",
		       row->name, row->unit, value, best, spread, row->rounds, row->peer,
		       row->limit, ratio, verdict, last ? "" : ",");
	else if (row->peer[0])
		printf("%-48s %12.4g %10.4g %-6s %4.0f%%  %-14s %10.4g %7.2f  %s\n", row->name,
		       value, best, row->unit, spread * 100, row->peer, row->limit, ratio, verdict);
	else
		printf("%-48s %12.4g %10.4g %-6s %4.0f%%\n", row->name, value, best, row->unit,
		       spread * 100);
}

static inline void table_print(struct table *table)
{
	bench_progress("%s", "");
	if (table->json)
		printf("[\n");
	else
		printf("%-48s %12s %10s %-6s %5s  %-14s %10s %7s\n", "", "median", "best", "unit",
		       "spread", "peer or limit", "", "ratio");
	for (unsigned i = 0; i < table->rows; i++)
		table_print_row(table, &table->row[i], i + 1 == table->rows);
	if (table->json)
		printf("]\n");
}

#endif
