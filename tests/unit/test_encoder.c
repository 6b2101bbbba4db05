/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of the sentence encoder: model file, tokenizer, kernels, both passes, fallback.
 *            MNEME_MODEL names a converted model, MNEME_DATA_DIR the directory of the reference
 *            vectors and sentences; what needs them is skipped without.
 */
#include "core/memory/encoder.h"
#include "core/memory/encoder_f32.h"
#include "core/memory/encoder_kernels.h"
#include "core/memory/fallback.h"
#include "core/memory/model_format.h"
#include "core/memory/model_pack.h"
#include "core/memory/tokenizer.h"
#include "pool/alloc.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kernel_names[] = {"scalar", "avx2", "avxvnni", "avx512vnni"};
enum { KERNEL_NAMES = 4 };

static struct model *model; /* NULL: skip what needs it */

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

static void fill(float *v, size_t n, uint32_t seed, float low, float high)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		v[i] = low + (high - low) * (float)(seed >> 8) / (1 << 24);
	}
}

static void *aligned(size_t size)
{
	void *p = alloc_aligned(64, size);

	ck_assert_ptr_nonnull(p);
	return p;
}

static struct model_packed unpack(uint8_t *section, uint32_t rows, uint32_t cols)
{
	return (struct model_packed){
		.data = (int8_t *)section,
		.scale = (float *)(section + rows * cols),
		.sum = (int32_t *)(section + rows * cols + 4 * cols),
		.rows = rows,
		.cols = cols,
	};
}

START_TEST(test_kernels_products_are_exact_in_every_table)
{
	enum { DEPTH = 256, COLS = 192, ROWS_MAX = 15 };
	float *w = aligned(DEPTH * COLS * 4), *bias = aligned(COLS * 4), scale[ROWS_MAX];
	float *want = aligned(ROWS_MAX * COLS * 4), *got = aligned(ROWS_MAX * COLS * 4);
	uint8_t *section = aligned(model_packed_size(DEPTH, COLS)), *a = aligned(ROWS_MAX * DEPTH);
	const struct encoder_kernels *k = encoder_kernels_get(kernel_names[_i]);

	fill(w, DEPTH * COLS, 1, -1, 1);
	fill(bias, COLS, 2, -1, 1);
	fill(scale, ROWS_MAX, 3, 0.1f, 1);
	for (size_t i = 0; i < ROWS_MAX * DEPTH; i++)
		a[i] = i % 5 ? (uint8_t)(i * 7919 >> 3) : 255; /* extremes too */
	for (size_t i = 0; i < DEPTH; i++)
		w[i * COLS] = i % 2 ? 1 : -1; /* +-127: sums of pairs beyond 16 bits */
	model_pack_i8(w, DEPTH, COLS, section);
	const struct model_packed packed = unpack(section, DEPTH, COLS);
	for (uint32_t rows = 1; k && rows <= ROWS_MAX; rows++) {
		struct kernel_product p = {&packed,
					   bias,
					   a,
					   scale,
					   rows % 2 ? 128 : 0,
					   rows,
					   want,
					   COLS,
					   (enum kernel_store)(rows % 3)};

		fill(want, ROWS_MAX * COLS, 4, -1, 1);
		fill(got, ROWS_MAX * COLS, 4, -1, 1);
		encoder_kernels_scalar.product(&p);
		p.out = got;
		k->product(&p);
		for (size_t i = 0; i < ROWS_MAX * COLS; i++)
			ck_assert_float_eq_tol(got[i], want[i], 1e-5f * (1 + fabsf(want[i])));
	}
	alloc_free(w), alloc_free(bias), alloc_free(want), alloc_free(got);
	alloc_free(section), alloc_free(a);
}
END_TEST

