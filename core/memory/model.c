/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   maps and checks a model file.
 * Invariants: see model.h; nothing of the file is trusted before its bounds and checksum are seen.
 * Failure:   -errno and a sentence.
 */
#include "core/memory/model.h"
#include "core/memory/model_format.h"

#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct model_shape model_tensor_shape(uint32_t tensor)
{
	const uint32_t in = tensor < MODEL_LAYER_TENSORS ? MODEL_EMBEDDING_DIM : MODEL_WIDTH;

	switch (tensor) {
	case MODEL_EMBEDDING:
		return (struct model_shape){0, MODEL_EMBEDDING_DIM, 0};
	case MODEL_TIMING:
		return (struct model_shape){1, MODEL_EMBEDDING_DIM / 2, 0};
	case MODEL_RESIDUAL:
		return (struct model_shape){MODEL_EMBEDDING_DIM, MODEL_WIDTH, 1};
	case MODEL_RESIDUAL_BIAS:
		return (struct model_shape){1, MODEL_WIDTH, 0};
	case MODEL_FINAL:
		return (struct model_shape){MODEL_WIDTH, MODEL_DIM, 1};
	case MODEL_FINAL_BIAS:
		return (struct model_shape){1, MODEL_DIM, 0};
	default:
		break;
	}
	switch (tensor % MODEL_LAYER_TENSORS) {
	case MODEL_NORM1_SCALE:
	case MODEL_NORM1_BIAS:
		return (struct model_shape){1, in, 0};
	case MODEL_QKV:
		return (struct model_shape){in, 3 * in, 1};
	case MODEL_QKV_BIAS:
		return (struct model_shape){1, 3 * in, 0};
	case MODEL_OUT:
		return (struct model_shape){in, MODEL_WIDTH, 1};
	case MODEL_FFN1:
		return (struct model_shape){MODEL_WIDTH, MODEL_HIDDEN, 1};
	case MODEL_FFN1_BIAS:
		return (struct model_shape){1, MODEL_HIDDEN, 0};
	case MODEL_FFN2:
		return (struct model_shape){MODEL_HIDDEN, MODEL_WIDTH, 1};
	default:
		return (struct model_shape){1, MODEL_WIDTH, 0};
	}
}

uint32_t model_header_crc(const struct model_header *header)
{
	static const uint8_t zero[sizeof(header->crc)];
	const uint8_t *bytes = (const uint8_t *)header;
	const size_t at = offsetof(struct model_header, crc), next = at + sizeof(zero);
	uint32_t crc = crc32c(0, bytes, at);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, bytes + next, MODEL_HEADER - next);
}

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, MODEL_WHY, fmt, args);
	va_end(args);
	return err;
}

