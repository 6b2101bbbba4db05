/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reads an unpacked package of the sentence encoder: JSON by jansson, shards as bytes.
 * Invariants: tensors are found by name, with exactly the shape that the encoder needs.
 */
#include "core/memory/model_package.h"

#include "pool/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <nettle/sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_FILE_MAX = 16 << 20, SHARDS_MAX = 256 << 20, PIECE_BYTES_MAX = 256 };

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, MODEL_WHY, fmt, args);
	va_end(args);
	return err;
}

/* Where a weight of the package goes. The names' common prefix is left out. */
struct weight_name {
	const char *tail;
	uint32_t tensor;
};

#define LAYER(n, part, t)                                                                          \
	{                                                                                          \
		"Layer_" #n "/TransformerLayer/" part, n *MODEL_LAYER_TENSORS + (t)                \
	}
#define LAYER_NAMES(n)                                                                             \
	LAYER(n, "layer_prepostprocess/layer_norm/layer_norm_scale/ConcatPartitions/concat",       \
	      MODEL_NORM1_SCALE),                                                                  \
		LAYER(n,                                                                           \
		      "layer_prepostprocess/layer_norm/layer_norm_bias/ConcatPartitions/concat",   \
		      MODEL_NORM1_BIAS),                                                           \
		LAYER(n, "MultiheadAttention/qkv_transform_single/kernel/part_0", MODEL_QKV),      \
		LAYER(n, "MultiheadAttention/qkv_transform_single/bias/ConcatPartitions/concat",   \
		      MODEL_QKV_BIAS),                                                             \
		LAYER(n, "MultiheadAttention/output_transform_single/kernel/part_0", MODEL_OUT),   \
		LAYER(n,                                                                           \
		      "MultiheadAttention/output_transform_single/bias/ConcatPartitions/concat",   \
		      MODEL_OUT_BIAS),                                                             \
		LAYER(n,                                                                           \
		      "FFN/layer_prepostprocess/layer_norm/layer_norm_scale/ConcatPartitions/"     \
		      "concat",                                                                    \
		      MODEL_NORM2_SCALE),                                                          \
		LAYER(n,                                                                           \
		      "FFN/layer_prepostprocess/layer_norm/layer_norm_bias/ConcatPartitions/"      \
		      "concat",                                                                    \
		      MODEL_NORM2_BIAS),                                                           \
		LAYER(n, "FFN/conv1/Tensordot/Reshape_1", MODEL_FFN1),                             \
		LAYER(n, "FFN/conv1/bias/ConcatPartitions/concat", MODEL_FFN1_BIAS),               \
		LAYER(n, "FFN/conv2/Tensordot/Reshape_1", MODEL_FFN2),                             \
		LAYER(n, "FFN/conv2/bias/ConcatPartitions/concat", MODEL_FFN2_BIAS)

static const struct weight_name weight_names[] = {
	LAYER_NAMES(0),
	LAYER_NAMES(1),
	{"module/Embeddings_en", MODEL_EMBEDDING},
	{"Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1", MODEL_TIMING},
	{"Layer_0/TransformerLayer/dense/kernel/ConcatPartitions/concat", MODEL_RESIDUAL},
	{"Layer_0/TransformerLayer/dense/bias/ConcatPartitions/concat", MODEL_RESIDUAL_BIAS},
	{"hidden_layers/tanh_layer_0/weights", MODEL_FINAL},
	{"hidden_layers/tanh_layer_0/bias", MODEL_FINAL_BIAS},
};

/* The tensor that a weight's name means, or -1 for one that the encoder does not use. */
static int tensor_of(const char *name)
{
	const size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(weight_names) / sizeof(weight_names[0]); i++) {
		const size_t tail = strlen(weight_names[i].tail);

		if (len >= tail && !strcmp(name + len - tail, weight_names[i].tail) &&
		    (len == tail || name[len - tail - 1] == '/'))
			return (int)weight_names[i].tensor;
	}
	return -1;
}

/* Elements of a shape, and its last two dimensions (1 where it has fewer; leading ones must be 1).
 */
static int shape_of(json_t *shape, uint64_t *count, uint64_t *rows, uint64_t *cols)
{
	const size_t dims = json_array_size(shape);

	if (!json_is_array(shape) || dims > 8)
		return -EUCLEAN;
	*count = *rows = *cols = 1;
	for (size_t i = 0; i < dims; i++) {
		const json_int_t size = json_integer_value(json_array_get(shape, i));

		if (size < 0 || size > SHARDS_MAX)
			return -EUCLEAN;
		*count *= (uint64_t)size;
		if (*count > SHARDS_MAX)
			return -EUCLEAN;
		if (i + 1 == dims)
			*cols = size;
		else if (i + 2 == dims)
			*rows = size;
	}
	return 0;
}

