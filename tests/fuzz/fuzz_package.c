/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the JSON files of an encoder's package. The first byte of an input says which
 *            one the rest is.
 */
#include "core/memory/model_pack.h"
#include "core/memory/model_package.h"
#include "pool/alloc.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

enum { SHARDS_LEN = 1 << 16 };

static void fuzz_vocabulary(struct model_package *p, const char *json, size_t len, char *why)
{
	struct model_trie_slot *slots;
	uint32_t count;

	if (model_package_parse_vocabulary(p, json, len, why))
		return;
	if (p->begin[p->pieces] > len)
		__builtin_trap();
	if (!model_build_trie(p->begin, p->bytes, p->pieces, &slots, &count))
		alloc_free(slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_package *p = alloc_zeroed(1, sizeof(*p));
	char why[MODEL_WHY];

	if (!p || !size)
		goto out;
	p->shards = alloc_zeroed(1, SHARDS_LEN);
	if (!p->shards)
		goto out;
	p->shards_len = SHARDS_LEN;
	if (data[0] % 3 == 0)
		model_package_parse_description(p, (const char *)data + 1, size - 1, why);
	else if (data[0] % 3 == 1)
		fuzz_vocabulary(p, (const char *)data + 1, size - 1, why);
	else
		model_package_parse_manifest(p, (const char *)data + 1, size - 1, why);
out:
	model_package_free(p);
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const char *const seeds[] = {
		"0{\"name\":\"n\",\"version\":\"1.0\",\"license\":\"Apache-2.0\"}",
		"1[[\"c\",0],[\"c\",0],[\"c\",0],[\"c\",0],[\"c\",0],[\"c\",0],[\"ab\",-1.5],"
		"[\"a\",null],[\"\\u2581b\",-3]]",
		"2{\"weightsManifest\":[{\"paths\":[\"s1\"],\"weights\":[{\"name\":\"x/Layer_0/"
		"TransformerLayer/FFN/conv1/bias/ConcatPartitions/concat\",\"shape\":[1536],"
		"\"dtype\":\"float32\"},{\"name\":\"y\",\"shape\":[],\"dtype\":\"int32\"}]}]}",
		"2{\"weightsManifest\":[{\"weights\":[{\"name\":\"module/Embeddings_en\",\"shape\":"
		"[12,256],\"dtype\":\"float32\"},{\"name\":\"hidden_layers/tanh_layer_0/bias\","
		"\"shape\":[512],\"dtype\":\"float32\"}]}]}",
	};

	if (number >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)buffer, capacity, "%s", seeds[number]);
}
