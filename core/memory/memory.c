/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   opening, changes, states; see memory.h.
 */
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "core/memory/spaces.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { QUIET_MS = 150 };

uint64_t memory_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t now_ms(void)
{
	return memory_now_ns() / 1000000;
}

/* ---- changes ---- */

void memory_touch(struct memory *mem, uint64_t inode)
{
	uint64_t due = now_ms() + mem->quiet_ms;

	if (mem->read_only || pending_add(&mem->pending, inode, due) < 0)
		return;
	memory_fresh_add(mem, inode);
	memory_work_add(mem, due);
}

void memory_opt(struct memory *mem, int moved)
{
	uint64_t due = now_ms() + mem->quiet_ms;

	if (!moved)
		atomic_store_explicit(&mem->hides, 1, memory_order_seq_cst);
	memory_changed(mem);
	if (mem->read_only || (!atomic_load_explicit(&mem->hides, memory_order_relaxed) &&
			       !atomic_load_explicit(&mem->models.chosen, memory_order_relaxed)))
		return;
	/* release: the review (acquire) sees the change that was committed before */
	atomic_store_explicit(&mem->opted, due, memory_order_release);
	memory_work_add(mem, due);
}

void memory_settings_changed(struct memory *mem)
{
	uint64_t due = now_ms() + mem->quiet_ms;

	if (mem->read_only)
		return;
	atomic_store_explicit(&mem->settings, 1, memory_order_relaxed);
	/* release: as in memory_opt() */
	atomic_store_explicit(&mem->opted, due, memory_order_release);
	memory_work_add(mem, due);
}

void memory_drop(struct memory *mem, uint64_t inode)
{
	pending_remove(&mem->pending, inode);
	if (mem->fresh.alarm)
		pending_remove(&mem->fresh.waiting, inode);
	memory_index_remove(mem, inode);
	memory_rows_remove(mem, inode);
	use_drop(mem, inode);
	pending_remove(&mem->near_waiting, inode);
	memory_changed(mem);
}

int memory_sync(struct memory *mem, uint64_t inode)
{
	return memory_sync_for(mem, inode, NULL, NULL);
}

int memory_sync_for(struct memory *mem, uint64_t inode, memory_gone *gone, void *arg)
{
	return mem->read_only ? 0 : memory_work_sync(mem, inode, gone, arg);
}

int memory_is_behind(struct memory *mem, uint64_t inode)
{
	return inode ? memory_work_has(mem, inode) : memory_work_pending(mem) > 0;
}

int memory_asks_elsewhere(struct memory *mem)
{
	for (unsigned i = 0; i < mem->models.count; i++) {
		const struct embedder *e = mem->models.all[i].embedder;
		if (e && embedder_is_elsewhere(e))
			return 1;
	}
	return 0;
}

void memory_release(struct memory *mem)
{
	memory_work_release(mem);
	memory_models_stop(mem);
}

/* ---- states ---- */

int memory_state_get(struct memory *mem, uint64_t inode, struct memory_state *state, char *reason)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_PASSAGE);
	uint8_t value[sizeof *state + MEMORY_REASON_MAX];
	size_t length;
	int rc = mneme_get(mem->engine, &key, value, sizeof value, &length);

	if (rc < 0)
		return rc;
	if (length < sizeof *state)
		return -EUCLEAN;
	memcpy(state, value, sizeof *state);
	memcpy(reason, value + sizeof *state, length - sizeof *state);
	reason[length - sizeof *state] = 0;
	return 0;
}

/* Does it wait for vectors of another model? */
static int is_moving(struct memory *mem, uint64_t inode, const struct memory_state *state)
{
	const struct memory_model *wanted = memory_model_wanted(mem, inode, NULL);

	return state->model != MEMORY_MODEL_ROWS && wanted && wanted->number != state->model;
}

static void moving_describe(struct memory *mem, uint64_t inode, const struct memory_state *state,
			    char *text, size_t size)
{
	const struct memory_model *old = memory_model_find(mem, state->model);
	const struct memory_model *wanted = memory_model_wanted(mem, inode, NULL);

	snprintf(text, size, "pending: found by %.50s until %.50s has embedded it",
		 old && old->embedder && state->dim ? old->name : "its words",
		 wanted ? wanted->name : "none");
}

