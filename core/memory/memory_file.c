/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one file from bytes to records, in steps: read and cut; embed what is new, some passages
 *            a step; commit and index.
 * Invariants: passages whose hash was there before keep their vector. The records are committed only if
 *            the file has still the version that was read; else it is pending again.
 * Threading: one step at a time (memory_work.c): the bench `work` is used within steps only.
 */
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "pool/alloc.h"
#include "pool/layers.h"
#include "simd/simd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { READ_BLOCK = 64 << 10 };
enum { EMBED_BATCH = 8 }; /* passages a step: what somebody in a hurry waits for */

enum step { STEP_CUT, STEP_EMBED, STEP_STORE };

struct text {
	const char *text;
	uint32_t length;
};

struct memory_job {
	struct memory *mem;
	enum step step;
	uint64_t inode;
	struct memory_model *model; /* that makes the vectors; NULL: it cannot be had */
	uint32_t dim;               /* of it, once it is ready */
	struct names_inode record;
	struct memory_state old, state;
	char reason[MEMORY_REASON_MAX], old_reason[MEMORY_REASON_MAX + 1];
	struct memory_part *parts, *old_parts;
	struct text *texts; /* composed; offsets first, pointers when all is there */
	uint32_t count, capacity, old_count;
	char *bytes; /* of all texts */
	size_t bytes_used, bytes_size;
	float *vectors;    /* count x dim */
	uint32_t embedded; /* parts whose vectors are there */
};

static int reserve(void **mem, size_t *size, size_t need)
{
	size_t bigger = *size ? *size : 4096;

	if (need <= *size)
		return 0;
	while (bigger < need)
		bigger *= 2;
	void *more = alloc_resize(*mem, bigger);
	if (!more)
		return -ENOMEM;
	*mem = more;
	*size = bigger;
	return 0;
}

static int part_room(struct memory_job *j)
{
	if (j->count < j->capacity)
		return 0;
	uint32_t capacity = j->capacity ? 2 * j->capacity : 64;
	void *parts = alloc_resize(j->parts, capacity * sizeof j->parts[0]);
	if (!parts)
		return -ENOMEM;
	j->parts = parts;
	void *texts = alloc_resize(j->texts, capacity * sizeof j->texts[0]);
	if (!texts)
		return -ENOMEM;
	j->texts = texts;
	j->capacity = capacity;
	return 0;
}

static int part_take(void *context, const struct passage *p)
{
	struct memory_job *j = context;

	if (j->count == MEMORY_PARTS_MAX)
		return 1;
	int rc = part_room(j);
	if (rc == 0)
		rc = reserve((void **)&j->bytes, &j->bytes_size, j->bytes_used + PASSAGE_TEXT_MAX);
	if (rc < 0)
		return rc;
	struct memory_part *part = &j->parts[j->count];
	*part = (struct memory_part){.begin = p->begin, .end = p->end};
	memcpy(part->hash, p->hash, sizeof part->hash);
	size_t length = passage_compose(p, j->bytes + j->bytes_used);
	j->texts[j->count].length = length;
	j->bytes_used += length;
	j->count++;
	return 0;
}

static struct passage_splitter *splitter_of(const struct memory_job *j)
{
	return j->model ? j->model->splitter : j->mem->models.standard->splitter;
}

/* Reads the file in blocks and cuts it. */
static int text_cut(struct memory_job *j)
{
	struct passage_splitter *splitter = splitter_of(j);
	char *block = alloc_get(READ_BLOCK);
	int rc = 0;

	if (!block)
		return -ENOMEM;
	passages_reset(splitter, part_take, j);
	for (uint64_t at = 0; at < j->record.size && rc == 0;) {
		int n = memory_read(j->mem->engine, j->inode, j->record.size, at, block,
				    READ_BLOCK);
		if (n <= 0) {
			rc = n;
			break;
		}
		rc = passages_feed(splitter, block, n);
		at += n;
	}
	if (rc == 0)
		rc = passages_finish(splitter);
	alloc_free(block);
	return rc;
}

/* Line numbers of the parts, in one more pass over the text: parts ascend by begin. */
static int lines_count(struct memory_job *j)
{
	char *block = alloc_get(READ_BLOCK);
	uint32_t line = 1, part = 0;

	if (!block)
		return -ENOMEM;
	for (uint64_t at = 0; at < j->record.size && part < j->count;) {
		int n = memory_read(j->mem->engine, j->inode, j->record.size, at, block,
				    READ_BLOCK);
		if (n <= 0) {
			alloc_free(block);
			return n;
		}
		for (int i = 0; i < n; i++) {
			while (part < j->count && j->parts[part].begin == at + i)
				j->parts[part++].line = line;
			line += block[i] == '\n';
		}
		at += n;
	}
	alloc_free(block);
	return 0;
}

