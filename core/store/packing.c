/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see packing.h.
 */
#include "core/store/packing.h"
#include "core/store/heap_fault.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <zstd.h>

enum { LEVEL = 9, CONTEXTS_MAX = 64 };

struct packing {
	struct lock lock;
	ZSTD_DCtx *contexts[CONTEXTS_MAX]; /* [lock] idle ones */
	unsigned idle;                     /* [lock] */
	_Atomic int state;                 /* [A] enum packing_state */
	uint8_t *bytes;                    /* [state] of the dictionary */
	uint32_t length;                   /* [state] */
	_Atomic(ZSTD_DDict *) reading;     /* [A] */
	ZSTD_CCtx *writing; /* [packer] with the dictionary; made when first needed */
	uint8_t again[FMT_PACKED_LENGTH_MAX]; /* [packer] what was packed, read again */
};

int packing_new(struct packing **out)
{
	struct packing *p = alloc_zeroed(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	lock_init(&p->lock, LOCK_LEAF);
	*out = p;
	return 0;
}

void packing_free(struct packing *p)
{
	if (!p)
		return;
	while (p->idle)
		ZSTD_freeDCtx(p->contexts[--p->idle]);
	ZSTD_freeCCtx(p->writing);
	ZSTD_freeDDict(atomic_load_explicit(&p->reading, memory_order_relaxed));
	alloc_free(p->bytes);
	alloc_free(p);
}

enum packing_state packing_state(const struct packing *p)
{
	/* acquire: pairs with the release in state_set(): the dictionary's fields */
	return atomic_load_explicit(&((struct packing *)p)->state, memory_order_acquire);
}

static void state_set(struct packing *p, enum packing_state state)
{
	/* release: pairs with the acquire in packing_state() */
	atomic_store_explicit(&p->state, state, memory_order_release);
}

/* ---- the dictionary ---- */

static int dictionary_take(struct packing *p, const void *bytes, uint32_t length)
{
	uint8_t *copy = alloc_get(length);
	ZSTD_DDict *reading = copy ? ZSTD_createDDict(bytes, length) : NULL;

	if (!reading) {
		alloc_free(copy);
		return copy ? -EINVAL : -ENOMEM;
	}
	memcpy(copy, bytes, length);
	p->bytes = copy;
	p->length = length;
	/* release: pairs with the acquire in packing_read() */
	atomic_store_explicit(&p->reading, reading, memory_order_release);
	return 0;
}

static uint32_t copies_missing(const struct fmt_super *super)
{
	return !super->dictionary[0].address + !super->dictionary[1].address;
}

static uint32_t pages_of(uint32_t length)
{
	return (length + FMT_PAGE_SIZE - 1) / FMT_PAGE_SIZE;
}

/* One copy of the dictionary, verified. */
static int copy_load(struct mneme *m, const struct fmt_value *v)
{
	uint64_t faults = heap_faults(&m->heap);
	int error = -EUCLEAN;
	const uint8_t *bytes = NULL;

	if (v->address && v->length && v->length <= FMT_DICTIONARY_MAX && v->stored == v->length &&
	    !(v->address & ~FMT_ADDRESS_MASK))
		bytes = heap_value(&m->heap, v, NULL, &error);
	if (bytes && crc32c(0, bytes, v->length) != v->crc_plain) {
		bytes = NULL;
		error = -EUCLEAN;
	}
	if (bytes)
		error = dictionary_take(m->packing, bytes, v->length);
	return store_read_fault(m, faults, error);
}

int packing_load(struct mneme *m)
{
	struct packing *p = m->packing;
	const struct fmt_value *copies = m->super.dictionary;
	uint32_t missing = copies_missing(&m->super);

	if (missing == 2)
		return 0;
	int rc = copies[0].address ? copy_load(m, &copies[0]) : -EUCLEAN;
	if (rc == -EUCLEAN || rc == -EINVAL)
		rc = copy_load(m, &copies[1]);
	if (rc == -EUCLEAN || rc == -EINVAL) {
		state_set(p, PACKING_LOST);
		return 0;
	}
	if (rc < 0)
		return rc;
	state_set(p, PACKING_DURABLE);
	/* A copy that a repair gave up is written anew, if there is room. */
	if (missing && !m->read_only && heap_promise(&m->heap, pages_of(p->length), 0) == 0)
		state_set(p, PACKING_NEW);
	return 0;
}

int packing_adopt(struct mneme *m, const void *dictionary, uint32_t length)
{
	struct packing *p = m->packing;
	uint64_t pages = 2 * pages_of(length);

	CHECK(packing_state(p) == PACKING_NONE);
	if (!length || length > FMT_DICTIONARY_MAX)
		return -EINVAL;
	int rc = heap_promise(&m->heap, pages, m->keep_pages);
	if (rc < 0)
		return rc;
	rc = dictionary_take(p, dictionary, length);
	if (rc < 0)
		heap_unpromise(&m->heap, pages);
	else
		state_set(p, PACKING_NEW);
	return rc;
}

const uint8_t *packing_unwritten(const struct mneme *m, const struct fmt_super *super,
				 uint32_t *length)
{
	if (packing_state(m->packing) != PACKING_NEW || !copies_missing(super))
		return NULL;
	*length = m->packing->length;
	return m->packing->bytes;
}

void packing_written(struct packing *p, const struct fmt_super *super)
{
	if (packing_state(p) == PACKING_NEW && !copies_missing(super))
		state_set(p, PACKING_DURABLE);
}

void packing_drop(struct mneme *m)
{
	struct packing *p = m->packing;

	if (packing_state(p) == PACKING_NEW)
		heap_unpromise(&m->heap, (uint64_t)copies_missing(&m->super) * pages_of(p->length));
	memset(m->super.dictionary, 0, sizeof m->super.dictionary);
	m->super.incompatible &= ~(uint64_t)FMT_INCOMPAT_PACKED;
	ZSTD_freeCCtx(p->writing);
	p->writing = NULL;
	/* Who read with it had a shard's lock, as had who unpacked the last value. */
	ZSTD_freeDDict(atomic_load_explicit(&p->reading, memory_order_relaxed));
	atomic_store_explicit(&p->reading, NULL, memory_order_relaxed);
	alloc_free(p->bytes);
	p->bytes = NULL;
	p->length = 0;
	state_set(p, PACKING_NONE);
}

/* ---- reading ---- */

static ZSTD_DCtx *context_get(struct packing *p)
{
	ZSTD_DCtx *context = NULL;

	lock_write(&p->lock);
	if (p->idle)
		context = p->contexts[--p->idle];
	lock_write_done(&p->lock);
	return context ? context : ZSTD_createDCtx();
}

static void context_put(struct packing *p, ZSTD_DCtx *context)
{
	lock_write(&p->lock);
	if (p->idle < CONTEXTS_MAX) {
		p->contexts[p->idle++] = context;
		context = NULL;
	}
	lock_write_done(&p->lock);
	ZSTD_freeDCtx(context);
}

static int decompress(struct packing *p, const ZSTD_DDict *with, const void *from, uint32_t stored,
		      void *out, uint32_t length)
{
	ZSTD_DCtx *context = context_get(p);

	if (!context)
		return -ENOMEM;
	size_t n = with ? ZSTD_decompress_usingDDict(context, out, length, from, stored, with)
			: ZSTD_decompressDCtx(context, out, length, from, stored);
	context_put(p, context);
	return ZSTD_isError(n) || n != length ? -EUCLEAN : 0;
}

int packing_decompress(struct packing *p, const void *from, uint32_t stored, void *out,
		       uint32_t length)
{
	return length > FMT_VALUE_MAX ? -EUCLEAN : decompress(p, NULL, from, stored, out, length);
}

int packing_read(struct packing *p, const uint8_t *payload, uint32_t bytes, uint8_t *out,
		 uint32_t *length)
{
	/* acquire: pairs with the release in dictionary_take() */
	const ZSTD_DDict *with = atomic_load_explicit(&p->reading, memory_order_acquire);
	struct fmt_packed head;

	if (bytes < sizeof head)
		return -EUCLEAN;
	memcpy(&head, payload, sizeof head);
	if (!with || head.dictionary != FMT_DICTIONARY || !head.length ||
	    head.length > FMT_PACKED_LENGTH_MAX || head.stored > bytes - sizeof head)
		return -EUCLEAN;
	int rc = decompress(p, with, payload + sizeof head, head.stored, out, head.length);
	if (rc == 0 && crc32c(0, out, head.length) != head.crc_plain)
		rc = -EUCLEAN;
	*length = head.length;
	return rc;
}

/* ---- packing ---- */

/* Neither the number of the dictionary nor a checksum is in the frame: its head has both. */
static ZSTD_CCtx *writing_get(struct packing *p)
{
	ZSTD_CCtx *context = p->writing ? p->writing : ZSTD_createCCtx();

	if (!context || p->writing)
		return context;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0)) ||
	    ZSTD_isError(ZSTD_CCtx_loadDictionary(context, p->bytes, p->length))) {
		ZSTD_freeCCtx(context);
		return NULL;
	}
	return p->writing = context;
}

uint32_t packing_make(struct packing *p, const uint8_t *plain, uint32_t length, uint32_t room,
		      uint8_t *out)
{
	struct fmt_packed head = {.length = length, .dictionary = FMT_DICTIONARY};
	ZSTD_CCtx *context = writing_get(p);
	uint32_t again;

	CHECK(length && length <= FMT_PACKED_LENGTH_MAX && room <= FMT_CELL_MAX);
	if (!context || room < sizeof(struct fmt_value))
		return 0;
	size_t n = ZSTD_compress2(context, out + sizeof head, room - sizeof head, plain, length);
	if (ZSTD_isError(n))
		return 0;
	head.crc_plain = crc32c(0, plain, length);
	head.stored = n;
	memcpy(out, &head, sizeof head);
	uint32_t bytes = sizeof head + n;
	if (bytes < sizeof(struct fmt_value)) {
		memset(out + bytes, 0, sizeof(struct fmt_value) - bytes);
		bytes = sizeof(struct fmt_value);
	}
	if (packing_read(p, out, bytes, p->again, &again) < 0 || again != length ||
	    memcmp(p->again, plain, length))
		return 0;
	return bytes;
}