START_TEST(test_kernels_agree_with_the_scalar_ones)
{
	enum { ROWS = 37, WIDTH = 512 };
	const struct encoder_kernels *k = encoder_kernels_get(kernel_names[_i]);
	const struct encoder_kernels *oracle = &encoder_kernels_scalar;
	float *x = aligned(ROWS * 3 * WIDTH * 4), *p = aligned(2 * WIDTH * 4), scale[2][ROWS];
	float *out[2] = {aligned(ROWS * WIDTH * 4), aligned(ROWS * WIDTH * 4)};
	uint8_t *bytes[2] = {aligned(ROWS * WIDTH), aligned(ROWS * WIDTH)};
	struct kernel_attention *scratch = aligned(sizeof(*scratch));

	fill(x, ROWS * 3 * WIDTH, 5, -3, 3);
	fill(p, 2 * WIDTH, 6, -1, 1);
	for (int what = 0; k && what < 3; what++) {
		for (int side = 0; side < 2; side++) {
			const struct encoder_kernels *t = side ? k : oracle;

			if (what == 0)
				t->norm(x, ROWS, WIDTH, p, p + WIDTH, bytes[side], scale[side]);
			else if (what == 1)
				t->quantise(x, ROWS, WIDTH, bytes[side], scale[side]);
			else
				t->quantise_positive(x + ROWS * WIDTH, ROWS, WIDTH, bytes[side],
						     scale[side]);
		}
		for (size_t i = 0; i < ROWS; i++)
			ck_assert_float_eq_tol(scale[0][i], scale[1][i], 1e-6f);
		for (size_t i = 0; i < ROWS * WIDTH; i++)
			ck_assert_int_le(abs(bytes[0][i] - bytes[1][i]), 1);
		if (what == 1) /* the next one wants what is not negative */
			for (size_t i = 0; i < ROWS * WIDTH; i++)
				x[ROWS * WIDTH + i] = fabsf(x[ROWS * WIDTH + i]);
	}
	for (uint32_t rows = 1; k && rows <= ROWS; rows += 4) {
		oracle->attention(x, rows, WIDTH, scratch, out[0]);
		k->attention(x, rows, WIDTH, scratch, out[1]);
		for (size_t i = 0; i < (size_t)rows * WIDTH; i++)
			ck_assert_float_eq_tol(out[0][i], out[1][i], 0.1f);
		oracle->mean(x, rows, WIDTH, out[0]);
		k->mean(x, rows, WIDTH, out[1]);
		for (size_t i = 0; i < WIDTH; i++)
			ck_assert_float_eq_tol(out[0][i], out[1][i], 1e-5f);
	}
	alloc_free(x), alloc_free(p), alloc_free(out[0]), alloc_free(out[1]);
	alloc_free(bytes[0]), alloc_free(bytes[1]), alloc_free(scratch);
}
END_TEST

START_TEST(test_kernels_zero_rows_stay_zero)
{
	const struct encoder_kernels *k = encoder_kernels_get(kernel_names[_i]);
	_Alignas(64) float x[64] = {0}, scale;
	_Alignas(64) uint8_t out[64];

	if (!k)
		return;
	k->quantise(x, 1, 64, out, &scale);
	ck_assert_float_eq(scale, 0);
	for (int i = 0; i < 64; i++)
		ck_assert_uint_eq(out[i], 128);
}
END_TEST

START_TEST(test_kernels_names)
{
	ck_assert_ptr_nonnull(encoder_kernels_get(NULL));
	ck_assert_ptr_eq(encoder_kernels_get("scalar"), &encoder_kernels_scalar);
	ck_assert_ptr_null(encoder_kernels_get("abacus"));
}
END_TEST

START_TEST(test_trie_finds_every_piece)
{
	static const char *const pieces[] = {"c0",
					     "c1",
					     "c2",
					     "c3",
					     "c4",
					     "c5",
					     "a",
					     "ab",
					     "abc",
					     "b",
					     "\xe2\x96\x81",
					     "\xe2\x96\x81"
					     "a",
					     "zz",
					     "a"};
	enum { N = sizeof(pieces) / sizeof(pieces[0]) };
	uint32_t begin[N + 1] = {0}, slots;
	struct model_trie_slot *trie;
	char bytes[256] = "";

	for (int i = 0; i < N; i++) {
		strcat(bytes, pieces[i]);
		begin[i + 1] = (uint32_t)strlen(bytes);
	}
	ck_assert_int_eq(model_build_trie(begin, bytes, N, &trie, &slots), 0);
	for (int i = 0; i < N; i++) {
		uint32_t slot = 0;
		int found = -1;

		for (const char *p = pieces[i]; *p; p++) {
			const uint32_t next = (uint32_t)trie[slot].base + (uint8_t)*p;

			if (next >= slots || trie[next].check != slot) {
				slot = UINT32_MAX;
				break;
			}
			slot = next;
		}
		if (slot != UINT32_MAX)
			found = trie[slot].piece;
		ck_assert_int_eq(found, i < 6 ? -1 : i == 13 ? 6 : i); /* controls; the first "a" */
	}
	alloc_free(trie);
}
END_TEST

