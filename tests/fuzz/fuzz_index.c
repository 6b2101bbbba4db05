/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the vector index's file: a body that is accepted can be searched, added to and
 *            cleaned. The envelope with its checksum is left away, so that damage reaches the
 *            parser.
 */
#include "core/search/file.h"
#include "core/search/index/index.h"
#include "core/store/io_sim.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { DIM = 6, ROWS = 90, BODY_MAX = 1 << 16 };

static struct vectors *example(void)
{
	struct vectors_config config = {.dim = DIM, .metric = VECTORS_L2, .segment_rows = 64};
	struct vectors *v;
	float row[DIM];

	if (vectors_new(&config, &v))
		__builtin_trap();
	for (unsigned i = 0; i < ROWS; i++) {
		for (unsigned d = 0; d < DIM; d++)
			row[d] = (float)((i * 31 + d * 17) % 23) - 11;
		if (vectors_put(v, i, 0, 0, row, NULL))
			__builtin_trap();
	}
	return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(64) uint8_t body[BODY_MAX];
	static struct vectors *v;
	float vector[DIM] = {1, 2, 3};
	struct index_query query = {.vector = vector, .limit = 5};
	struct search_hit hits[5];
	struct index *ix, *clean;
	unsigned count;

	if (!v)
		v = example();
	if (size > BODY_MAX)
		size = BODY_MAX;
	memcpy(body, data, size);
	if (index_parse(body, size, v, &ix))
		return 0;
	if (index_search(ix, v, &query, hits, &count, NULL) || index_add(ix, v, 3) ||
	    index_clean(ix, v, &clean))
		__builtin_trap();
	index_free(clean);
	index_free(ix);
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	struct index_options options = {.kind = number ? INDEX_PARTITIONS : INDEX_FLAT,
					.cells = number * 3,
					.quantizer = number == 2   ? QUANTIZER_SQ8
						     : number == 3 ? (enum quantizer_kind)3
								   : QUANTIZER_NONE,
					.probes = 2};
	struct sim *disk;
	struct io *io;
	struct index *ix;
	uint8_t *bytes;
	uint64_t size = 0;

	if (number > 3)
		return 0;
	struct vectors *v = example();
	if (index_build(v, &options, &ix) || sim_new(&disk) || sim_io_new(disk, &io) ||
	    index_save(ix, v, io, "index", 0) || sim_file(disk, "index", &bytes, &size))
		__builtin_trap();
	size -= SEARCH_FILE_HEADER;
	if (size > capacity)
		size = 0;
	memcpy(buffer, bytes + SEARCH_FILE_HEADER, size);
	index_free(ix);
	vectors_free(v);
	io->ops->destroy(io);
	sim_free(disk);
	return size;
}
