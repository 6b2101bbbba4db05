/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the text of receipts of what was forgotten: what is taken for one says so again when
 *            it is written, and is sought in any bytes, here those behind it.
 */
#include "core/store/receipt.h"
#include "pool/alloc.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void found(void *arg, size_t mark)
{
	const struct mneme_receipt *receipt = arg;

	if (mark >= receipt->count)
		__builtin_trap();
}

static void seek(struct mneme_receipt *receipt, const uint8_t *bytes, size_t size)
{
	struct receipt_seeker seeker;

	if (receipt_seeker_init(&seeker, receipt))
		return;
	receipt_seek(&seeker, bytes, size / 2, found, receipt);
	receipt_seeker_break(&seeker);
	receipt_seek(&seeker, bytes + size / 2, size - size / 2, found, receipt);
	receipt_seeker_fini(&seeker);
}

/* A receipt that was read, written and read again is the same one. */
static void compare(struct mneme_receipt *receipt)
{
	struct mneme_receipt *again;
	size_t length, used;
	char *text;

	if (mneme_receipt_text(receipt, &text, &length) ||
	    mneme_receipt_parse(text, length, &used, &again))
		__builtin_trap();
	if (used != length || memcmp(again->uuid, receipt->uuid, sizeof(again->uuid)) ||
	    again->memory != receipt->memory || again->salt != receipt->salt ||
	    again->window != receipt->window || again->count != receipt->count ||
	    (again->count &&
	     memcmp(again->marks, receipt->marks, again->count * sizeof(again->marks[0]))))
		__builtin_trap();
	mneme_receipt_free(again);
	alloc_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mneme_receipt *receipt;
	size_t used;

	if (mneme_receipt_parse((const char *)data, size, &used, &receipt))
		return 0;
	if (used > size)
		__builtin_trap();
	compare(receipt);
	seek(receipt, data + used, size - used);
	mneme_receipt_free(receipt);
	return 0;
}

/* Receipts of nothing, of a short text and of a longer one, each with what it is of behind it. */
size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const char held[] =
		"The heron waits at the weir for the eel, and says so to nobody.";
	static const uint8_t uuid[16] = {1, 2, 3};
	static const size_t lengths[] = {0, 12, sizeof(held) - 1};
	struct mneme_receipt *receipt;
	size_t length = 0;
	char *text;

	if (number >= sizeof(lengths) / sizeof(lengths[0]) ||
	    mneme_receipt_new(uuid, 16 + number, lengths[number], &receipt))
		return 0;
	if (mneme_receipt_add(receipt, held, lengths[number]) ||
	    mneme_receipt_text(receipt, &text, &length))
		__builtin_trap();
	if (length + lengths[number] > capacity)
		__builtin_trap();
	memcpy(buffer, text, length);
	memcpy(buffer + length, held, lengths[number]);
	alloc_free(text);
	mneme_receipt_free(receipt);
	return length + lengths[number];
}
