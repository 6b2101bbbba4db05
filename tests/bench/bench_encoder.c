/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   how fast texts become vectors: the int8 encoder in each instruction set beside the
 *            plain f32 pass in C (compiled for any processor, and for this one), a query, the
 *            fallback, the cutting into passages. MNEME_MODEL names a converted model. --quick:
 *            fewer rounds; --json.
 * Invariants: every figure of a round is taken in that round, so that noise strikes both sides;
 *            times are of this thread's processor time: others on the machine are not counted.
 */
#include "core/memory/encoder.h"
#include "core/memory/encoder_f32.h"
#include "core/memory/fallback.h"
#include "core/memory/passages.h"
#include "core/memory/tokenizer.h"
#include "pool/alloc.h"
#include "tests/bench/table.h"

enum { BATCH = 16, ROUNDS = 7, ROUNDS_QUICK = 3, TEXT_BYTES = 2048, SPLIT_BYTES = 4 << 20 };

/* The same source compiled with -march=native. */
void encoder_f32_embed_native(const struct model *m, struct encoder_f32_scratch *s,
			      const uint32_t *ids, uint32_t count, float *vector);

struct bench {
	struct table table;
	struct model *model;
	struct encoder_scratch *scratch;
	struct encoder_f32_scratch *f32_scratch;
	struct fallback_scratch *fallback;
	struct tokenizer_scratch tokenizer;
	char text[TEXT_BYTES]; /* at least 128 tokens */
	size_t len;
	uint32_t ids[MODEL_TOKENS_MAX];
	float vectors[BATCH * MODEL_DIM];
	char *long_text;
};

static const char query[] = "how do I reset the password of my router";

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const char *const words[] = {
	"the",    "quarterly", "report",   "of",      "a",         "small", "river",      "station",
	"shows",  "that",      "water",    "levels",  "after",     "heavy", "rain",       "were",
	"higher", "than",      "expected", "because", "engineers", "had",   "closed",     "two",
	"gates",  "for",       "repairs",  "and",     "nobody",    "told",  "downstream", "mills"};

/* Different texts of ordinary words, sentences of about 14. */
static size_t make_text(char *out, size_t size, uint32_t seed)
{
	size_t at = 0;

	for (uint32_t i = 0; at + 16 < size; i++) {
		seed = seed * 1664525 + 1013904223;
		at += (size_t)sprintf(out + at, "%s%s", words[seed >> 27],
				      i % 14 == 13 ? ". " : " ");
	}
	return at;
}

static void bench_int8(struct bench *b, const char *kernels, const char *row)
{
	const char *texts[BATCH];
	size_t lens[BATCH];
	struct encoder *e;
	unsigned done = 0;

	if (encoder_new(b->model, kernels, &e))
		return;
	for (int i = 0; i < BATCH; i++) {
		texts[i] = b->text;
		lens[i] = b->len;
	}
	const double begin = cpu_now();
	do {
		encoder_embed(e, b->scratch, texts, lens, BATCH, b->vectors);
		done += BATCH;
	} while (cpu_now() - begin < 0.25);
	table_add(&b->table, row, "1/s", done / (cpu_now() - begin));
	encoder_free(e);
}

static void bench_f32(struct bench *b, const char *row,
		      void (*embed)(const struct model *, struct encoder_f32_scratch *,
				    const uint32_t *, uint32_t, float *))
{
	const double begin = cpu_now();
	unsigned done = 0;

	do {
		embed(b->model, b->f32_scratch, b->ids, MODEL_TOKENS_MAX, b->vectors);
		done++;
	} while (cpu_now() - begin < 0.25);
	table_add(&b->table, row, "1/s", done / (cpu_now() - begin));
}

static void bench_query(struct bench *b, struct encoder *e)
{
	const char *texts[1] = {query};
	const size_t lens[1] = {sizeof(query) - 1};

	for (int i = 0; i < 50; i++) {
		const double begin = cpu_now();

		encoder_embed(e, b->scratch, texts, lens, 1, b->vectors);
		table_add(&b->table, "query of nine words, warm", "us", (cpu_now() - begin) * 1e6);
	}
}

static void bench_fallback(struct bench *b)
{
	const double begin = cpu_now();
	unsigned done = 0;

	do {
		fallback_embed(b->fallback, b->text, b->len, NULL, NULL, b->vectors);
		done++;
	} while (cpu_now() - begin < 0.1);
	table_add(&b->table, "fallback, 128 tokens", "1/s", done / (cpu_now() - begin));
}