int memory_describe(struct memory *mem, uint64_t inode, char *text, size_t size)
{
	static const char *const words[] = {"pending", "indexed", "skipped", "error"};
	struct memory_state state = {0};
	struct names_inode record;
	char reason[MEMORY_REASON_MAX + 1] = "";
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == 0)
		rc = memory_state_get(mem, inode, &state, reason);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	int is_now = rc == 0 && state.version == record.version;
	if (memory_is_hidden(mem, inode))
		snprintf(text, size, "skipped: " MEMORY_HIDDEN);
	else if (is_now && state.status == MEMORY_INDEXED && is_moving(mem, inode, &state))
		moving_describe(mem, inode, &state, text, size);
	else if (rc == -ENOENT || (!is_now && state.status != MEMORY_SKIPPED) ||
		 state.status > MEMORY_ERROR ||
		 (state.status != MEMORY_ERROR && memory_work_has(mem, inode)))
		snprintf(text, size, "pending");
	else
		snprintf(text, size, "%s%s%s", words[state.status], reason[0] ? ": " : "", reason);
	return 0;
}

int memory_vector(struct memory *mem, uint64_t inode, uint32_t part, float *vector, size_t capacity,
		  uint32_t *dim)
{
	uint8_t sub[4];
	struct mneme_key key = memory_key(inode, MNEME_TYPE_VECTOR, part, sub);
	static _Thread_local uint16_t half[EMBEDDER_DIM_MAX]; /* handlers have 3 KiB of stack */
	size_t length;
	int rc = mneme_get(mem->engine, &key, half, sizeof half, &length);

	if (rc == -ENOENT)
		return -ENODATA;
	if (rc < 0)
		return rc;
	*dim = length / sizeof half[0];
	if (*dim > capacity)
		return -ERANGE;
	simd_active->f16_to_f32(half, vector, *dim);
	return 0;
}

const char *memory_embedder(const struct memory *mem, const char **note)
{
	if (note)
		*note = mem->models.note;
	return mem->models.standard->name;
}

int memory_model_name(struct memory *mem, uint64_t inode, char *name)
{
	char reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	const struct memory_model *m = NULL;

	if (memory_state_get(mem, inode, &state, reason) == 0 && state.dim)
		m = memory_model_find(mem, state.model);
	if (!m)
		m = memory_model_wanted(mem, inode, NULL);
	snprintf(name, MEMORY_NAME_MAX, "%s", m ? m->name : "none");
	return 0;
}

static int is_wanted(const struct memory_models *all, const struct memory_model *m)
{
	int wanted = m == all->standard;

	for (int way = 0; way < MEMORY_WAYS; way++)
		wanted |= m == all->ways[way] &&
			  atomic_load_explicit(&all->chosen, memory_order_relaxed);
	return wanted;
}

unsigned memory_get_models(struct memory *mem, struct memory_model_stats out[MEMORY_MODELS_SHOWN])
{
	struct memory_models *all = &mem->models;
	unsigned count = 1;

	pthread_rwlock_rdlock(&mem->index);
	for (unsigned i = 0; i < all->count; i++) {
		const struct memory_model *m = &all->all[i];
		int is_standard = m == all->standard;
		uint64_t rows = memory_model_rows(m);
		if (!rows && !is_standard)
			continue;
		struct memory_model_stats *s = &out[is_standard ? 0 : count++];
		*s = (struct memory_model_stats){.passages = rows,
						 .is_standard = is_standard,
						 .is_wanted = is_wanted(all, m),
						 .has_embedder = m->embedder != NULL,
						 .is_failing = memory_model_rests(m)};
		memcpy(s->name, m->name, sizeof s->name);
	}
	pthread_rwlock_unlock(&mem->index);
	return count;
}

void memory_get_stats(struct memory *mem, struct memory_stats *out)
{
	struct lexical_stats words;
	uint64_t passages = 0, bytes = 0, cells = 0, former = 0, mapped = 0;
	struct spaces_stats brought;

	spaces_get_stats(mem->spaces, &brought);
	pthread_rwlock_rdlock(&mem->index);
	lexical_get_stats(mem->lexical, &words);
	for (unsigned i = 0; i < mem->models.count; i++) {
		const struct collection *c = mem->models.all[i].vectors;
		struct vectors_stats rows = {0};
		struct index_stats index = {0};
		if (c)
			vectors_get_stats(collection_vectors(c), &rows);
		if (c && collection_index(c))
			index_get_stats(collection_index(c), &index);
		passages += rows.alive;
		former += is_wanted(&mem->models, &mem->models.all[i]) ? 0 : rows.alive;
		bytes += rows.bytes + index.bytes;
		mapped += rows.mapped;
		cells += index.cells;
	}
	pthread_rwlock_unlock(&mem->index);
	*out = (struct memory_stats){
		.files = atomic_load_explicit(&mem->files, memory_order_relaxed),
		.passages = passages,
		.former = former,
		.pending = memory_work_pending(mem),
		.embedded = atomic_load_explicit(&mem->embedded, memory_order_relaxed),
		.searches = atomic_load_explicit(&mem->searches, memory_order_relaxed),
		.repeated = answers_hits(&mem->answers),
		.search_ns = atomic_load_explicit(&mem->search_ns, memory_order_relaxed),
		.embed_ns = atomic_load_explicit(&mem->embed_ns, memory_order_relaxed),
		.bytes = words.bytes + bytes + brought.bytes,
		.mapped = mapped + brought.mapped,
		.brought = brought.vectors,
		.brought_cells = brought.cells,
		.brought_coded = brought.coded,
		.brought_scanned = brought.scanned,
		.loaded = atomic_load_explicit(&mem->reread, memory_order_relaxed),
		.cells = cells,
	};
}

