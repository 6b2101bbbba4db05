/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the search for links in a text: what is found is within its bounds, and does not
 *            depend on how the text is cut into blocks.
 */
#include "core/memory/links_text.h"
#include "simd/crc32c.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static int sum(void *arg, enum names_link_kind kind, const char *label, size_t length)
{
	uint32_t *crc = arg;

	if (!length || length > NAMES_LABEL_MAX || memchr(label, 0, length) ||
	    memchr(label, '\n', length))
		__builtin_trap();
	*crc = crc32c(*crc + kind, label, length);
	return 0;
}

static uint32_t links_in(const uint8_t *data, size_t size, size_t block)
{
	static struct links_text scan;
	uint32_t crc = 0;

	links_text_begin(&scan, sum, &crc);
	for (size_t at = 0; at < size; at += block)
		if (links_text_feed(&scan, (const char *)data + at,
				    size - at < block ? size - at : block))
			__builtin_trap();
	if (links_text_end(&scan))
		__builtin_trap();
	return crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t block = size ? 1 + data[0] % 64u : 1;

	if (links_in(data, size, size + 1) != links_in(data, size, block))
		__builtin_trap();
	return 0;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const char *const seeds[] = {
		"[[name|text]] [x](a%20b.md#c \"t\") <[[z]]>",
		"[id]: <a b>\n```c\n[[a]]\n```\n~~~\n`[[x]]` ``[[y]]``\n",
		"\\[[a]] [u](https://x/y) ![p](q(1).png)\r\n",
	};

	if (number >= sizeof(seeds) / sizeof(seeds[0]) || strlen(seeds[number]) > capacity)
		return 0;
	memcpy(buffer, seeds[number], strlen(seeds[number]));
	return strlen(seeds[number]);
}