static int old_part_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct memory_job *j = arg;

	if (key->sub_length == 4 && length == sizeof(struct memory_part) &&
	    j->old_count < j->old.parts)
		memcpy(&j->old_parts[j->old_count++], value, sizeof(struct memory_part));
	return 0;
}

static int old_load(struct memory_job *j)
{
	struct mneme_key key = names_key(j->inode, MNEME_TYPE_PASSAGE), last = key;
	uint8_t value[sizeof(struct memory_state) + MEMORY_REASON_MAX];
	size_t length;
	int rc = mneme_get(j->mem->engine, &key, value, sizeof value, &length);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0 || length < sizeof j->old)
		return rc < 0 ? rc : -EUCLEAN;
	memcpy(&j->old, value, sizeof j->old);
	memcpy(j->old_reason, value + sizeof j->old, length - sizeof j->old);
	if (!j->old.parts || j->old.parts > MEMORY_PARTS_MAX)
		return 0;
	j->old_parts = alloc_get(j->old.parts * sizeof j->old_parts[0]);
	if (!j->old_parts)
		return -ENOMEM;
	last.type = MNEME_TYPE_PASSAGE + 1;
	return mneme_scan(j->mem->engine, &key, &last, 0, old_part_take, j);
}

/* Do the indexes hold these records of the present bytes? */
static int is_found_as(const struct memory_job *j, const struct memory_state *state)
{
	const struct memory_model *m = state->dim ? memory_model_find(j->mem, state->model) : NULL;

	return (state->status == MEMORY_INDEXED || state->status == MEMORY_ERROR) &&
	       state->version == j->record.version && state->parts &&
	       state->model != MEMORY_MODEL_ROWS &&
	       memory_index_holds(j->mem, j->inode, j->record.version, m, m ? state->parts : 0);
}

/* Takes over the vector of an old part with the same text. */
static int vector_reuse(struct memory_job *j, uint32_t part)
{
	struct memory *mem = j->mem;

	if (j->old.model != j->model->number || j->old.dim != j->dim)
		return 0;
	for (uint32_t i = 0; i < j->old_count; i++) {
		uint32_t at = (part + i) % j->old_count; /* most parts keep their number */
		uint32_t dim = 0;
		if (memcmp(j->old_parts[at].hash, j->parts[part].hash, 16))
			continue;
		return memory_vector(mem, j->inode, at, j->vectors + (size_t)part * j->dim, j->dim,
				     &dim) == 0 &&
		       dim == j->dim;
	}
	return 0;
}

/* To what the records hold: the next mount answers the same. */
static void vectors_round(struct memory_job *j)
{
	uint16_t half[64];
	size_t count = (size_t)j->count * j->dim;

	for (size_t at = 0; at < count; at += 64) {
		size_t n = count - at < 64 ? count - at : 64;
		simd_active->f32_to_f16(j->vectors + at, half, n);
		simd_active->f16_to_f32(half, j->vectors + at, n);
	}
}

/* It is tried again when the embedder has rested, which it need not if only this text is refused. */
static int embedder_failed(struct memory_job *j, int rc, const char *why)
{
	snprintf(j->reason, sizeof j->reason, "%.150s", why[0] ? why : strerror(-rc));
	if (rc != -ENOMEM && rc != -ECANCELED && rc != -EBADMSG && !memory_model_rests(j->model))
		memory_model_failed(j->model, j->reason);
	return rc;
}

/* The text is found by its words, and by the vectors that it has, if they are of these bytes. 0: that is
 * so as it is. */
static int embedding_put_off(struct memory_job *j, int rc)
{
	struct memory *mem = j->mem;
	int lasts = rc == -EMEDIUMTYPE || rc == -ENOTSUP || rc == -EBADMSG || !j->model;

	alloc_free(j->vectors);
	j->vectors = NULL;
	atomic_store_explicit(&mem->has_errors, 1, memory_order_relaxed);
	int again = lasts ? 0 : memory_work_later(mem, j->inode);
	if (again < 0 || (j->old.status == MEMORY_INDEXED && is_found_as(j, &j->old)))
		return again;
	j->state.status = MEMORY_ERROR;
	j->state.parts = j->count;
	j->state.dim = 0;
	j->step = STEP_STORE;
	return 1;
}