static int drop(void *context, const struct passage *p)
{
	++*(unsigned *)context;
	return 0;
}

struct counting {
	const struct encoder *e;
	struct encoder_scratch *scratch;
};

static uint32_t count(void *context, const char *text, size_t len)
{
	struct counting *c = context;

	return encoder_count(c->e, c->scratch, text, len);
}

static void bench_split(struct bench *b, const struct encoder *e)
{
	struct counting counting = {e, b->scratch};
	const struct passage_settings settings = {.count = count, .count_context = &counting};
	unsigned passages = 0;
	struct passage_splitter *s = passages_new(&settings, drop, &passages);
	const double begin = cpu_now();

	if (!s || passages_feed(s, b->long_text, SPLIT_BYTES) || passages_finish(s))
		abort();
	table_add(&b->table, "cutting a text, tokens counted", "MB/s",
		  SPLIT_BYTES / (cpu_now() - begin) * 1e-6);
	passages_free(s);
}

static int prepare(struct bench *b)
{
	const char *path = getenv("MNEME_MODEL");
	char why[MODEL_WHY];

	if (!path) {
		fprintf(stderr, "bench_encoder: skipped: MNEME_MODEL names no converted model\n");
		return -1;
	}
	if (model_open(path, MODEL_WANT_ALL, &b->model, why)) {
		fprintf(stderr, "bench_encoder: %s\n", why);
		return -1;
	}
	b->scratch = encoder_scratch_new();
	b->f32_scratch = alloc_get(sizeof(*b->f32_scratch));
	b->fallback = fallback_scratch_new();
	b->long_text = alloc_get(SPLIT_BYTES);
	if (!b->scratch || !b->f32_scratch || !b->fallback || !b->long_text)
		return -1;
	const size_t made = make_text(b->long_text, SPLIT_BYTES, 1);
	memset(b->long_text + made, ' ', SPLIT_BYTES - made);
	while (b->len < 512 || tokenizer_count(b->model, &b->tokenizer, b->text, b->len) < 128)
		b->len = make_text(b->text, b->len + 64, 7);
	return tokenizer_encode(b->model, &b->tokenizer, b->text, b->len, b->ids, NULL,
				MODEL_TOKENS_MAX) == MODEL_TOKENS_MAX
		       ? 0
		       : -1;
}

static void run_round(struct bench *b, struct encoder *best)
{
	bench_f32(b, "plain f32 C, any processor, 128 tokens", encoder_f32_embed);
	bench_f32(b, "plain f32 C, -march=native, 128 tokens", encoder_f32_embed_native);
	bench_int8(b, "avx512vnni", "int8 avx512vnni, 128 tokens");
	bench_int8(b, "avxvnni", "int8 avxvnni, 128 tokens");
	bench_int8(b, "avx2", "int8 avx2, 128 tokens");
	bench_int8(b, "scalar", "int8 scalar, 128 tokens");
	bench_query(b, best);
	bench_fallback(b);
	bench_split(b, best);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct encoder *best;
	char row[48];
	int rounds = ROUNDS;

	for (int i = 1; i < argc; i++) {
		b.table.json |= !strcmp(argv[i], "--json");
		if (!strcmp(argv[i], "--quick"))
			rounds = ROUNDS_QUICK;
	}
	if (prepare(&b))
		return EXIT_FAILURE;
	if (encoder_new(b.model, NULL, &best))
		return EXIT_FAILURE;
	snprintf(row, sizeof(row), "int8 %s, 128 tokens", encoder_kernels_name(best));
	for (int i = 0; i < rounds; i++) {
		run_round(&b, best);
		const struct table_row *int8 = table_row(&b.table, row, "");
		const struct table_row *plain =
			table_row(&b.table, "plain f32 C, -march=native, 128 tokens", "");

		table_add(&b.table, "tokens encoded", "1/s", 128 * int8->value[i]);
		table_add(&b.table, "int8 over the faster plain f32", "times",
			  int8->value[i] / plain->value[i]);
	}
	table_hold(&b.table, row, "promised", 250, 0);
	table_hold(&b.table, "int8 over the faster plain f32", "promised", 5, 0);
	table_hold(&b.table, "query of nine words, warm", "wanted", 1000, 1);
	table_hold(&b.table, "fallback, 128 tokens", "promised", 10000, 0);
	table_print(&b.table);
	encoder_free(best);
	encoder_scratch_free(b.scratch);
	alloc_free(b.f32_scratch);
	fallback_scratch_free(b.fallback);
	alloc_free(b.long_text);
	model_close(b.model);
	return EXIT_SUCCESS;
}
