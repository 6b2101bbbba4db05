/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the structures of the model file (model.h has the byte table), for its reader and its
 *            writer alone.
 */
#ifndef MNEME_CORE_MEMORY_MODEL_FORMAT_H
#define MNEME_CORE_MEMORY_MODEL_FORMAT_H

#include "core/memory/model.h"

#include <assert.h>
#include <endian.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the model file is mapped as it is: little-endian machines only"
#endif

#define MODEL_MAGIC "MNEMODEL"

struct model_section {
	uint32_t kind;
	uint32_t tensor;
	uint32_t rows;
	uint32_t cols;
	uint64_t offset;
	uint64_t length;
	uint32_t crc;
	uint32_t zero;
};

struct model_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint64_t file_size;
	uint32_t sections;
	uint32_t pieces;
	uint32_t dim;
	uint32_t tokens_max;
	uint32_t trie_slots;
	uint8_t zero1[20];
	char name[64];
	char licence[64];
	char source[128];
	uint8_t sha256[32];
	uint8_t zero2[160];
	struct model_section section[(MODEL_HEADER - 512) / 40];
	uint8_t zero3[(MODEL_HEADER - 512) % 40];
};

static_assert(sizeof(struct model_section) == 40, "section entry");
static_assert(sizeof(struct model_header) == MODEL_HEADER, "header");
static_assert(offsetof(struct model_header, section) == 512, "section table");
static_assert(sizeof(struct model_trie_slot) == 12, "trie slot");

/* CRC-32C of the header with its crc field taken as zero. */
uint32_t model_header_crc(const struct model_header *header);
/* Bytes of an int8 section. */
static inline uint64_t model_packed_size(uint64_t rows, uint64_t cols)
{
	return rows * cols + 8 * cols;
}

#endif