/* Embeds some of the passages: 1 while there are more. */
static int vectors_make(struct memory_job *j)
{
	struct memory *mem = j->mem;
	const char *texts[EMBED_BATCH];
	size_t lengths[EMBED_BATCH];
	uint32_t numbers[EMBED_BATCH], n = 0;
	char why[EMBEDDER_WHY] = "";
	float *out = alloc_get((size_t)EMBED_BATCH * j->dim * sizeof *out);
	int rc = out ? 0 : -ENOMEM;

	for (; rc == 0 && j->embedded < j->count && n < EMBED_BATCH; j->embedded++) {
		if (vector_reuse(j, j->embedded))
			continue;
		texts[n] = j->texts[j->embedded].text;
		lengths[n] = j->texts[j->embedded].length;
		numbers[n++] = j->embedded;
	}
	if (rc == 0 && n)
		rc = embedder_embed(j->model->work, texts, lengths, n, out, why);
	for (uint32_t k = 0; k < n && rc == 0; k++)
		memcpy(j->vectors + (size_t)numbers[k] * j->dim, out + (size_t)k * j->dim,
		       j->dim * sizeof *out);
	atomic_fetch_add_explicit(&mem->embedded, n, memory_order_relaxed);
	alloc_free(out);
	if (rc < 0)
		return embedder_failed(j, rc, why);
	if (j->embedded < j->count)
		return 1;
	memory_model_works(j->model);
	vectors_round(j);
	return 0;
}

/* ---- committing ---- */

static int parts_put(struct memory_job *j, struct mneme_txn *txn)
{
	uint16_t *half = alloc_get(j->dim * sizeof *half + 16);
	int rc = half ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < j->count && rc == 0; i++) {
		uint8_t sub[4];
		struct mneme_key key = memory_key(j->inode, MNEME_TYPE_PASSAGE, i, sub);
		rc = mneme_txn_put(txn, &key, &j->parts[i], sizeof j->parts[i]);
		if (rc == 0 && j->vectors) {
			simd_active->f32_to_f16(j->vectors + (size_t)i * j->dim, half, j->dim);
			key.type = MNEME_TYPE_VECTOR;
			rc = mneme_txn_put(txn, &key, half, j->dim * sizeof *half);
		}
	}
	alloc_free(half);
	return rc;
}

/* -ESTALE: the file was changed meanwhile. */
static int records_write(struct memory_job *j, struct mneme_txn *txn)
{
	struct mneme_key inode = names_key(j->inode, MNEME_TYPE_INODE);
	struct mneme_key key = names_key(j->inode, MNEME_TYPE_PASSAGE), last = key;
	struct names_inode now;
	size_t length;
	int rc = mneme_txn_get(txn, &inode, &now, sizeof now, &length);

	if (rc < 0)
		return rc;
	if (now.version != j->record.version)
		return -ESTALE;
	if (!now.nlink)
		return -ENOENT;
	last.type++;
	rc = mneme_txn_delete_range(txn, &key, &last);
	if (rc == 0)
		rc = mneme_txn_put_parts(txn, &key, &j->state, sizeof j->state, j->reason,
					 strlen(j->reason));
	key.type = MNEME_TYPE_VECTOR;
	last.type = MNEME_TYPE_VECTOR + 1;
	if (rc == 0)
		rc = mneme_txn_delete_range(txn, &key, &last);
	return rc == 0 ? parts_put(j, txn) : rc;
}

/* The passages and the links in one transaction. 1: links have changed. */
static int records_commit_once(struct memory_job *j)
{
	struct mneme *engine = j->mem->engine;
	struct links old = {0}, new = {0};
	const struct links none = {0};
	struct mneme_txn *txn;
	int rc = links_load(engine, j->inode, &old);

	if (rc == 0)
		rc = memory_links_gather(j->mem, j->inode, &j->record, &old, &new);
	int differ = rc == 0 && !links_equal(&old, &new);
	if (rc == 0)
		rc = links_begin(engine,
				 links_shards(engine, j->inode, differ ? &old : &none,
					      differ ? &new : &none),
				 0, &txn);
	if (rc == 0) {
		rc = records_write(j, txn);
		if (rc == 0 && differ)
			rc = links_write(engine, txn, j->inode, &old, &new);
		if (rc == 0)
			rc = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
		else
			mneme_txn_abort(txn);
	}
	links_fini(&old);
	links_fini(&new);
	if (rc == 0 && differ)
		recall_touch(j->mem, j->inode);
	return rc < 0 ? rc : differ;
}

