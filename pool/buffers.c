/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tiered reply buffers; see buffers.h.
 * Invariants: chunk c of a tier holds the buffers [c * per_chunk, (c + 1) * per_chunk). One
 *            allocation a chunk: | per_chunk descriptors, padded to 64 | per_chunk * size bytes
 *            of data | chunks[c] is changed under the tier's mutex; an index comes out of the
 *            list only while its chunk exists.
 */
#include "pool/buffers.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/freelist.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	CHUNK_BYTES = 128 << 10, /* aimed at */
	CHUNK_BUFFERS_MAX = 32,
	CACHE_BUFFERS = 16, /* most in a thread's cache of a tier */
	CACHE_BYTES = 64 << 10,
	MOVE_MAX = CACHE_BUFFERS,
};

struct cache_tier {
	uint32_t count;
	_Atomic uint64_t gets, hits, puts; /* [A] written inside `busy` alone */
	struct buffer *item[CACHE_BUFFERS];
};

struct cache {
	alignas(CACHE_LINE) _Atomic uint32_t busy; /* [A] its thread is inside */
	_Atomic uint32_t visited; /* [A] another thread is inside, or wants to be */
	struct cache_tier tier[]; /* inside busy or visited */
};

struct tier {
	struct freelist list;
	_Atomic(struct buffer *) *chunks;             /* [A] descriptors; changed under `mutex` */
	uint32_t size, initial;                       /* [I] */
	uint32_t per_chunk, chunks_max;               /* [I] */
	uint32_t cache_max;                           /* [I] buffers in a thread's cache */
	uint32_t index;                               /* [I] of this tier */
	pthread_mutex_t mutex;                        /* growth and shrinking */
	_Atomic uint32_t chunks_now;                  /* [A] changed under mutex */
	uint32_t peak_before;                         /* mutex: peak of the interval before this */
	alignas(CACHE_LINE) _Atomic uint32_t outside; /* [A] in use or cached */
	_Atomic uint32_t outside_max;                 /* [A] since the start */
	_Atomic uint32_t outside_peak;                /* [A] of this interval */
	_Atomic uint64_t shared_gets, shared_puts, from_list, grown, shrunk, refused; /* [A] */
};

struct buffers {
	unsigned tiers; /* [I] */
	int fenced;     /* [I] the kernel has no barrier for others: owners pay for their own */
	_Atomic(struct cache *) caches[THREAD_SLOTS]; /* [A] set once */
	struct tier tier[BUFFERS_TIERS_MAX];
};

void buffers_config_default(struct buffers_config *out)
{
	*out = (struct buffers_config){
		.tiers = 3,
		.tier = {{1 << 10, 128, 4096}, {4 << 10, 64, 2048}, {16 << 10, 32, 1024}},
	};
}

