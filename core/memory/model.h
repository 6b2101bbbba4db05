/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the mapped file that holds the sentence encoder: weights in f32 and in int8, the
 *            vocabulary and its trie. Made once by model_convert(), then mapped read-only.
 *
 * Format, version 1. All numbers little-endian, floats IEEE 754. A section starts at a multiple of
 * 64; every byte that the tables below do not name is zero.
 *
 *     offset  size  header (4,096 bytes)
 *          0     8  magic "MNEMODEL"
 *          8     4  version (1)
 *         12     4  CRC-32C of these 4,096 bytes with this field zero
 *         16     8  size of the file
 *         24     4  number of sections
 *         28     4  pieces in the vocabulary
 *         32     4  dimensions of a vector
 *         36     4  most tokens of a passage
 *         40     4  slots of the trie
 *         44    20  zero
 *         64    64  name of the model, zero-terminated
 *        128    64  licence, as the package states it (SPDX expression)
 *        192   128  source: package and version
 *        320    32  SHA-256 of the package's weights, as they lie in its shards
 *        352   160  zero
 *        512    40  for each section: kind 4, tensor 4, rows 4, columns 4, offset 8, length 8,
 *                   CRC-32C of its bytes 4, zero 4
 *
 *     kind  section
 *        1  tensor in f32, row-major [rows][columns] (rows: inputs, columns: outputs)
 *        2  tensor in int8, packed for four-byte dot products:
 *           int8 [columns / 16][rows / 4][16][4], then f32 scale [columns], then
 *           i32 sum over the rows of each column [columns]
 *        3  pieces: u32 begin [pieces + 1], f32 score [pieces], then the bytes of the pieces
 *        4  trie over the pieces' bytes, a double array: for each slot i32 base, u32 check, i32
 *           piece (-1: no piece ends here). Slot 0 is the root; from slot s the byte c leads to
 *           slot base[s] + c if check of that slot is s. Control pieces (the first six) are not in
 *           it.
 *
 * Invariants: a model that model_open() accepted has every section that was asked for, in its
 *            bounds, with a good checksum; piece offsets ascend, scores are finite, trie values are
 *            less than the number of pieces. So a reader needs bounds checks for trie steps only.
 * Threading: immutable once open; any number of readers.
 * Failure:   -errno; -EUCLEAN for a damaged file, -EPROTONOSUPPORT for another version, and a
 *            sentence in `why` (never NULL, MODEL_WHY bytes). A file that is cut short while it is
 *            mapped is a SIGBUS: model_convert() replaces files whole, others must do so too.
 */
#ifndef MNEME_CORE_MEMORY_MODEL_H
#define MNEME_CORE_MEMORY_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum {
	MODEL_VERSION = 1,
	MODEL_HEADER = 4096,
	MODEL_ALIGN = 64,
	MODEL_WHY = 256,
	MODEL_LAYERS = 2,
	MODEL_HEADS = 4,
	MODEL_EMBEDDING_DIM = 256, /* width of layer 0's input */
	MODEL_WIDTH = 512,         /* width after layer 0's attention */
	MODEL_HIDDEN = 1536,
	MODEL_DIM = 512,
	MODEL_TOKENS_MAX = 128,
	MODEL_PIECES_MAX = 1 << 20,
	MODEL_CONTROLS = 6, /* pieces that text never yields */
};

enum model_kind {
	MODEL_KIND_F32 = 1,
	MODEL_KIND_I8 = 2,
	MODEL_KIND_PIECES = 3,
	MODEL_KIND_TRIE = 4
};

/* Tensors of a layer; the tensor number in the file is layer * MODEL_LAYER_TENSORS + this. */
enum model_layer_tensor {
	MODEL_NORM1_SCALE,
	MODEL_NORM1_BIAS,
	MODEL_QKV,
	MODEL_QKV_BIAS,
	MODEL_OUT,
	MODEL_OUT_BIAS,
	MODEL_NORM2_SCALE,
	MODEL_NORM2_BIAS,
	MODEL_FFN1,
	MODEL_FFN1_BIAS,
	MODEL_FFN2,
	MODEL_FFN2_BIAS,
	MODEL_LAYER_TENSORS,
};

enum model_tensor {
	MODEL_EMBEDDING = MODEL_LAYERS * MODEL_LAYER_TENSORS,
	MODEL_TIMING,   /* inverse time scales */
	MODEL_RESIDUAL, /* layer 0: 256 -> 512 */
	MODEL_RESIDUAL_BIAS,
	MODEL_FINAL,
	MODEL_FINAL_BIAS,
	MODEL_TENSORS,
};

/* Rows and columns that tensor number `tensor` must have; EMBEDDING's rows are the pieces. */
struct model_shape {
	uint32_t rows;
	uint32_t cols;
	int quantised; /* kept in int8 beside f32 */
};
struct model_shape model_tensor_shape(uint32_t tensor);

/* An int8 matrix as the kernels want it; borrowed from the map. */
struct model_packed {
	const int8_t *data; /* [cols / 16][rows / 4][16][4] */
	const float *scale; /* [cols]: f32 weight = int8 * scale */
	const int32_t *sum; /* [cols]: sum of the column's int8 values */
	uint32_t rows;
	uint32_t cols;
};

struct model_trie_slot {
	int32_t base;
	uint32_t check;
	int32_t piece;
};

struct model {
	const uint8_t *map;
	size_t map_len;
	int mapped; /* by model_open(): model_close() unmaps */
	char name[64];
	char licence[64];
	char source[128];
	uint8_t sha256[32];
	uint32_t pieces;
	uint32_t trie_slots;
	const uint32_t *piece_begin; /* [pieces + 1] offsets into piece_bytes */
	const float *piece_score;    /* [pieces] */
	const char *piece_bytes;
	const struct model_trie_slot *trie;
	const float *f32[MODEL_TENSORS]; /* NULL if not asked for */
	struct model_packed packed[MODEL_TENSORS];
};

/* What to make ready: sections that are not asked for are neither read nor checked. */
enum model_want { MODEL_WANT_F32 = 1, MODEL_WANT_I8 = 2, MODEL_WANT_ALL = 3 };

/* Maps and checks the file at `path`. On success *out is to be closed with model_close(). */
int model_open(const char *path, unsigned want, struct model **out, char *why);
/* The same for bytes in memory (64-byte aligned), which must outlive the model. */
int model_open_memory(const void *bytes, size_t len, unsigned want, struct model **out, char *why);
void model_close(struct model *model);

/* Converts an unpacked package (directory with package.json and dist/) to a model file at
 * `out_path`, which appears only complete. Takes about a second and 100 MB of memory. */
int model_convert(const char *package_dir, const char *out_path, char *why);

#endif