static int records_commit(struct memory_job *j)
{
	int rc;

	do
		rc = records_commit_once(j);
	while (rc == -EAGAIN);
	/* a name that came between the look and the commit */
	return rc == 1 ? memory_links_refresh(j->mem, j->inode) : rc;
}

/* Files that are no texts are written often (databases, images): their record then stays. */
static int is_skipped_again(const struct memory_job *j)
{
	return j->old.status == MEMORY_SKIPPED && j->state.status == MEMORY_SKIPPED &&
	       !strcmp(j->old_reason, j->reason);
}

/* ---- steps ---- */

/* What is wrong with the text or the embedder is the file's state; what should be tried again is the
 * job's error. */
static int state_decide(struct memory_job *j, int rc)
{
	if (rc == -ENOMEM || rc == -ECANCELED)
		return rc;
	j->state.status = rc == 0 ? MEMORY_INDEXED : MEMORY_ERROR;
	if (rc < 0) {
		atomic_store_explicit(&j->mem->has_errors, 1, memory_order_relaxed);
		j->count = 0;
	}
	j->state.parts = j->count;
	j->step = STEP_STORE;
	return 1;
}

static int skip(struct memory_job *j, const char *why)
{
	snprintf(j->reason, sizeof j->reason, "%s", why);
	j->count = 0;
	j->step = STEP_STORE;
	return 1;
}

/* The text is cut; it waits for its vectors. */
static int model_prepare(struct memory_job *j)
{
	char why[EMBEDDER_WHY] = "";
	int rc = -ENOTSUP;

	if (!j->model)
		(void)memory_model_wanted(j->mem, j->inode, why);
	else if (memory_model_rests(j->model))
		rc = -EAGAIN;
	else
		rc = memory_model_ready(j->mem, j->model, why);
	if (rc == -ENOMEM || rc == -ECANCELED)
		return rc;
	if (rc < 0 && j->model && rc != -EAGAIN)
		embedder_failed(j, rc, why);
	else if (rc < 0)
		snprintf(j->reason, sizeof j->reason, "%.150s",
			 why[0] || !j->model ? why : j->model->why);
	if (rc < 0)
		return embedding_put_off(j, rc);
	j->dim = j->state.dim = memory_model_dim(j->model);
	if (!j->dim)
		return state_decide(j, 0);
	j->vectors = alloc_zeroed((size_t)j->count * j->dim, sizeof *j->vectors);
	j->step = STEP_EMBED;
	return j->vectors ? 1 : -ENOMEM;
}

static int texts_cut(struct memory_job *j)
{
	int rc = text_cut(j);
	size_t at = 0;

	if (rc == -EILSEQ)
		return skip(j, passages_reason(splitter_of(j)));
	if (rc == 1)
		snprintf(j->reason, sizeof j->reason, "the first %d passages", MEMORY_PARTS_MAX);
	if (rc >= 0)
		rc = lines_count(j);
	for (uint32_t i = 0; i < j->count; i++) {
		j->texts[i].text = j->bytes + at;
		at += j->texts[i].length;
	}
	if (rc < 0 || !j->count)
		return state_decide(j, rc);
	return model_prepare(j);
}

/* Vectors that the file brings. 0: go on with its text. */
static int vectors_take(struct memory_job *j)
{
	struct memory_rows rows;
	int rc = memory_rows_index(j->mem, j->inode, &j->record, &rows, j->reason);

	if (rc == 1 || (rc == 0 && rows.is_own && j->record.size))
		return 0;
	if (rc < 0 && rc != -EINVAL)
		return rc;
	j->state.status = rc == 0 ? MEMORY_INDEXED : MEMORY_ERROR;
	j->state.model = MEMORY_MODEL_ROWS;
	j->state.dim = rows.dim;
	j->state.parts = rc == 0 ? rows.rows : 0;
	j->step = STEP_STORE;
	return 1;
}

/* Nothing but its links can have changed. */
static int is_indexed(const struct memory_job *j)
{
	return j->old.status == MEMORY_INDEXED && (!j->model || j->old.model == j->model->number);
}