static const char *pieces_of(const char *text)
{
	static char out[4096];
	static struct tokenizer_scratch scratch;
	uint32_t ids[MODEL_TOKENS_MAX];
	const uint32_t n =
		tokenizer_encode(model, &scratch, text, strlen(text), ids, NULL, MODEL_TOKENS_MAX);
	size_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t from = model->piece_begin[ids[i]];

		at += sprintf(out + at, "%s%.*s", i ? "|" : "",
			      (int)(model->piece_begin[ids[i] + 1] - from),
			      model->piece_bytes + from);
	}
	out[at] = 0;
	return out;
}

#define M "\xe2\x96\x81"

START_TEST(test_tokenizer_segments_as_the_reference)
{
	ck_assert_str_eq(pieces_of("A cat sat on the mat."),
			 M "A|" M "cat|" M "sat|" M "on|" M "the|" M "ma|t|.");
	ck_assert_str_eq(pieces_of("  A\n\tcat  "), M "A|" M "cat");
	ck_assert_str_eq(pieces_of("\xe6\x97\xa5\xe6\x9c\xac x"), M "|\xef\xbf\xbd|" M "x");
	ck_assert_str_eq(pieces_of(""), "");
	ck_assert_str_eq(pieces_of(" \n"), "");
}
END_TEST

START_TEST(test_tokenizer_counts_what_it_encodes_and_stops_at_the_most)
{
	static struct tokenizer_scratch scratch;
	uint32_t ids[MODEL_TOKENS_MAX], offset[MODEL_TOKENS_MAX];
	char text[6000] = "";

	ck_assert_uint_eq(tokenizer_encode(model, &scratch, "the cat", 7, ids, offset, 128), 2);
	ck_assert_uint_eq(offset[0], 0);
	ck_assert_uint_eq(offset[1], 4);
	for (int i = 0; i < 300; i++)
		strcat(text, "the cat. ");
	ck_assert_uint_eq(tokenizer_count(model, &scratch, text, strlen(text)), 900);
	ck_assert_uint_eq(tokenizer_encode(model, &scratch, text, strlen(text), ids, offset, 128),
			  128);
	memset(text, 'q', sizeof(text)); /* one word of thousands of bytes */
	ck_assert_uint_gt(tokenizer_count(model, &scratch, text, sizeof(text)), 1000);
}
END_TEST

static FILE *data_file(const char *name)
{
	const char *dir = getenv("MNEME_DATA_DIR");
	char path[4096];

	if (!dir)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "r");
}

/* Both passes of a text. */
static void embed_both(const struct encoder *e, struct encoder_scratch *s, const char *text,
		       float *f32, float *i8)
{
	static struct encoder_f32_scratch oracle;
	static struct tokenizer_scratch tokenizer;
	uint32_t ids[MODEL_TOKENS_MAX];
	const size_t len = strlen(text);
	const uint32_t n =
		tokenizer_encode(model, &tokenizer, text, len, ids, NULL, MODEL_TOKENS_MAX);

	encoder_f32_embed(model, &oracle, ids, n, f32);
	encoder_embed(e, s, &text, &len, 1, i8);
}

START_TEST(test_encoder_reproduces_the_reference_vectors)
{
	FILE *texts = data_file("use_texts.txt"), *vectors = data_file("use_vectors.tsv");
	struct encoder *e;
	struct encoder_scratch *s = encoder_scratch_new();
	float f32[MODEL_DIM], i8[MODEL_DIM], want[MODEL_DIM];
	double least = 1;
	char line[4096];
	int count = 0;

	if (!texts || !vectors) {
		printf("skipped: MNEME_DATA_DIR has no use_texts.txt and use_vectors.tsv\n");
		encoder_scratch_free(s);
		return;
	}
	ck_assert_int_eq(encoder_new(model, NULL, &e), 0);
	for (; fgets(line, sizeof(line), texts); count++) {
		line[strcspn(line, "\n")] = 0;
		embed_both(e, s, line, f32, i8);
		for (int i = 0; i < MODEL_DIM; i++) {
			ck_assert_int_eq(fscanf(vectors, "%f", &want[i]), 1);
			ck_assert_float_eq_tol(f32[i], want[i], 2e-6f);
		}
		least = fmin(least, dot(i8, want, MODEL_DIM));
	}
	ck_assert_int_eq(count, 12);
	printf("reference vectors: f32 within 2e-6, int8 (%s) cosine at least %.5f\n",
	       encoder_kernels_name(e), least);
	ck_assert_double_ge(least, 0.995);
	encoder_free(e);
	encoder_scratch_free(s);
	fclose(texts);
	fclose(vectors);
}
END_TEST

