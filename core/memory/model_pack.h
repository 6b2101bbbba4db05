/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   how weights and vocabulary are laid out for the encoder: int8 packing and the trie.
 * Threading: pure functions.
 * Failure:   -errno.
 */
#ifndef MNEME_CORE_MEMORY_MODEL_PACK_H
#define MNEME_CORE_MEMORY_MODEL_PACK_H

#include "core/memory/model.h"

/* Quantises w [rows][cols] by column, symmetrically (scale = largest magnitude / 127), into an int8
 * section of model_packed_size(rows, cols) bytes. rows is a multiple of 4, cols of 16. */
void model_pack_i8(const float *w, uint32_t rows, uint32_t cols, uint8_t *section);

/* Builds the double array over pieces MODEL_CONTROLS.. of the vocabulary (begin/bytes as in the
 * file). Of equal pieces the first wins; an empty piece is left out. *slots (from alloc_get) is the
 * caller's. */
int model_build_trie(const uint32_t *begin, const char *bytes, uint32_t pieces,
		     struct model_trie_slot **slots, uint32_t *count);

#endif