static int step_cut(struct memory_job *j)
{
	char reason[MEMORY_REASON_MAX];
	int rc = old_load(j);

	if (rc < 0)
		return rc;
	j->model = memory_model_wanted(j->mem, j->inode, NULL);
	j->state = (struct memory_state){.version = j->record.version,
					 .status = MEMORY_SKIPPED,
					 .dim = j->model ? memory_model_dim(j->model) : 0,
					 .model = j->model ? j->model->number : 0};
	if (memory_is_hidden(j->mem, j->inode)) {
		memory_rows_remove(j->mem, j->inode);
		return skip(j, MEMORY_HIDDEN);
	}
	rc = vectors_take(j);
	if (rc)
		return rc;
	int is_found = is_found_as(j, &j->old);
	if (is_found && !is_indexed(j) && j->model && memory_model_rests(j->model))
		rc = memory_work_later(j->mem, j->inode); /* it stays as it is until then */
	else if (is_found && !is_indexed(j))
		is_found = 0;
	if (rc < 0 || is_found)
		return rc < 0 ? rc : memory_links_refresh(j->mem, j->inode);
	if (j->record.size == 0)
		return skip(j, "empty");
	if (j->record.size > MEMORY_FILE_MAX) {
		snprintf(reason, sizeof reason, "larger than %d MiB", MEMORY_FILE_MAX >> 20);
		return skip(j, reason);
	}
	return texts_cut(j);
}

static int step_embed(struct memory_job *j)
{
	int rc = vectors_make(j);

	if (rc < 0 && rc != -ENOMEM && rc != -ECANCELED)
		return embedding_put_off(j, rc);
	return rc > 0 ? rc : state_decide(j, rc);
}

static int step_store(struct memory_job *j)
{
	struct memory *mem = j->mem;
	/* those of a text that is not cut short, if they were taken when it was saved */
	int has_words = j->count && j->count < MEMORY_PARTS_MAX &&
			memory_index_has_words(mem, j->inode, j->record.version);
	int rc = 0;

	if (j->count &&
	    !has_words) /* of the bytes that are committed, or the version is another one by now */
		rc = memory_words_count(mem, mem->work.words, j->inode, j->parts[j->count - 1].end,
					&mem->work.bag);
	if (rc == 0)
		rc = is_skipped_again(j) ? memory_links_refresh(mem, j->inode) : records_commit(j);
	if (rc == 0 && j->count)
		LAYER(index, rc = memory_index_put(mem, j->inode, j->record.version,
						   has_words ? NULL : &mem->work.bag, j->model,
						   j->count, j->vectors));
	else if (rc == 0)
		memory_index_remove(mem, j->inode);
	if (rc == 0)
		together_embedded(mem, j->inode);
	return rc;
}

int memory_job_new(struct memory *mem, uint64_t inode, struct memory_job **out)
{
	struct memory_job *j = alloc_zeroed(1, sizeof *j);
	int rc = j ? memory_inode(mem->engine, inode, &j->record) : -ENOMEM;

	if (rc == 0 && S_ISLNK(j->record.mode) && j->record.nlink) {
		rc = memory_links_refresh(mem, inode);
		alloc_free(j);
		return rc < 0 ? rc : -ENOENT;
	}
	if (rc == 0 && (!S_ISREG(j->record.mode) || j->record.nlink == 0))
		rc = -ENOENT;
	if (rc == -ENOENT) {
		memory_index_remove(mem, inode);
		memory_rows_remove(mem, inode);
	}
	if (rc < 0) {
		alloc_free(j);
		return rc;
	}
	j->mem = mem;
	j->inode = inode;
	*out = j;
	return 0;
}

int memory_job_step(struct memory_job *j)
{
	static int (*const steps[])(struct memory_job *) = {step_cut, step_embed, step_store};
	struct memory *mem = j->mem;
	uint64_t begin = memory_now_ns();
	int rc = steps[j->step](j);

	if (rc == -ENOENT) { /* the file went meanwhile */
		memory_index_remove(mem, j->inode);
		memory_rows_remove(mem, j->inode);
		rc = 0;
	}
	atomic_fetch_add_explicit(&mem->embed_ns, memory_now_ns() - begin, memory_order_relaxed);
	return rc;
}

int memory_job_stores(const struct memory_job *j)
{
	return j->step == STEP_STORE;
}

void memory_job_free(struct memory_job *j)
{
	if (!j)
		return;
	alloc_free(j->parts);
	alloc_free(j->old_parts);
	alloc_free(j->texts);
	alloc_free(j->bytes);
	alloc_free(j->vectors);
	alloc_free(j);
}
