/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the lexical index's file: a body that is accepted can be searched, changed and
 *            compacted. The envelope with its checksum is left away, so that damage reaches the
 *            parser.
 */
#include "core/search/lexical.h"
#include "core/search/file.h"
#include "core/store/io_sim.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

static struct words *words;

static void bag_fill(struct words_bag *bag, const char *text)
{
	words_bag_reset(bag);
	if ((!words && words_new(&words)) || words_count(words, text, strlen(text), bag))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct words_bag bag = {0};
	struct lexical *lx, *compacted;
	struct search_hit hits[5];
	unsigned count;

	if (lexical_parse(data, size, &lx))
		return 0;
	bag_fill(&bag, "common even third word7 word9");
	if (lexical_search(lx, &bag, NULL, 5, hits, &count, NULL) ||
	    lexical_score(lx, &bag, hits, count) || lexical_put(lx, 1, 2, &bag))
		__builtin_trap();
	lexical_delete(lx, hits[0].owner);
	if (lexical_compact(lx, &compacted))
		__builtin_trap();
	lexical_free(compacted);
	lexical_free(lx);
	words_bag_free(&bag);
	return 0;
}

static struct lexical *example(unsigned documents)
{
	struct words_bag bag = {0};
	struct lexical *lx;
	char text[128];

	if (lexical_new(&lx))
		__builtin_trap();
	for (unsigned i = 0; i < documents; i++) {
		snprintf(text, sizeof(text), "common %s %s word%u word%u common",
			 i % 2 ? "odd" : "even", i % 3 ? "" : "third third", i, i % 10);
		bag_fill(&bag, text);
		if (lexical_put(lx, i / 2, i % 2, &bag))
			__builtin_trap();
	}
	lexical_delete(lx, 1);
	words_bag_free(&bag);
	return lx;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const unsigned documents[] = {0, 1, 5, 300};
	struct sim *disk;
	struct io *io;
	uint8_t *bytes;
	uint64_t size = 0;

	if (number >= sizeof(documents) / sizeof(*documents))
		return 0;
	struct lexical *lx = example(documents[number]);
	if (sim_new(&disk) || sim_io_new(disk, &io) || lexical_save(lx, io, "words", 0) ||
	    sim_file(disk, "words", &bytes, &size))
		__builtin_trap();
	size -= SEARCH_FILE_HEADER;
	if (size > capacity)
		size = 0;
	memcpy(buffer, bytes + SEARCH_FILE_HEADER, size);
	lexical_free(lx);
	io->ops->destroy(io);
	sim_free(disk);
	return size;
}