static int take_weight(struct model_package *p, json_t *weight, uint64_t *at, char *why)
{
	const char *name = json_string_value(json_object_get(weight, "name"));
	const char *type = json_string_value(json_object_get(weight, "dtype"));
	uint64_t count, rows, cols;

	if (!name || !type || shape_of(json_object_get(weight, "shape"), &count, &rows, &cols) ||
	    (strcmp(type, "float32") && strcmp(type, "int32")) ||
	    json_object_get(weight, "quantization"))
		return fail(why, -EUCLEAN, "model.json: a weight is not understood");
	if (4 * count > p->shards_len - *at)
		return fail(why, -EUCLEAN, "model.json: the shards end before weight %.100s", name);

	const uint8_t *bytes = p->shards + *at;
	const int tensor = tensor_of(name);
	*at += 4 * count;
	if (tensor < 0)
		return 0;
	const struct model_shape want = model_tensor_shape(tensor);
	if (strcmp(type, "float32") || cols != want.cols || rows * cols != count ||
	    rows != (tensor == MODEL_EMBEDDING ? rows : want.rows) || p->tensor[tensor])
		return fail(why, -EUCLEAN, "model.json: weight %.100s has another shape", name);
	if (tensor == MODEL_EMBEDDING)
		p->embedding_rows = (uint32_t)rows;
	p->tensor[tensor] = (const float *)bytes;
	for (uint64_t i = 0; i < count; i++)
		if (!isfinite(p->tensor[tensor][i]))
			return fail(why, -EUCLEAN, "weight %.100s is not finite", name);
	return 0;
}

int model_package_parse_manifest(struct model_package *p, const char *json, size_t len, char *why)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error), *group, *weight;
	uint64_t at = 0;
	size_t g, i;
	int rc = 0;

	if (!root)
		return fail(why, -EUCLEAN, "model.json: line %d: %s", error.line, error.text);
	json_array_foreach(json_object_get(root, "weightsManifest"), g, group)
	{
		json_array_foreach(json_object_get(group, "weights"), i, weight)
		{
			rc = take_weight(p, weight, &at, why);
			if (rc)
				goto out;
		}
	}
	for (uint32_t t = 0; t < MODEL_TENSORS && !rc; t++)
		if (!p->tensor[t])
			rc = fail(why, -EUCLEAN, "model.json lacks a weight of the encoder");
	if (!rc && at != p->shards_len)
		rc = fail(why, -EUCLEAN, "the shards are longer than model.json says");
out:
	json_decref(root);
	return rc;
}

static int take_pieces(struct model_package *p, json_t *root)
{
	json_t *entry;
	size_t i, used = 0;

	json_array_foreach(root, i, entry)
	{
		json_t *piece = json_array_get(entry, 0), *score = json_array_get(entry, 1);
		const size_t len = json_string_length(piece);

		if (!json_is_string(piece) || len > PIECE_BYTES_MAX)
			return -EUCLEAN;
		if (!json_is_number(score) && !json_is_null(score))
			return -EUCLEAN;
		p->score[i] = (float)json_number_value(score); /* null counts as 0 */
		if (!isfinite(p->score[i]))
			return -EUCLEAN;
		p->begin[i] = (uint32_t)used;
		memcpy(p->bytes + used, json_string_value(piece), len);
		used += len;
	}
	p->begin[i] = (uint32_t)used;
	return 0;
}

int model_package_parse_vocabulary(struct model_package *p, const char *json, size_t len, char *why)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, 0, &error);
	const size_t pieces = json_array_size(root);
	int rc = -ENOMEM;

	if (!root)
		return fail(why, -EUCLEAN, "vocab.json: line %d: %s", error.line, error.text);
	if (pieces <= MODEL_CONTROLS || pieces > MODEL_PIECES_MAX) {
		rc = fail(why, -EUCLEAN, "vocab.json: not a list of pieces");
		goto out;
	}
	p->pieces = (uint32_t)pieces;
	p->begin = alloc_get((pieces + 1) * sizeof(*p->begin));
	p->score = alloc_get(pieces * sizeof(*p->score));
	p->bytes = alloc_get(len); /* a piece is never longer than its JSON */
	if (!p->begin || !p->score || !p->bytes) {
		rc = fail(why, -ENOMEM, "out of memory");
		goto out;
	}
	rc = take_pieces(p, root);
	if (rc)
		rc = fail(why, rc, "vocab.json: a piece is not [text, score]");