/* The nth sentence of the paraphrase collection: its sixth column. */
static const char *next_sentence(FILE *f, char *line, size_t size)
{
	if (!fgets(line, (int)size, f))
		return NULL;
	char *at = line;
	for (int i = 0; i < 5 && at; i++) {
		at = strchr(at, '\t');
		at = at ? at + 1 : NULL;
	}
	if (at)
		at[strcspn(at, "\t\n")] = 0;
	return at;
}

START_TEST(test_encoder_int8_is_close_to_f32_on_1000_texts)
{
	FILE *f = data_file("stsb/sts-dev.csv");
	struct encoder *e;
	struct encoder_scratch *s = encoder_scratch_new();
	float f32[MODEL_DIM], i8[MODEL_DIM];
	double least = 1, sum = 0;
	char line[4096];
	const char *text;
	int count = 0;

	if (!f) {
		printf("skipped: MNEME_DATA_DIR has no stsb/sts-dev.csv\n");
		encoder_scratch_free(s);
		return;
	}
	ck_assert_int_eq(encoder_new(model, NULL, &e), 0);
	while (count < 1000 && (text = next_sentence(f, line, sizeof(line)))) {
		embed_both(e, s, text, f32, i8);
		const double cosine = dot(f32, i8, MODEL_DIM);

		ck_assert_double_eq_tol(dot(i8, i8, MODEL_DIM), 1, 1e-5);
		least = fmin(least, cosine);
		sum += cosine;
		count++;
	}
	printf("int8 (%s) to f32 on %d texts: cosine at least %.5f, mean %.5f\n",
	       encoder_kernels_name(e), count, least, sum / count);
	ck_assert_int_eq(count, 1000);
	ck_assert_double_ge(least, 0.995);
	encoder_free(e);
	encoder_scratch_free(s);
	fclose(f);
}
END_TEST

static const char *const some_texts[] = {
	"The router has to be restarted after the firmware update.",
	"",
	"memory",
	"You must reboot the gateway once new firmware is installed.",
	"\xff\xfe\x80",
	"A longer text, so that the group of passages fills and has to be run in several rounds: "
	"one "
	"after another, each with its own weights read again from the caches of the processor at "
	"hand, and each passage with its own attention, which sees nothing of its neighbours in "
	"the "
	"same batch, whatever they say and however long they are, to the very last of the tokens "
	"that fit; what goes beyond is cut off, and nobody minds, since passages are made to fit.",
};
enum { SOME_TEXTS = sizeof(some_texts) / sizeof(some_texts[0]) };

static void embed_some(const struct encoder *e, struct encoder_scratch *s, size_t from, size_t n,
		       float *out)
{
	const char *texts[64];
	size_t lens[64];

	for (size_t i = 0; i < n; i++) {
		texts[i] = some_texts[(from + i) % SOME_TEXTS];
		lens[i] = strlen(texts[i]);
	}
	encoder_embed(e, s, texts, lens, n, out);
}

START_TEST(test_encoder_vector_does_not_depend_on_the_batch)
{
	static float batch[64 * MODEL_DIM], one[MODEL_DIM];
	struct encoder_scratch *s = encoder_scratch_new();
	struct encoder *e;

	if (encoder_new(model, kernel_names[_i], &e)) {
		encoder_scratch_free(s);
		return;
	}
	const size_t n = _i ? 64 : 7; /* the scalar table is slow */
	embed_some(e, s, 0, n, batch);
	for (size_t i = 0; i < n; i++) {
		embed_some(e, s, i, 1, one);
		ck_assert_mem_eq(one, batch + i * MODEL_DIM, sizeof(one));
	}
	ck_assert_double_eq(dot(batch + MODEL_DIM, batch + MODEL_DIM, MODEL_DIM), 0); /* "" */
	encoder_free(e);
	encoder_scratch_free(s);
}
END_TEST

