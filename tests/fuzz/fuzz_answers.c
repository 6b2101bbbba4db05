/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes what remote embedders answer. The first byte of an input: how many texts were
 *            sent, whether the dimension is known, and which decoder.
 */
#include "core/memory/embedder.h"
#include "core/memory/embedder_json.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>

enum { TEXTS_MAX = 16, DIM = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	float vectors[TEXTS_MAX * DIM] = {0};
	char why[EMBEDDER_WHY], said[160];

	if (!size)
		return 0;
	const char *json = (const char *)data + 1;
	const size_t n = data[0] % TEXTS_MAX;
	uint32_t dim = data[0] & 32 ? DIM : 0;
	const int rc = data[0] & 16 ? embedder_json_vector(json, size - 1, vectors, &dim, why)
				    : embedder_json_answer(json, size - 1, n, vectors, &dim, why);
	if (!rc && dim > EMBEDDER_DIM_MAX)
		__builtin_trap();
	for (size_t i = 0; i < TEXTS_MAX * DIM; i++)
		if (!isfinite(vectors[i]))
			__builtin_trap();
	embedder_json_error(json, size - 1, said, sizeof(said));
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const char *const seeds[] = {
		"\"{\"object\":\"list\",\"data\":[{\"index\":1,\"embedding\":[1,2,3,4]},"
		"{\"index\":0,\"embedding\":[0.5,-1e-3,0,1]}]}",
		"0[1,2,3,4]",
		"\x10{\"embedding\":[1e3,2]}",
		"\1{\"error\":{\"message\":\"no\"}}",
		"!{\"data\":[{\"embedding\":[1,2,3,4]}]}",
	};

	if (number >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)buffer, capacity, "%s", seeds[number]);
}