out:
	json_decref(root);
	return rc;
}

int model_package_parse_description(struct model_package *p, const char *json, size_t len,
				    char *why)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, 0, &error);
	const char *name = json_string_value(json_object_get(root, "name"));
	const char *version = json_string_value(json_object_get(root, "version"));
	const char *licence = json_string_value(json_object_get(root, "license"));
	int rc = 0;

	if (!name || !version || !licence || !*licence)
		rc = fail(why, -EUCLEAN, "package.json states no name, version and license");
	else if (snprintf(p->source, sizeof(p->source), "%s %s", name, version) >=
			 (int)sizeof(p->source) ||
		 snprintf(p->licence, sizeof(p->licence), "%s", licence) >= (int)sizeof(p->licence))
		rc = fail(why, -EUCLEAN, "package.json: a name is too long");
	json_decref(root);
	return rc;
}

/* Reads a whole file of at most `max` bytes and appends it to *data. */
static int append_file(const char *dir, const char *name, size_t max, uint8_t **data, size_t *len,
		       char *why)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, rc = 0;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return fail(why, -ENAMETOOLONG, "the package's path is too long");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(why, -errno, "cannot open %.150s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > max - *len) {
		rc = fail(why, -EUCLEAN, "%.200s is not a file of the package", path);
		goto out;
	}
	uint8_t *grown = alloc_resize(*data, *len + st.st_size + 1);
	if (!grown) {
		rc = fail(why, -ENOMEM, "out of memory");
		goto out;
	}
	*data = grown;
	for (const size_t end = *len + st.st_size; *len < end;) {
		const ssize_t n = read(fd, *data + *len, end - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = fail(why, -EIO, "cannot read %.200s", path);
			break;
		}
		*len += n;
	}
out:
	close(fd);
	return rc;
}

/* The shards of the manifest, in its order. Their names must be plain: nothing outside dist/. */
static int read_shards(struct model_package *p, const char *dir, const char *json, size_t len,
		       char *why)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, 0, &error), *group, *path;
	struct sha256_ctx sha;
	char name[300];
	size_t g, i;
	int rc = 0;

	json_array_foreach(json_object_get(root, "weightsManifest"), g, group)
	{
		json_array_foreach(json_object_get(group, "paths"), i, path)
		{
			const char *shard = json_string_value(path);

			if (!shard || strchr(shard, '/') || strlen(shard) > 255) {
				rc = fail(why, -EUCLEAN, "model.json: a shard has an odd name");
				goto out;
			}
			snprintf(name, sizeof(name), "dist/%s", shard);
			rc = append_file(dir, name, SHARDS_MAX, &p->shards, &p->shards_len, why);
			if (rc)
				goto out;
		}
	}
	sha256_init(&sha);
	sha256_update(&sha, p->shards_len, p->shards);
	sha256_digest(&sha, sizeof(p->sha256), p->sha256);
out:
	json_decref(root);
	return rc;
}

static int read_parts(struct model_package *p, const char *dir, char *why)
{
	static const char *const names[] = {"package.json", "dist/vocab.json", "dist/model.json"};
	int rc = 0;

	for (int i = 0; i < 3 && !rc; i++) {
		uint8_t *json = NULL;
		size_t len = 0;

		rc = append_file(dir, names[i], JSON_FILE_MAX, &json, &len, why);
		if (!rc && i == 0)
			rc = model_package_parse_description(p, (char *)json, len, why);
		else if (!rc && i == 1)
			rc = model_package_parse_vocabulary(p, (char *)json, len, why);
		else if (!rc)
			rc = read_shards(p, dir, (char *)json, len, why);
		if (!rc && i == 2)
			rc = model_package_parse_manifest(p, (char *)json, len, why);
		alloc_free(json);
	}
	if (!rc && p->embedding_rows < p->pieces)
		rc = fail(why, -EUCLEAN, "vocab.json has %u pieces, the embedding %u rows",
			  p->pieces, p->embedding_rows);
	return rc;
}

int model_package_read(const char *dir, struct model_package **out, char *why)
{
	struct model_package *p = alloc_zeroed(1, sizeof(*p));
	int rc;

	if (!p)
		return fail(why, -ENOMEM, "out of memory");
	rc = read_parts(p, dir, why);
	if (rc) {
		model_package_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void model_package_free(struct model_package *p)
{
	if (!p)
		return;
	alloc_free(p->shards);
	alloc_free(p->begin);
	alloc_free(p->score);
	alloc_free(p->bytes);
	alloc_free(p);
}
