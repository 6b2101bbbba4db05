/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the file of a collection of vectors: a body that is accepted can be searched, put
 *            to, deleted from and compacted. The envelope with its checksum is left away.
 */
#include "core/search/file.h"
#include "core/search/flat.h"
#include "core/store/io_sim.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { DIM = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static float vector[VECTORS_DIM_MAX];
	struct search_hit hits[5];
	struct vectors *v, *compact;
	unsigned count;

	vector[0] = 1;
	if (vectors_parse(data, size, &v))
		return 0;
	if (flat_search(v, vector, NULL, 5, hits, &count, NULL) ||
	    vectors_put(v, 1, 2, 3, vector, NULL) || !vectors_delete(v, 1))
		__builtin_trap();
	/* numbers that are none may have come in with the bytes: those are refused when they move */
	if (!vectors_compact(v, &compact))
		vectors_free(compact);
	vectors_free(v);
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const unsigned rows[] = {0, 1, 63};
	struct vectors_config config = {.dim = DIM,
					.metric = number % 3,
					.type = number & 1 ? VECTORS_F16 : VECTORS_F32,
					.segment_rows = 64};
	float row[DIM];
	struct vectors *v;
	struct sim *disk;
	struct io *io;
	uint8_t *bytes;
	uint64_t size = 0;

	if (number >= sizeof(rows) / sizeof(rows[0]))
		return 0;
	if (vectors_new(&config, &v))
		__builtin_trap();
	for (unsigned i = 0; i < rows[number]; i++) {
		for (unsigned d = 0; d < DIM; d++)
			row[d] = (float)((i * 31 + d * 17) % 23) - 11;
		if (vectors_put(v, i / 2, i % 2, i, row, NULL))
			__builtin_trap();
	}
	vectors_delete(v, 5);
	if (sim_new(&disk) || sim_io_new(disk, &io) || vectors_save(v, io, "vectors", 0) ||
	    sim_file(disk, "vectors", &bytes, &size))
		__builtin_trap();
	size -= SEARCH_FILE_HEADER;
	if (size > capacity)
		size = 0;
	memcpy(buffer, bytes + SEARCH_FILE_HEADER, size);
	vectors_free(v);
	io->ops->destroy(io);
	sim_free(disk);
	return size;
}