static void count_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count_owned(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static uint64_t count_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void raise_to(_Atomic uint32_t *mark, uint32_t value)
{
	uint32_t seen = atomic_load_explicit(mark, memory_order_relaxed);

	while (seen < value &&
	       !atomic_compare_exchange_weak_explicit(mark, &seen, value, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static struct buffer *buffer_at(struct tier *tier, uint32_t index)
{
	/* acquire: pairs with the release in chunk_add(); the index came out of the list after it
	 */
	struct buffer *chunk =
		atomic_load_explicit(&tier->chunks[index / tier->per_chunk], memory_order_acquire);

	return &chunk[index % tier->per_chunk];
}

static void list_put(struct tier *tier, struct buffer *const *buffer, unsigned count)
{
	uint32_t index[MOVE_MAX];

	for (unsigned i = 0; i < count; i++)
		index[i] = buffer[i]->index;
	atomic_fetch_sub_explicit(&tier->outside, count, memory_order_relaxed);
	freelist_push(&tier->list, index, count);
}

static unsigned list_take(struct tier *tier, struct buffer **buffer, unsigned want)
{
	uint32_t index[MOVE_MAX];
	unsigned count = freelist_pop(&tier->list, index, want);

	if (!count)
		return 0;
	uint32_t now =
		atomic_fetch_add_explicit(&tier->outside, count, memory_order_relaxed) + count;
	raise_to(&tier->outside_max, now);
	raise_to(&tier->outside_peak, now);
	for (unsigned i = 0; i < count; i++)
		buffer[i] = buffer_at(tier, index[i]);
	return count;
}

static size_t chunk_header_bytes(const struct tier *tier)
{
	return (tier->per_chunk * sizeof(struct buffer) + CACHE_LINE - 1) &
	       ~(size_t)(CACHE_LINE - 1);
}

static size_t chunk_bytes(const struct tier *tier)
{
	return chunk_header_bytes(tier) + (size_t)tier->per_chunk * tier->size;
}

/* Adds one chunk and puts its buffers into the list. Under the mutex. -ENOBUFS at the limit. */
static int chunk_add(struct tier *tier)
{
	uint32_t at = 0, index[CHUNK_BUFFERS_MAX];

	while (at < tier->chunks_max &&
	       atomic_load_explicit(&tier->chunks[at], memory_order_relaxed))
		at++;
	if (at == tier->chunks_max)
		return -ENOBUFS;
	struct buffer *chunk = alloc_aligned(CACHE_LINE, chunk_bytes(tier));
	if (!chunk)
		return -ENOMEM;
	unsigned char *data = (unsigned char *)chunk + chunk_header_bytes(tier);
	for (uint32_t i = 0; i < tier->per_chunk; i++) {
		index[i] = at * tier->per_chunk + i;
		chunk[i] = (struct buffer){data + (size_t)i * tier->size, tier->size, 0, index[i],
					   tier->index};
	}
	/* release: pairs with the acquire in buffer_at() */
	atomic_store_explicit(&tier->chunks[at], chunk, memory_order_release);
	atomic_fetch_add_explicit(&tier->chunks_now, 1, memory_order_relaxed);
	freelist_push(&tier->list, index, tier->per_chunk);
	return 0;
}

static int tier_init(struct tier *tier, const struct buffers_tier_config *config, unsigned index)
{
	uint32_t fit = CHUNK_BYTES / config->size;

	tier->per_chunk = fit < 1 ? 1 : fit > CHUNK_BUFFERS_MAX ? CHUNK_BUFFERS_MAX : fit;
	tier->chunks_max = (config->limit + tier->per_chunk - 1) / tier->per_chunk;
	tier->size = config->size;
	tier->initial = config->initial;
	tier->index = index;
	fit = CACHE_BYTES / config->size;
	tier->cache_max = fit < 2 ? 2 : fit > CACHE_BUFFERS ? CACHE_BUFFERS : fit;
	pthread_mutex_init(&tier->mutex, NULL);
	tier->chunks = alloc_zeroed(tier->chunks_max, sizeof(*tier->chunks));
	_Atomic uint32_t *next =
		alloc_get((size_t)tier->chunks_max * tier->per_chunk * sizeof(*next));
	freelist_init(&tier->list, next);
	if (!tier->chunks || !next)
		return -ENOMEM;
	while (atomic_load_explicit(&tier->chunks_now, memory_order_relaxed) * tier->per_chunk <
	       config->initial) {
		int error = chunk_add(tier);
		if (error)
			return error;
	}
	return 0;
}

static void tier_destroy(struct tier *tier)
{
	for (uint32_t i = 0; tier->chunks && i < tier->chunks_max; i++)
		alloc_free(atomic_load_explicit(&tier->chunks[i], memory_order_acquire));
	alloc_free((void *)tier->list.next);
	alloc_free((void *)tier->chunks);
	if (tier->size)
		pthread_mutex_destroy(&tier->mutex);
}

/* Can a visitor order the owners' accesses for them? The thread sanitizer knows only our own. */
static int owners_unfenced(void)
{
#if defined(__SANITIZE_THREAD__)
	return 0;
#else
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

static int config_valid(const struct buffers_config *config)
{
	if (!config->tiers || config->tiers > BUFFERS_TIERS_MAX)
		return 0;
	for (unsigned i = 0; i < config->tiers; i++) {
		const struct buffers_tier_config *tier = &config->tier[i];
		if (!tier->size || tier->size % CACHE_LINE || tier->size > 64u << 20 ||
		    !tier->initial || tier->limit < tier->initial || tier->limit > 1u << 24 ||
		    (i && tier->size <= config->tier[i - 1].size))
			return 0;
	}
	return 1;
}

int buffers_new(const struct buffers_config *config, struct buffers **out)
{
	int error = 0;

	if (!config_valid(config))
		return -EINVAL;
	struct buffers *pool = alloc_aligned(CACHE_LINE, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, sizeof(*pool));
	pool->tiers = config->tiers;
	pool->fenced = !owners_unfenced();
	for (unsigned i = 0; i < pool->tiers && !error; i++)
		error = tier_init(&pool->tier[i], &config->tier[i], i);
	if (error) {
		buffers_free(pool);
		return error;
	}
	*out = pool;
	return 0;
}

void buffers_free(struct buffers *pool)
{
	if (!pool)
		return;
	for (int slot = 0; slot < THREAD_SLOTS; slot++)
		alloc_free(atomic_load_explicit(&pool->caches[slot], memory_order_acquire));
	for (unsigned i = 0; i < pool->tiers; i++)
		tier_destroy(&pool->tier[i]);
	alloc_free(pool);
}

static size_t cache_bytes(const struct buffers *pool)
{
	return sizeof(struct cache) + pool->tiers * sizeof(struct cache_tier);
}

/* The owner's way in; 0 while a visitor is there. */
static int cache_enter(const struct buffers *pool, struct cache *cache)
{
	if (__builtin_expect(pool->fenced, 0)) {
		/* seq_cst: busy is stored before visited is loaded; see buffers.h */
		atomic_exchange_explicit(&cache->busy, 1, memory_order_seq_cst);
	} else {
		atomic_store_explicit(&cache->busy, 1, memory_order_relaxed);
		/* the compiler keeps the order, visitors_barrier() makes the processor keep it */
		atomic_signal_fence(memory_order_seq_cst);
	}
	/* acquire (as part of seq_cst): pairs with the release in cache_visit_end() */
	if (__builtin_expect(!atomic_load_explicit(&cache->visited, memory_order_seq_cst), 1))
		return 1;
	atomic_store_explicit(&cache->busy, 0, memory_order_release);
	return 0;
}

static void cache_leave(struct cache *cache)
{
	/* release: pairs with the acquire in caches_empty() */
	atomic_store_explicit(&cache->busy, 0, memory_order_release);
}

/* Announces a visit; 0 if another visitor is there. */
static int cache_visit(struct cache *cache)
{
	return cache && !atomic_exchange_explicit(&cache->visited, 1, memory_order_seq_cst);
}

static void cache_visit_end(struct cache *cache)
{
	/* release: pairs with the acquire in cache_enter() and cache_visit() */
	atomic_store_explicit(&cache->visited, 0, memory_order_release);
}

/* Makes every owner pass a barrier between its store of busy and its load of visited. */
static int visitors_barrier(const struct buffers *pool)
{
	if (pool->fenced)
		return 0;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) ? -errno : 0;
}

/* The calling thread's cache, entered; NULL without a slot, without memory, or while another
 * visits. */
static struct cache *cache_mine(struct buffers *pool)
{
	int slot = thread_slot();

	if (slot < 0)
		return NULL;
	struct cache *cache = atomic_load_explicit(&pool->caches[slot], memory_order_acquire);
	if (__builtin_expect(!cache, 0)) {
		size_t bytes = (cache_bytes(pool) + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
		cache = alloc_aligned(CACHE_LINE, bytes);
		if (!cache)
			return NULL;
		memset(cache, 0, bytes);
		/* release: pairs with the acquire loads here and in caches_empty() */
		atomic_store_explicit(&pool->caches[slot], cache, memory_order_release);
	}
	return cache_enter(pool, cache) ? cache : NULL;
}

/* Moves what lies in the caches of all threads that are not inside theirs to the tier's list. */
static void caches_empty(struct buffers *pool, struct tier *tier)
{
	int slots = thread_slots_used();
	struct cache *visit[THREAD_SLOTS];

	for (int slot = 0; slot < slots; slot++) {
		visit[slot] = atomic_load_explicit(&pool->caches[slot], memory_order_acquire);
		if (!cache_visit(visit[slot]))
			visit[slot] = NULL;
	}
	int error = visitors_barrier(pool);
	for (int slot = 0; slot < slots; slot++) {
		if (!visit[slot])
			continue;
		struct cache_tier *theirs = &visit[slot]->tier[tier->index];
		/* acquire (as part of seq_cst): pairs with the release in cache_leave() */
		if (!error && !atomic_load_explicit(&visit[slot]->busy, memory_order_seq_cst)) {
			if (theirs->count)
				list_put(tier, theirs->item, theirs->count);
			theirs->count = 0;
		}
		cache_visit_end(visit[slot]);
	}
}

/* Growth, and at the limit the caches of others. Returns how many were taken. */
static unsigned tier_take_more(struct buffers *pool, struct tier *tier, struct buffer **buffer,
			       unsigned want)
{
	pthread_mutex_lock(&tier->mutex);
	/* somebody else may have grown it, or the shrinker put everything back, meanwhile */
	unsigned count = list_take(tier, buffer, want);
	if (!count) {
		if (chunk_add(tier) == 0)
			count_add(&tier->grown, 1);
		else
			caches_empty(pool, tier);
		count = list_take(tier, buffer, want);
	}
	pthread_mutex_unlock(&tier->mutex);
	return count;
}

/* One buffer from the list or by growth; fills `mine` (may be NULL) on the way. */
static struct buffer *tier_get_slow(struct buffers *pool, struct tier *tier,
				    struct cache_tier *mine)
{
	struct buffer *taken[MOVE_MAX];
	unsigned want = mine ? (tier->cache_max + 1) / 2 : 1;
	unsigned count = list_take(tier, taken, want);

	if (count)
		count_add(&tier->from_list, 1);
	else
		count = tier_take_more(pool, tier, taken, want);
	if (!count) {
		count_add(&tier->refused, 1);
		return NULL;
	}
	for (unsigned i = 1; i < count; i++)
		mine->item[mine->count++] = taken[count - i];
	return taken[0];
}

static struct buffer *tier_get(struct buffers *pool, struct tier *tier)
{
	struct cache *cache = cache_mine(pool);
	struct cache_tier *mine = cache ? &cache->tier[tier->index] : NULL;
	struct buffer *buffer;

	if (mine && mine->count) {
		buffer = mine->item[--mine->count];
		count_owned(&mine->hits);
	} else {
		buffer = tier_get_slow(pool, tier, mine);
	}
	if (mine && buffer)
		count_owned(&mine->gets);
	else if (buffer)
		count_add(&tier->shared_gets, 1);
	if (cache)
		cache_leave(cache);
	return buffer;
}

struct buffer *buffers_get(struct buffers *pool, size_t size)
{
	for (unsigned i = 0; i < pool->tiers; i++) {
		if (pool->tier[i].size < size)
			continue;
		struct buffer *buffer = tier_get(pool, &pool->tier[i]);
		if (buffer) {
			buffer->used = 0;
			return buffer;
		}
	}
	return NULL;
}

void buffers_put(struct buffers *pool, struct buffer *buffer)
{
	if (!buffer)
		return;
	struct tier *tier = &pool->tier[buffer->tier];
	struct cache *cache = cache_mine(pool);

	if (!cache) {
		count_add(&tier->shared_puts, 1);
		list_put(tier, &buffer, 1);
		return;
	}
	struct cache_tier *mine = &cache->tier[buffer->tier];
	if (mine->count == tier->cache_max) {
		/* the older half goes: the younger is still in this core's cache */
		unsigned half = (tier->cache_max + 1) / 2;
		list_put(tier, mine->item, half);
		mine->count -= half;
		memmove(mine->item, mine->item + half, mine->count * sizeof(mine->item[0]));
	}
	mine->item[mine->count++] = buffer;
	count_owned(&mine->puts);
	cache_leave(cache);
}

int buffers_get_vector(struct buffers *pool, size_t bytes, struct buffer **out, unsigned max)
{
	size_t largest = pool->tier[pool->tiers - 1].size;
	unsigned count = 0;

	if (!bytes || (bytes - 1) / largest >= max)
		return -EINVAL;
	for (size_t left = bytes; left;) {
		size_t piece = left < largest ? left : largest;
		out[count] = buffers_get(pool, piece);
		if (!out[count]) {
			while (count)
				buffers_put(pool, out[--count]);
			return -ENOBUFS;
		}
		count++;
		left -= piece;
	}
	return (int)count;
}

/* Sorts the free indexes by chunk: counts for each chunk how many of its buffers are in `index`. */
static void chunks_count(const struct tier *tier, const uint32_t *index, uint32_t count,
			 uint32_t *free_in)
{
	memset(free_in, 0, tier->chunks_max * sizeof(*free_in));
	for (uint32_t i = 0; i < count; i++)
		free_in[index[i] / tier->per_chunk]++;
}

/* Frees up to `surplus` chunks that are wholly in `index`, puts the rest back. Under the mutex. */
static size_t chunks_drop(struct tier *tier, uint32_t *index, uint32_t count, uint32_t *free_in,
			  uint32_t surplus)
{
	size_t freed = 0;
	uint32_t kept = 0;

	chunks_count(tier, index, count, free_in);
	for (uint32_t c = tier->chunks_max; c-- > 0;) {
		int whole = free_in[c] == tier->per_chunk && surplus > 0;
		free_in[c] = (uint32_t)whole;
		if (!whole)
			continue;
		surplus--;
		alloc_free(atomic_exchange_explicit(&tier->chunks[c], NULL, memory_order_relaxed));
		atomic_fetch_sub_explicit(&tier->chunks_now, 1, memory_order_relaxed);
		count_add(&tier->shrunk, 1);
		freed += chunk_bytes(tier);
	}
	for (uint32_t i = 0; i < count; i++)
		if (!free_in[index[i] / tier->per_chunk])
			index[kept++] = index[i];
	if (kept)
		freelist_push(&tier->list, index, kept);
	return freed;
}

static size_t tier_shrink(struct buffers *pool, struct tier *tier)
{
	size_t freed = 0;
	uint32_t *index = NULL, *free_in = NULL;

	pthread_mutex_lock(&tier->mutex);
	uint32_t now = atomic_load_explicit(&tier->outside, memory_order_relaxed);
	uint32_t peak = atomic_exchange_explicit(&tier->outside_peak, now, memory_order_relaxed);
	uint32_t need = peak > tier->peak_before ? peak : tier->peak_before;
	tier->peak_before = peak;
	if (need < tier->initial)
		need = tier->initial;
	uint32_t chunks_need = (need + tier->per_chunk - 1) / tier->per_chunk;
	uint32_t chunks_now = atomic_load_explicit(&tier->chunks_now, memory_order_relaxed);
	if (chunks_now <= chunks_need)
		goto out;
	uint32_t total = chunks_now * tier->per_chunk;
	index = alloc_get(total * sizeof(*index));
	free_in = alloc_get(tier->chunks_max * sizeof(*free_in));
	if (!index || !free_in)
		goto out; /* the next interval tries again */
	caches_empty(pool, tier);
	/* Whoever finds the list empty now waits for the mutex in tier_take_more(). */
	uint32_t count = freelist_pop(&tier->list, index, total);
	freed = chunks_drop(tier, index, count, free_in, chunks_now - chunks_need);
out:
	pthread_mutex_unlock(&tier->mutex);
	alloc_free(index);
	alloc_free(free_in);
	return freed;
}

size_t buffers_shrink_idle(struct buffers *pool)
{
	size_t freed = 0;

	for (unsigned i = 0; i < pool->tiers; i++)
		freed += tier_shrink(pool, &pool->tier[i]);
	return freed;
}

static void tier_read_stats(struct tier *tier, struct buffers_tier_stats *out)
{
	uint32_t chunks = atomic_load_explicit(&tier->chunks_now, memory_order_relaxed);

	memset(out, 0, sizeof(*out));
	out->size = tier->size;
	out->total = (uint64_t)chunks * tier->per_chunk;
	out->limit = (uint64_t)tier->chunks_max * tier->per_chunk;
	out->high_water = atomic_load_explicit(&tier->outside_max, memory_order_relaxed);
	out->gets = count_read(&tier->shared_gets);
	out->hits_central = count_read(&tier->from_list);
	out->grown = count_read(&tier->grown);
	out->shrunk = count_read(&tier->shrunk);
	out->refused = count_read(&tier->refused);
	out->bytes_data = out->total * tier->size;
	/* links of buffers that do not exist are never touched, so the kernel has given no page for
	 * them */
	out->bytes_overhead = chunks * (uint64_t)chunk_header_bytes(tier) +
			      out->total * sizeof(uint32_t) + sizeof(*tier) +
			      tier->chunks_max * sizeof(void *);
}

unsigned buffers_read_stats(struct buffers *pool, struct buffers_tier_stats out[BUFFERS_TIERS_MAX])
{
	for (unsigned i = 0; i < pool->tiers; i++) {
		struct tier *tier = &pool->tier[i];
		uint64_t puts = count_read(&tier->shared_puts);

		tier_read_stats(tier, &out[i]);
		for (int slot = 0; slot < THREAD_SLOTS; slot++) {
			struct cache *cache =
				atomic_load_explicit(&pool->caches[slot], memory_order_acquire);
			if (!cache)
				continue;
			struct cache_tier *mine = &cache->tier[i];
			out[i].gets += count_read(&mine->gets);
			out[i].hits_thread += count_read(&mine->hits);
			puts += count_read(&mine->puts);
			out[i].bytes_overhead += sizeof(*mine);
		}
		out[i].in_use = out[i].gets > puts ? out[i].gets - puts : 0;
		uint64_t outside = atomic_load_explicit(&tier->outside, memory_order_relaxed);
		out[i].cached = outside > out[i].in_use ? outside - out[i].in_use : 0;
	}
	return pool->tiers;
}

/* Marks the free buffers of one tier; adds to `free_total`. */
static int tier_validate(struct buffers *pool, struct tier *tier, unsigned char *seen,
			 uint64_t *free_total)
{
	uint32_t limit = tier->chunks_max * tier->per_chunk;

	if (freelist_validate(&tier->list, limit) < 0)
		return -EUCLEAN;
	uint32_t at = (uint32_t)(atomic_load_explicit(&tier->list.head, memory_order_acquire) &
				 FREELIST_INDEX_MASK);
	for (; at != FREELIST_NIL;
	     at = atomic_load_explicit(&tier->list.next[at], memory_order_relaxed)) {
		if (seen[at]++ || !atomic_load_explicit(&tier->chunks[at / tier->per_chunk],
							memory_order_acquire))
			return -EUCLEAN;
		++*free_total;
	}
	for (int slot = 0; slot < THREAD_SLOTS; slot++) {
		struct cache *cache =
			atomic_load_explicit(&pool->caches[slot], memory_order_acquire);
		for (uint32_t i = 0; cache && i < cache->tier[tier->index].count; i++) {
			struct buffer *buffer = cache->tier[tier->index].item[i];
			if (buffer->index >= limit || seen[buffer->index]++ ||
			    buffer != buffer_at(tier, buffer->index))
				return -EUCLEAN;
			++*free_total;
		}
	}
	return 0;
}

int buffers_validate(struct buffers *pool, uint64_t in_use)
{
	uint64_t free_total = 0, total = 0;
	int error = 0;

	for (unsigned i = 0; i < pool->tiers && !error; i++) {
		struct tier *tier = &pool->tier[i];
		unsigned char *seen = alloc_zeroed(tier->chunks_max, tier->per_chunk);
		if (!seen)
			return -ENOMEM;
		error = tier_validate(pool, tier, seen, &free_total);
		total += (uint64_t)tier->per_chunk *
			 atomic_load_explicit(&tier->chunks_now, memory_order_relaxed);
		alloc_free(seen);
	}
	return !error && free_total + in_use != total ? -EUCLEAN : error;
}
