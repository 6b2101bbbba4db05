/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the model file's reader: whatever it accepts can be tokenised with.
 * Invariants: checksums are made good after mutation, so that damage reaches the checks behind
 *            them. The large tensors are not asked for, so that inputs stay small.
 */
#include "core/memory/model_format.h"
#include "core/memory/tokenizer.h"
#include "simd/crc32c.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { IMAGE_MAX = 128 << 10, PIECES = 12 };

static _Alignas(64) uint8_t image[IMAGE_MAX];

static void mend(size_t size)
{
	struct model_header *h = (struct model_header *)image;

	if (size < MODEL_HEADER)
		return;
	for (size_t i = 0; i < sizeof(h->section) / sizeof(h->section[0]); i++) {
		struct model_section *s = &h->section[i];

		if (s->offset <= size && s->length <= size - s->offset)
			s->crc = crc32c(0, image + s->offset, s->length);
	}
	h->crc = model_header_crc(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tokenizer_scratch scratch;
	static const char text[] = "abc ab \xe2\x96\x81 zz, a word of unknown letters";
	char why[MODEL_WHY];
	struct model *m;

	if (size > IMAGE_MAX)
		size = IMAGE_MAX;
	memcpy(image, data, size);
	mend(size);
	if (!model_open_memory(image, size, 0, &m, why)) {
		uint32_t ids[MODEL_TOKENS_MAX];
		const uint32_t n = tokenizer_encode(m, &scratch, text, sizeof(text) - 1, ids, NULL,
						    MODEL_TOKENS_MAX);

		for (uint32_t i = 0; i < n; i++)
			if (ids[i] >= m->pieces)
				__builtin_trap();
		model_close(m);
	}
	return 0;
}

static void add_section(struct model_header *h, struct model_section s, const void *bytes,
			uint64_t *at)
{
	s.offset = *at;
	memcpy(image + *at, bytes, s.length);
	*at = (*at + s.length + MODEL_ALIGN - 1) / MODEL_ALIGN * MODEL_ALIGN;
	h->section[h->sections++] = s;
}

/* Header, vocabulary and trie ("a", "ab"), and with `tensors` every small tensor, all zero. */
static uint64_t make_image(int tensors)
{
	static const float zero[PIECES * MODEL_EMBEDDING_DIM];
	struct model_header *h = (struct model_header *)image;
	uint32_t pieces[PIECES + 1 + PIECES + 4] = {0};
	struct model_trie_slot trie[200];
	uint64_t at = MODEL_HEADER;

	memset(image, 0, sizeof(image));
	memcpy(h->magic, MODEL_MAGIC, 8);
	h->version = MODEL_VERSION;
	h->pieces = PIECES;
	h->dim = MODEL_DIM;
	h->tokens_max = MODEL_TOKENS_MAX;
	h->trie_slots = 200;
	for (uint32_t i = 0; i < 200; i++)
		trie[i] = (struct model_trie_slot){0, UINT32_MAX, -1};
	trie[0].base = 1;
	trie['a' + 1] = (struct model_trie_slot){2, 0, 6};
	trie['b' + 2] = (struct model_trie_slot){0, 'a' + 1, 7};
	for (uint32_t i = 7; i <= PIECES; i++)
		pieces[i] = 1;
	memcpy(pieces + 2 * PIECES + 1, "aabz", 4);
	add_section(h, (struct model_section){.kind = MODEL_KIND_PIECES, .length = sizeof(pieces)},
		    pieces, &at);
	add_section(h, (struct model_section){.kind = MODEL_KIND_TRIE, .length = sizeof(trie)},
		    trie, &at);
	for (uint32_t t = 0; tensors && t < MODEL_TENSORS; t++) {
		struct model_shape shape = model_tensor_shape(t);

		if (shape.quantised)
			continue;
		if (t == MODEL_EMBEDDING)
			shape.rows = PIECES;
		const struct model_section s = {MODEL_KIND_F32,
						t,
						shape.rows,
						shape.cols,
						0,
						4ull * shape.rows * shape.cols,
						0,
						0};
		add_section(h, s, zero, &at);
	}
	h->file_size = at;
	return at;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	if (number > 1)
		return 0;
	const size_t size = make_image(number == 1);
	if (size > capacity)
		return 0;
	memcpy(buffer, image, size);
	return size;
}
