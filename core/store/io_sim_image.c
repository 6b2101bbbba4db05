/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   contents of simulated files: copy-on-write tables of chunks, and the flat
 *            mirror of a file that is mapped (see io_sim_disk.h).
 * Invariants: a chunk is changed only while one table has it, a table only while one owner has it.
 *            Bytes past the size read as zero, and are zero.
 * Threading: counts are atomic; a table is otherwise guarded by its disk's mutex.
 * Failure:   -ENOMEM; the image is then valid, and partly changed at most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/store/io_sim_disk.h"
#include "pool/check.h"

int sim_bytes_are_zero(const uint8_t *data, uint64_t length)
{
	return !length || (!data[0] && !memcmp(data, data + 1, length - 1));
}

struct sim_image *sim_image_ref(struct sim_image *image)
{
	if (image) /* relaxed: whoever refs holds a count already */
		atomic_fetch_add_explicit(&image->refs, 1, memory_order_relaxed);
	return image;
}

static void chunk_drop(struct sim_chunk *chunk)
{
	/* acq_rel: the last owner sees what the others read before they let go */
	if (chunk && atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1)
		free(chunk);
}

void sim_image_drop(struct sim_image *image)
{
	/* acq_rel: as in chunk_drop() */
	if (!image || atomic_fetch_sub_explicit(&image->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < image->capacity; i++)
		chunk_drop(image->chunks[i]);
	free(image);
}

/* Makes *image the caller's alone, with room for `chunks` chunks. */
static int image_own(struct sim_image **image, uint64_t chunks)
{
	struct sim_image *old = *image, *new;
	uint64_t capacity = old ? old->capacity : 0;
	/* acquire: pairs with the release of the owner that let go before */
	int shared = old && atomic_load_explicit(&old->refs, memory_order_acquire) > 1;

	if (old && !shared && chunks <= capacity)
		return 0;
	if (chunks > capacity)
		capacity = chunks < 2 * capacity ? 2 * capacity : chunks;
	if (capacity > UINT32_MAX)
		return -EFBIG;
	new = shared ? NULL : old;
	new = realloc(new, sizeof(*new) + capacity * sizeof(new->chunks[0]));
	if (!new)
		return -ENOMEM;
	if (shared || !old) {
		atomic_init(&new->refs, 1);
		new->size = old ? old->size : 0;
		new->capacity = 0;
	}
	if (shared) {
		for (; new->capacity < old->capacity; new->capacity++) {
			struct sim_chunk *chunk = old->chunks[new->capacity];

			if (chunk) /* relaxed: the old table keeps its count meanwhile */
				atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
			new->chunks[new->capacity] = chunk;
		}
		sim_image_drop(old);
	}
	for (; new->capacity < capacity; new->capacity++)
		new->chunks[new->capacity] = NULL;
	*image = new;
	return 0;
}

/* The chunk, changeable; made if it is not there. */
static struct sim_chunk *chunk_own(struct sim_image *image, uint64_t index)
{
	struct sim_chunk *old = image->chunks[index], *new;

	/* acquire: pairs with the release of the table that let go before */
	if (old && atomic_load_explicit(&old->refs, memory_order_acquire) == 1)
		return old;
	new = malloc(sizeof(*new));
	if (!new)
		return NULL;
	atomic_init(&new->refs, 1);
	if (old)
		memcpy(new->bytes, old->bytes, SIM_CHUNK);
	else
		memset(new->bytes, 0, SIM_CHUNK);
	chunk_drop(old);
	image->chunks[index] = new;
	return new;
}

/* Changes a range inside one chunk. */
static int chunk_write(struct sim_image *image, const uint8_t *data, uint64_t length,
		       uint64_t offset)
{
	uint64_t index = offset / SIM_CHUNK;
	struct sim_chunk *chunk = image->chunks[index];

	if (!data && !chunk)
		return 0;
	if (!data && length == SIM_CHUNK) {
		chunk_drop(chunk);
		image->chunks[index] = NULL;
		return 0;
	}
	chunk = chunk_own(image, index);
	if (!chunk)
		return -ENOMEM;
	if (data)
		memcpy(chunk->bytes + offset % SIM_CHUNK, data, length);
	else
		memset(chunk->bytes + offset % SIM_CHUNK, 0, length);
	return 0;
}

static uint64_t bytes_in_chunk(uint64_t offset, uint64_t length)
{
	uint64_t room = SIM_CHUNK - offset % SIM_CHUNK;

	return length < room ? length : room;
}

int sim_image_write(struct sim_image **image, const uint8_t *data, uint64_t length, uint64_t offset)
{
	uint64_t end = offset + length;
	uint64_t size = sim_image_size(*image);
	int rc = image_own(image, ((end > size ? end : size) + SIM_CHUNK - 1) / SIM_CHUNK);

	while (!rc && length) {
		uint64_t n = bytes_in_chunk(offset, length);

		rc = chunk_write(*image, data, n, offset);
		offset += n;
		length -= n;
		if (data)
			data += n;
	}
	if (!rc && end > (*image)->size)
		(*image)->size = end;
	return rc;
}

int sim_image_resize(struct sim_image **image, uint64_t size)
{
	uint64_t old = sim_image_size(*image);
	uint64_t end = (old + SIM_CHUNK - 1) / SIM_CHUNK * SIM_CHUNK;
	int rc;

	if (size == old)
		return 0;
	if (size < old) {
		rc = sim_image_write(image, NULL, end - size, size);
		if (rc)
			return rc;
	} else {
		rc = image_own(image, (size + SIM_CHUNK - 1) / SIM_CHUNK);
		if (rc)
			return rc;
	}
	(*image)->size = size;
	return 0;
}

void sim_image_read(const struct sim_image *image, uint8_t *data, uint64_t length, uint64_t offset)
{
	while (length) {
		uint64_t n = bytes_in_chunk(offset, length);
		const struct sim_chunk *chunk = NULL;

		if (image && offset / SIM_CHUNK < image->capacity)
			chunk = image->chunks[offset / SIM_CHUNK];
		if (chunk)
			memcpy(data, chunk->bytes + offset % SIM_CHUNK, n);
		else
			memset(data, 0, n);
		data += n;
		offset += n;
		length -= n;
	}
}

/* ---- the flat mirror ---- */

/* Mirrors that were given back, all zeros, with their pages still there: a crash state is opened
 * and thrown away by the hundred thousand, and taking pages from the kernel is most of what that
 * costs. Not under the address sanitizer, where a pointer that outlives its map is to be found. */
struct region {
	uint8_t *base;
	uint64_t reserve, open;
};

enum { REGIONS = 16, REGION_BYTES_MAX = 16 << 20 };

static pthread_mutex_t regions_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct region regions[REGIONS]; /* [regions_mutex] base NULL: free entry */

static struct region region_take(uint64_t reserve)
{
	struct region found = {NULL, reserve, 0};

	pthread_mutex_lock(&regions_mutex);
	for (int i = 0; i < REGIONS && !found.base; i++)
		if (regions[i].base && regions[i].reserve == reserve) {
			found = regions[i];
			regions[i].base = NULL;
		}
	pthread_mutex_unlock(&regions_mutex);
	return found;
}

static int region_keep(struct region region)
{
	int kept = 0;

#ifndef __SANITIZE_ADDRESS__
	pthread_mutex_lock(&regions_mutex);
	for (int i = 0; i < REGIONS && !kept; i++)
		if (!regions[i].base) {
			regions[i] = region;
			kept = 1;
		}
	pthread_mutex_unlock(&regions_mutex);
#endif
	return kept;
}

void sim_flat_free(struct sim_inode *inode)
{
	struct region region = {inode->flat, inode->flat_reserve, inode->flat_open};
	const struct sim_image *image = inode->image;

	if (!region.base)
		return;
	inode->flat = NULL;
	inode->flat_reserve = inode->flat_open = 0;
	if (!inode->exposed && region.open <= REGION_BYTES_MAX) {
		/* the image says where the mirror is not zero */
		for (uint64_t i = 0; i * SIM_CHUNK < region.open && i < image->capacity; i++)
			if (image->chunks[i])
				memset(region.base + i * SIM_CHUNK, 0, SIM_CHUNK);
		if (region_keep(region))
			return;
	}
	inode->exposed = 0;
	CHECK(!munmap(region.base, region.reserve));
}

int sim_flat_resize(struct sim_inode *inode, uint64_t size)
{
	uint64_t end = (size + SIM_CHUNK - 1) / SIM_CHUNK * SIM_CHUNK;
	uint64_t open = inode->flat_open;

	if (size % SIM_CHUNK && end <= open) /* what lies past the end reads as zeros */
		memset(inode->flat + size, 0, end - size);
	if (end > open && mprotect(inode->flat + open, end - open, PROT_READ | PROT_WRITE))
		return -errno;
	if (end < open && (madvise(inode->flat + end, open - end, MADV_DONTNEED) ||
			   mprotect(inode->flat + end, open - end, PROT_NONE)))
		return -errno;
	inode->flat_open = end;
	return 0;
}

int sim_flat_make(struct sim_inode *inode, uint64_t reserve)
{
	const struct sim_image *image = inode->image;
	uint64_t size = sim_image_size(image);
	struct region region = region_take(reserve);
	int rc;

	if (!region.base)
		region.base = mmap(NULL, reserve, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region.base == MAP_FAILED)
		return -errno;
	inode->flat = region.base;
	inode->flat_reserve = reserve;
	inode->flat_open = region.open;
	rc = sim_flat_resize(inode, size);
	if (rc) {
		sim_flat_free(inode);
		return rc;
	}
	for (uint64_t i = 0; i * SIM_CHUNK < size && i < image->capacity; i++)
		if (image->chunks[i])
			memcpy(inode->flat + i * SIM_CHUNK, image->chunks[i]->bytes, SIM_CHUNK);
	return 0;
}

int sim_inode_fold(struct sim_inode *inode)
{
	uint64_t size = sim_image_size(inode->image);
	int rc = 0;

	if (!inode->exposed)
		return 0;
	for (uint64_t at = 0; !rc && at < size; at += SIM_CHUNK) {
		uint8_t present[SIM_CHUNK];
		uint64_t n = size - at < SIM_CHUNK ? size - at : SIM_CHUNK;

		sim_image_read(inode->image, present, n, at);
		if (memcmp(present, inode->flat + at, n))
			rc = sim_image_write(&inode->image, inode->flat + at, n, at);
	}
	return rc;
}

int sim_flat_prepare(struct sim_inode *inode, uint64_t size)
{
	int rc = sim_inode_fold(inode);

	inode->exposed = 0;
	if (rc || !inode->flat || size <= inode->flat_reserve)
		return rc;
	if (inode->maps)
		return -EFBIG;
	sim_flat_free(inode);
	return 0;
}
