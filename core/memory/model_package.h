/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reads an unpacked package of the sentence encoder into memory.
 * Threading: pure but for reading files.
 * Failure:   -errno and a sentence of at most MODEL_WHY bytes; hostile files do no harm.
 */
#ifndef MNEME_CORE_MEMORY_MODEL_PACKAGE_H
#define MNEME_CORE_MEMORY_MODEL_PACKAGE_H

#include "core/memory/model.h"

struct model_package {
	char licence[64];
	char source[128];   /* "name version" */
	uint8_t sha256[32]; /* of the shards, concatenated */
	uint8_t *shards;
	size_t shards_len;
	const float *tensor[MODEL_TENSORS]; /* into shards */
	uint32_t embedding_rows;
	uint32_t pieces;
	uint32_t *begin; /* [pieces + 1] */
	float *score;    /* [pieces] */
	char *bytes;
};

/* Reads the package in directory `dir`. *out is to be freed with model_package_free(). */
int model_package_read(const char *dir, struct model_package **out, char *why);
void model_package_free(struct model_package *p);

/* The parts of it, on bytes: the weight manifest of model.json over p->shards, vocab.json,
 * package.json. */
int model_package_parse_manifest(struct model_package *p, const char *json, size_t len, char *why);
int model_package_parse_vocabulary(struct model_package *p, const char *json, size_t len,
				   char *why);
int model_package_parse_description(struct model_package *p, const char *json, size_t len,
				    char *why);

#endif
