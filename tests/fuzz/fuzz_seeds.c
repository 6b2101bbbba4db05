/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   writes a target's seeds to the folder that MNEME_FUZZ_SEEDS names, once, before the
 *            fuzzer reads its corpus.
 * Failure:   a seed that cannot be written ends the program with a message.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEED_BYTES_MAX = 1 << 20 };

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static uint8_t buffer[SEED_BYTES_MAX];
	const char *folder = getenv("MNEME_FUZZ_SEEDS");
	char path[4096];

	for (unsigned i = 0; folder; i++) {
		size_t length = fuzz_seed(i, buffer, sizeof buffer);
		if (!length)
			break;
		snprintf(path, sizeof path, "%s/seed-%03u", folder, i);
		FILE *file = fopen(path, "wb");
		if (!file || fwrite(buffer, 1, length, file) != length || fclose(file)) {
			perror(path);
			exit(2);
		}
	}
	return 0;
}