static int terminated(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

static int check_header(const struct model_header *h, size_t len, char *why)
{
	if (len < MODEL_HEADER || memcmp(h->magic, MODEL_MAGIC, sizeof(h->magic)))
		return fail(why, -EUCLEAN, "this is not a model file");
	if (h->version != MODEL_VERSION)
		return fail(why, -EPROTONOSUPPORT,
			    "the model file has version %u, this program reads %u: convert again",
			    h->version, MODEL_VERSION);
	if (h->crc != model_header_crc(h))
		return fail(why, -EUCLEAN, "the header of the model file is damaged");
	if (h->file_size != len)
		return fail(why, -EUCLEAN, "the model file has %zu bytes instead of %llu", len,
			    (unsigned long long)h->file_size);
	if (h->dim != MODEL_DIM || h->tokens_max != MODEL_TOKENS_MAX ||
	    h->pieces <= MODEL_CONTROLS || h->pieces > MODEL_PIECES_MAX || !h->trie_slots ||
	    h->sections > sizeof(h->section) / sizeof(h->section[0]) ||
	    !terminated(h->name, sizeof(h->name)) || !terminated(h->licence, sizeof(h->licence)) ||
	    !terminated(h->source, sizeof(h->source)))
		return fail(why, -EUCLEAN, "the header of the model file makes no sense");
	return 0;
}

/* The bytes of a section if they lie inside the file, are as long as they must be and have their
 * checksum. */
static const uint8_t *section_bytes(const struct model *m, const struct model_section *s,
				    uint64_t length)
{
	if (s->offset % MODEL_ALIGN || s->offset < MODEL_HEADER || s->offset > m->map_len ||
	    s->length > m->map_len - s->offset || s->length != length)
		return NULL;
	if (crc32c(0, m->map + s->offset, s->length) != s->crc)
		return NULL;
	return m->map + s->offset;
}

static int take_tensor(struct model *m, const struct model_section *s)
{
	if (s->tensor >= MODEL_TENSORS)
		return -EUCLEAN;

	struct model_shape shape = model_tensor_shape(s->tensor);
	if (s->tensor == MODEL_EMBEDDING)
		shape.rows = m->pieces;
	if (s->rows != shape.rows || s->cols != shape.cols)
		return -EUCLEAN;
	if (s->kind == MODEL_KIND_F32) {
		m->f32[s->tensor] = (const float *)section_bytes(m, s, 4ull * s->rows * s->cols);
		return m->f32[s->tensor] ? 0 : -EUCLEAN;
	}
	if (!shape.quantised)
		return -EUCLEAN;
	const uint8_t *bytes = section_bytes(m, s, model_packed_size(s->rows, s->cols));
	if (!bytes)
		return -EUCLEAN;
	const uint8_t *scale = bytes + (size_t)s->rows * s->cols;
	m->packed[s->tensor] = (struct model_packed){
		.data = (const int8_t *)bytes,
		.scale = (const float *)scale,
		.sum = (const int32_t *)(scale + 4 * (size_t)s->cols),
		.rows = s->rows,
		.cols = s->cols,
	};
	return 0;
}

static int take_pieces(struct model *m, const struct model_section *s)
{
	const uint64_t table = 8ull * m->pieces + 4;

	if (s->length < table)
		return -EUCLEAN;
	const uint8_t *bytes = section_bytes(m, s, s->length);
	if (!bytes)
		return -EUCLEAN;
	m->piece_begin = (const uint32_t *)bytes;
	m->piece_score = (const float *)(bytes + 4ull * (m->pieces + 1));
	m->piece_bytes = (const char *)bytes + table;
	for (uint32_t i = 0; i < m->pieces; i++)
		if (m->piece_begin[i] > m->piece_begin[i + 1] || !isfinite(m->piece_score[i]))
			return -EUCLEAN;
	return m->piece_begin[m->pieces] > s->length - table ? -EUCLEAN : 0;
}

static int take_trie(struct model *m, const struct model_section *s)
{
	const uint8_t *bytes = section_bytes(m, s, (uint64_t)m->trie_slots * 12);

	if (!bytes)
		return -EUCLEAN;
	m->trie = (const struct model_trie_slot *)bytes;
	for (uint32_t i = 0; i < m->trie_slots; i++)
		if (m->trie[i].piece >= (int64_t)m->pieces)
			return -EUCLEAN;
	return 0;
}

static int take_sections(struct model *m, const struct model_header *h, unsigned want)
{
	int rc = 0;

	for (uint32_t i = 0; i < h->sections && !rc; i++) {
		const struct model_section *s = &h->section[i];
		const int small =
			s->tensor < MODEL_TENSORS && !model_tensor_shape(s->tensor).quantised;

		if (s->kind == MODEL_KIND_PIECES)
			rc = take_pieces(m, s);
		else if (s->kind == MODEL_KIND_TRIE)
			rc = take_trie(m, s);
		else if (s->kind == MODEL_KIND_I8 && (want & MODEL_WANT_I8))
			rc = take_tensor(m, s);
		else if (s->kind == MODEL_KIND_F32 && (small || (want & MODEL_WANT_F32)))
			rc = take_tensor(m, s);
	}
	return rc;
}

static int complete(const struct model *m, unsigned want)
{
	for (uint32_t t = 0; t < MODEL_TENSORS; t++) {
		const int quantised = model_tensor_shape(t).quantised;

		if (!m->f32[t] && (!quantised || (want & MODEL_WANT_F32)))
			return 0;
		if (!m->packed[t].data && quantised && (want & MODEL_WANT_I8))
			return 0;
	}
	return m->piece_begin && m->trie;
}

static int model_take(struct model *m, unsigned want, char *why)
{
	const struct model_header *h = (const struct model_header *)m->map;
	int rc = check_header(h, m->map_len, why);

	if (rc)
		return rc;
	m->pieces = h->pieces;
	m->trie_slots = h->trie_slots;
	memcpy(m->name, h->name, sizeof(m->name));
	memcpy(m->licence, h->licence, sizeof(m->licence));
	memcpy(m->source, h->source, sizeof(m->source));
	memcpy(m->sha256, h->sha256, sizeof(m->sha256));
	if (take_sections(m, h, want))
		return fail(why, -EUCLEAN, "a section of the model file is damaged");
	if (!complete(m, want))
		return fail(why, -EUCLEAN, "the model file lacks a section");
	return 0;
}

int model_open_memory(const void *bytes, size_t len, unsigned want, struct model **out, char *why)
{
	struct model *m;
	int rc;

	if ((uintptr_t)bytes % MODEL_ALIGN)
		return fail(why, -EINVAL, "the model's bytes are not aligned");
	m = alloc_zeroed(1, sizeof(*m));
	if (!m)
		return fail(why, -ENOMEM, "out of memory");
	m->map = bytes;
	m->map_len = len;
	rc = model_take(m, want, why);
	if (rc) {
		alloc_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

int model_open(const char *path, unsigned want, struct model **out, char *why)
{
	struct stat st;
	void *map;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(why, -errno, "cannot open the model %s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < MODEL_HEADER) {
		rc = fail(why, -EUCLEAN, "%s is not a model file", path);
		goto out_close;
	}
	map = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		rc = fail(why, -errno, "cannot map the model %s: %s", path, strerror(errno));
		goto out_close;
	}
	rc = model_open_memory(map, st.st_size, want, out, why);
	if (rc)
		munmap(map, st.st_size);
	else
		(*out)->mapped = 1;
out_close:
	close(fd);
	return rc;
}

void model_close(struct model *model)
{
	if (!model)
		return;
	if (model->mapped)
		munmap((void *)model->map, model->map_len);
	alloc_free(model);
}