START_TEST(test_encoder_tables_agree)
{
	static float want[SOME_TEXTS * MODEL_DIM], got[SOME_TEXTS * MODEL_DIM];
	struct encoder_scratch *s = encoder_scratch_new();
	struct encoder *oracle, *e;

	ck_assert_int_eq(encoder_new(model, "scalar", &oracle), 0);
	embed_some(oracle, s, 0, SOME_TEXTS, want);
	for (int k = 1; k < KERNEL_NAMES; k++) {
		if (encoder_new(model, kernel_names[k], &e))
			continue;
		embed_some(e, s, 0, SOME_TEXTS, got);
		for (int i = 0; i < SOME_TEXTS; i++)
			if (i != 1)
				ck_assert_double_ge(
					dot(want + i * MODEL_DIM, got + i * MODEL_DIM, MODEL_DIM),
					0.9995);
		encoder_free(e);
	}
	encoder_free(oracle);
	encoder_scratch_free(s);
}
END_TEST

START_TEST(test_encoder_warm_embedding_allocates_nothing)
{
	static float out[SOME_TEXTS * MODEL_DIM];
	struct encoder_scratch *s = encoder_scratch_new();
	struct encoder *e;

	ck_assert_int_eq(encoder_new(model, NULL, &e), 0);
	const uint64_t before = alloc_count_total();
	embed_some(e, s, 0, SOME_TEXTS, out);
	ck_assert_uint_eq(alloc_count_total(), before);
	encoder_free(e);
	encoder_scratch_free(s);
}
END_TEST

static void *embed_thread(void *arg)
{
	struct encoder_scratch *s = encoder_scratch_new();
	float *out = malloc(16 * MODEL_DIM * sizeof(float));

	embed_some(arg, s, 0, 16, out);
	encoder_scratch_free(s);
	return out;
}

START_TEST(test_encoder_is_shared_by_threads)
{
	pthread_t t[4];
	void *out[4];
	struct encoder *e;

	ck_assert_int_eq(encoder_new(model, NULL, &e), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, embed_thread, e), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], &out[i]);
	for (int i = 1; i < 4; i++)
		ck_assert_mem_eq(out[0], out[i], 16 * MODEL_DIM * sizeof(float));
	for (int i = 0; i < 4; i++)
		free(out[i]);
	encoder_free(e);
}
END_TEST

START_TEST(test_model_states_licence_and_source)
{
	ck_assert_str_eq(model->licence, "Apache-2.0");
	ck_assert_ptr_nonnull(strstr(model->source, "model-embeddings-en 0.2.0"));
	ck_assert_uint_eq(model->pieces, 8000);
}
END_TEST

START_TEST(test_model_damage_is_found)
{
	const char *path = getenv("MNEME_MODEL");
	char why[MODEL_WHY];
	struct model *m;
	uint8_t *copy = aligned(model->map_len);

	memcpy(copy, model->map, model->map_len);
	ck_assert_int_eq(model_open_memory(copy, model->map_len, MODEL_WANT_ALL, &m, why), 0);
	model_close(m);
	ck_assert_int_eq(model_open_memory(copy, model->map_len - 64, MODEL_WANT_ALL, &m, why),
			 -EUCLEAN);
	for (size_t i = 0; i < 40; i++) { /* a bit anywhere in what is named by the tables */
		const struct model_header *h = (const struct model_header *)copy;
		const struct model_section *s = &h->section[i % h->sections];
		uint8_t *at = copy + (i % 5 ? s->offset + s->length * i / 41 : 8 + i);

		*at ^= 1 << i % 8;
		ck_assert_int_lt(model_open_memory(copy, model->map_len, MODEL_WANT_ALL, &m, why),
				 0);
		ck_assert_uint_gt(strlen(why), 10);
		*at ^= 1 << i % 8;
	}
	ck_assert_int_eq(model_open("/nonexistent/model", MODEL_WANT_I8, &m, why), -ENOENT);
	ck_assert_int_eq(model_open(path, MODEL_WANT_I8, &m, why), 0);
	ck_assert_ptr_null(m->f32[MODEL_QKV]);
	model_close(m);
	alloc_free(copy);
}
END_TEST

START_TEST(test_model_convert_refuses_what_is_no_package)
{
	char why[MODEL_WHY];

	ck_assert_int_lt(model_convert("/nonexistent", "/nonexistent/out", why), 0);
	ck_assert_ptr_nonnull(strstr(why, "package.json"));
}
END_TEST

