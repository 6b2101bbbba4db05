/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the manifest of the indexes in files: what it names lies within its bytes. The
 *            envelope with its checksum is left away.
 */
#include "core/memory/memory_snapshot.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory_manifest manifest;
	struct search_reader r;

	search_reader_over(&r, data, size);
	if (memory_manifest_read(&r, &manifest))
		return 0;
	if (manifest.models < data || manifest.pending < manifest.models ||
	    manifest.pending + 8ull * manifest.head.pending != data + size)
		__builtin_trap();
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	struct memory_manifest_head head = {
		.lsn = 4096, .epoch = 2, .models = number % 2, .pending = number};
	size_t size = sizeof(head) + 8ull * (head.models + number);

	if (number > 3 || size > capacity)
		return 0;
	memset(buffer, 1, size);
	memcpy(buffer, &head, sizeof(head));
	return size;
}