/* ---- opening ---- */

static void bench_fini(struct bench *b)
{
	words_free(b->words);
	words_bag_free(&b->bag);
	pthread_mutex_destroy(&b->lock);
}

static int bench_init(struct bench *b)
{
	pthread_mutex_init(&b->lock, NULL);
	return words_new(&b->words);
}

static int snapshot_init(struct memory *mem, const char *store)
{
	struct mneme_stats stats;

	mneme_get_stats(mem->engine, &stats);
	mem->snapshot.opened_lsn = stats.lsn_next;
	mem->snapshot.opened_epoch = stats.epoch;
	return store ? io_posix_new(store, 0, &mem->snapshot.io) : 0;
}

int memory_open(struct mneme *engine, const struct memory_options *options, struct memory **out,
		struct mneme_error *error)
{
	struct memory *mem = alloc_zeroed(1, sizeof *mem);
	int rc = -ENOMEM;

	if (!mem)
		return rc;
	mem->engine = engine;
	mem->quiet_ms = options->quiet_ms ? options->quiet_ms : QUIET_MS;
	mem->read_only = options->read_only;
	if (options->mounted_at && strlen(options->mounted_at) < sizeof mem->mounted_at)
		strcpy(mem->mounted_at, options->mounted_at);
	pthread_rwlock_init(&mem->index, NULL);
	answers_init(&mem->answers);
	pthread_mutex_init(&mem->upkeep.run, NULL);
	if (pending_init(&mem->pending) == 0)
		rc = memory_models_open(mem, options, error);
	if (rc == 0)
		rc = bench_init(&mem->work);
	if (rc == 0)
		rc = bench_init(&mem->query);
	if (rc == 0)
		rc = spaces_new(&mem->spaces);
	if (rc == 0)
		rc = lexical_new(&mem->lexical);
	if (rc == 0)
		rc = snapshot_init(mem, options->store);
	if (rc == 0)
		rc = memory_load(mem);
	mem->is_loaded = rc == 0;
	mem->models_options = NULL;
	if (rc == 0)
		rc = memory_upkeep_start(mem);
	if (rc == 0)
		rc = memory_watch_start(mem, options);
	if (rc == 0)
		rc = use_start(
			mem); /* before the graph is built: it asks for what files say of use */
	if (rc == 0)
		rc = recall_start(mem);
	if (rc == 0)
		rc = together_start(mem);
	if (rc == 0 && !mem->read_only)
		rc = memory_fresh_start(mem);
	if (rc == 0 && !mem->read_only)
		rc = memory_work_start(mem);
	if (rc < 0) {
		if (error && !error->message[0])
			snprintf(error->message, sizeof error->message,
				 "the memories cannot be loaded: %s", strerror(-rc));
		memory_close(mem);
		return rc;
	}
	*out = mem;
	return 0;
}

void memory_close(struct memory *mem)
{
	if (!mem)
		return;
	memory_models_stop(mem);
	atomic_store_explicit(&mem->upkeep.stop, 1, memory_order_relaxed);
	memory_fresh_stop(mem);
	memory_work_stop(mem);
	use_stop(mem);
	together_stop(mem);
	recall_stop(mem);
	memory_watch_stop(mem);
	memory_upkeep_stop(mem);
	if (mem->is_loaded)
		memory_snapshot_save(mem, 1);
	bench_fini(&mem->work);
	bench_fini(&mem->query);
	answers_fini(&mem->answers);
	lexical_free(mem->lexical);
	memory_models_close(mem);
	spaces_free(mem->spaces);
	if (mem->snapshot.io) /* after what is mapped through it */
		mem->snapshot.io->ops->destroy(mem->snapshot.io);
	pending_fini(&mem->pending);
	pthread_rwlock_destroy(&mem->index);
	pthread_mutex_destroy(&mem->upkeep.run);
	alloc_free(mem);
}