static double similarity(const char *a, const char *b)
{
	struct fallback_scratch *s = fallback_scratch_new();
	float x[FALLBACK_DIM], y[FALLBACK_DIM];

	fallback_embed(s, a, strlen(a), NULL, NULL, x);
	fallback_embed(s, b, strlen(b), NULL, NULL, y);
	fallback_scratch_free(s);
	return dot(x, y, FALLBACK_DIM);
}

START_TEST(test_fallback_ranks_shared_words_and_stems)
{
	ck_assert_double_eq_tol(similarity("a quiet river", "a quiet river"), 1, 1e-5);
	ck_assert_double_eq_tol(similarity("A Quiet RIVER!", "a quiet river"), 1, 1e-5);
	ck_assert_double_gt(similarity("restarting routers", "restart the router"),
			    similarity("restarting routers", "a cat on a mat") + 0.2);
	ck_assert_double_gt(similarity("caf\xc3\xa9s", "cafe\xcc\x81"), 0.3);
	ck_assert_double_eq(similarity("", "word"), 0);
	ck_assert_double_eq(similarity("...", "word"), 0);
}
END_TEST

static float no_weight(void *context, uint64_t feature)
{
	++*(int *)context;
	return feature & 1 ? 1 : 0;
}

START_TEST(test_fallback_asks_for_idf_and_bounds_features)
{
	struct fallback_scratch *s = fallback_scratch_new();
	float plain[FALLBACK_DIM], weighted[FALLBACK_DIM];
	char *text = malloc(300000);
	size_t at = 0;
	int asked = 0;

	fallback_embed(s, "words weigh nothing", 19, NULL, NULL, plain);
	fallback_embed(s, "words weigh nothing", 19, no_weight, &asked, weighted);
	ck_assert_int_gt(asked, 20);
	ck_assert_double_lt(dot(plain, weighted, FALLBACK_DIM), 0.99);
	for (int i = 0; i < 20000; i++)
		at += sprintf(text + at, "w%d ", i * 7919);
	fallback_embed(s, text, at, NULL, NULL, plain);
	ck_assert_double_eq_tol(dot(plain, plain, FALLBACK_DIM), 1, 1e-4);
	free(text);
	fallback_scratch_free(s);
}
END_TEST

static void add_model_tests(Suite *s)
{
	TCase *tc = tcase_create("with a model");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, test_tokenizer_segments_as_the_reference);
	tcase_add_test(tc, test_tokenizer_counts_what_it_encodes_and_stops_at_the_most);
	tcase_add_test(tc, test_encoder_reproduces_the_reference_vectors);
	tcase_add_test(tc, test_encoder_int8_is_close_to_f32_on_1000_texts);
	tcase_add_loop_test(tc, test_encoder_vector_does_not_depend_on_the_batch, 0, KERNEL_NAMES);
	tcase_add_test(tc, test_encoder_tables_agree);
	tcase_add_test(tc, test_encoder_warm_embedding_allocates_nothing);
	tcase_add_test(tc, test_encoder_is_shared_by_threads);
	tcase_add_test(tc, test_model_states_licence_and_source);
	tcase_add_test(tc, test_model_damage_is_found);
	suite_add_tcase(s, tc);
}

int main(void)
{
	const char *path = getenv("MNEME_MODEL");
	char why[MODEL_WHY];
	Suite *s = suite_create("encoder");
	TCase *tc = tcase_create("without a model");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_kernels_products_are_exact_in_every_table, 0, KERNEL_NAMES);
	tcase_add_loop_test(tc, test_kernels_agree_with_the_scalar_ones, 0, KERNEL_NAMES);
	tcase_add_loop_test(tc, test_kernels_zero_rows_stay_zero, 0, KERNEL_NAMES);
	tcase_add_test(tc, test_kernels_names);
	tcase_add_test(tc, test_trie_finds_every_piece);
	tcase_add_test(tc, test_model_convert_refuses_what_is_no_package);
	tcase_add_test(tc, test_fallback_ranks_shared_words_and_stems);
	tcase_add_test(tc, test_fallback_asks_for_idf_and_bounds_features);
	suite_add_tcase(s, tc);
	if (!path)
		printf("skipped: MNEME_MODEL names no converted model, its tests are left out\n");
	else if (model_open(path, MODEL_WANT_ALL, &model, why))
		printf("%s\n", why);
	if (path)
		add_model_tests(s);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r) || (path && !model);
	srunner_free(r);
	model_close(model);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
