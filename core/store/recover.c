/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   applies the log to the last checkpoint when a store is opened; see store.h.
 * Invariants: the records of one segment are a batch. Its operations are dealt out to threads by shard,
 *            so each shard sees its own in log order. When the arena or the heap is full, all threads
 *            stop, a checkpoint is made that claims only what lies before the batch, and each goes on
 *            where it was: to apply a batch anew from its beginning, as the next recovery would, ends
 *            in the same state.
 * Threading: nobody else has the store yet.
 * Failure:   -EUCLEAN for records that make no sense; -ENOMEM, -ENOSPC, -EIO.
 */
#include "core/store/recover.h"
#include "core/store/checkpoint.h"
#include "core/store/commit.h"
#include "core/store/named.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define INODE_MOST (UINT64_MAX / 2)
enum { THREADS_MAX = 8, RECORDS_FOR_THREADS = 4096, GROW_PAGES = 4096 };

struct batch {
	struct mneme *m;
	const struct fmt_record **records;
	uint64_t count, capacity;
	uint64_t total, bytes; /* over all batches */
};

struct replayer {
	struct batch *batch;
	unsigned number, of;
	uint64_t record; /* where it goes on */
	uint32_t op;
	uint64_t applied;
	int rc;
};

/* A put of what the log names. What a writer named since the superblock may lie behind its heap's end. */
static int run_decode(struct mneme *m, struct commit_op *op)
{
	struct fmt_run run;
	int rc = named_decode(op->value, op->length, &run);

	if (rc == 0)
		rc = heap_reach(&m->heap, run.page + run.length / FMT_PAGE_SIZE, m->read_only);
	if (rc < 0)
		return rc;
	op->kind = FMT_OP_PUT;
	op->length = run.length;
	op->run = run.page;
	op->run_crc = run.crc;
	return 0;
}

static int op_decode(struct mneme *m, const struct fmt_op *head, const uint8_t *sub,
		     struct commit_op *op)
{
	*op = (struct commit_op){.kind = head->kind,
				 .offset = head->offset,
				 .length = head->value_length,
				 .value = sub + head->sub_length,
				 .key = {.inode = head->inode,
					 .type = head->type,
					 .sub = sub,
					 .sub_length = head->sub_length}};
	if (op->kind < FMT_OP_PUT || op->kind > FMT_OP_LAST ||
	    head->sub_length > MNEME_SUBKEY_MAX ||
	    (uint64_t)op->offset + op->length > FMT_VALUE_MAX)
		return -EUCLEAN;
	if (op->kind == FMT_OP_PUT_RUN) {
		int rc = run_decode(m, op);
		if (rc < 0)
			return rc;
	}
	if (op->kind == FMT_OP_DELETE_RANGE) {
		if (op->length < FMT_KEY_HEAD || op->length > FMT_KEY_MAX)
			return -EUCLEAN;
		store_decode_key((struct page_key){op->value, op->length - SEEDED_BUG(18)},
				 &op->last);
		op->length = 0;
	}
	struct shard *s = store_shard(m, head->inode);
	uint64_t next = head->inode / m->shard_count + 1;
	/* One that is given out at no time: behind it there would soon be none. */
	if (head->inode > INODE_MOST)
		return 0;
	if (next > atomic_load_explicit(&s->inode_next, memory_order_relaxed) && !SEEDED_BUG(19))
		atomic_store_explicit(&s->inode_next, next, memory_order_relaxed);
	return 0;
}

static int op_replay(struct mneme *m, const struct fmt_op *head, const uint8_t *sub)
{
	struct commit_op op;
	int rc = op_decode(m, head, sub, &op);

	while (rc == 0 && (rc = commit_replay(m, &op)) == -ENOSPC && !m->read_only)
		if (heap_grow(&m->heap, m->keep_pages + GROW_PAGES) < 0)
			return -ENOSPC;
		else
			rc = 0;
	return rc;
}

/* The operations of one record that are this thread's. */
static int record_replay(struct replayer *r, const struct fmt_record *record)
{
	struct mneme *m = r->batch->m;
	const uint8_t *at = (const uint8_t *)(record + 1);
	uint64_t left = record->length - sizeof *record;

	for (uint32_t i = 0; i < record->count; i++) {
		struct fmt_op head;
		if (left < sizeof head)
			return -EUCLEAN;
		memcpy(&head, at, sizeof head);
		uint64_t bytes = sizeof head + head.sub_length + head.value_length;
		if (left < bytes)
			return -EUCLEAN;
		if (i >= r->op && (head.inode & m->shard_mask) % r->of == r->number) {
			int rc = op_replay(m, &head, at + sizeof head);
			if (rc < 0) {
				r->op = i;
				return rc;
			}
			r->applied++;
		}
		at += bytes;
		left -= bytes;
	}
	r->op = 0;
	return 0;
}

static void *replayer_main(void *arg)
{
	struct replayer *r = arg;

	for (r->rc = 0; r->record < r->batch->count; r->record++) {
		r->rc = record_replay(r, r->batch->records[r->record]);
		if (r->rc < 0)
			break;
	}
	return NULL;
}

/* Runs all replayers until they stop; the first error that is not lack of room counts. */
static int replayers_run(struct replayer *replayers, unsigned count)
{
	pthread_t threads[THREADS_MAX];
	unsigned started = 1;
	int rc = 0;

	while (started < count &&
	       pthread_create(&threads[started], NULL, replayer_main, &replayers[started]) == 0)
		started++;
	for (unsigned i = started; i < count; i++) /* no thread to be had: one after the other */
		replayer_main(&replayers[i]);
	replayer_main(&replayers[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < count; i++)
		if (replayers[i].rc < 0 && (rc == 0 || rc == -ENOBUFS || rc == -ENOSPC))
			rc = replayers[i].rc;
	return rc;
}

static int batch_replay(struct batch *b, uint64_t end)
{
	struct replayer replayers[THREADS_MAX];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = b->count < RECORDS_FOR_THREADS || cores < 2 ? 1 : (unsigned)cores;
	uint64_t applied = 0, before;
	int rc;

	if (count > THREADS_MAX)
		count = THREADS_MAX;
	for (unsigned i = 0; i < count; i++)
		replayers[i] = (struct replayer){.batch = b, .number = i, .of = count};
	do {
		before = applied;
		rc = replayers_run(replayers, count);
		applied = 0;
		for (unsigned i = 0; i < count; i++)
			applied += replayers[i].applied;
		if ((rc != -ENOBUFS && rc != -ENOSPC) || b->m->read_only)
			break;
		if (applied == before)
			return rc == -ENOBUFS ? -ENOMEM : rc;
		rc = named_settle(b->m);
		if (rc == 0)
			rc = checkpoint_run(b->m);
	} while (rc == 0);
	b->count = 0;
	/* The chain may begin before the checkpoint; a checkpoint never goes back. */
	if (end > atomic_load_explicit(&b->m->wal.next, memory_order_relaxed)) {
		atomic_store_explicit(&b->m->wal.next, end, memory_order_relaxed);
		atomic_store_explicit(&b->m->wal.durable, end, memory_order_relaxed);
	}
	return rc == -ENOBUFS ? -ENOMEM : rc;
}

/* Collects records; a NULL one ends a segment, whose bytes go away then. */
static int batch_add(void *arg, uint64_t lsn_end, const struct fmt_record *record)
{
	struct batch *b = arg;

	if (!record)
		return batch_replay(b, lsn_end);
	if (b->count == b->capacity) {
		uint64_t capacity = b->capacity ? 2 * b->capacity : 1024;
		void *more = alloc_resize(b->records, capacity * sizeof b->records[0]);
		if (!more)
			return -ENOMEM;
		b->records = more;
		b->capacity = capacity;
	}
	b->records[b->count++] = record;
	b->total++;
	b->bytes += record->length;
	return 0;
}

int recover_replay(struct mneme *m, uint64_t *end, uint64_t *sequence)
{
	struct batch b = {.m = m};
	struct fmt_super super = m->super;

	atomic_store_explicit(&m->wal.next, super.lsn, memory_order_relaxed);
	atomic_store_explicit(&m->wal.durable, super.lsn, memory_order_relaxed);
	atomic_store_explicit(&m->wal.generation, super.generation, memory_order_relaxed);
	int rc = wal_replay(&m->wal, super.lsn, super.log_durable, super.generation,
			    m->read_only ? WAL_REPLAY_READ : WAL_REPLAY_ADOPT, batch_add, &b, end,
			    sequence);
	alloc_free(b.records);
	if (rc == 0)
		rc = named_end(m);
	m->replayed_records = b.total;
	m->replayed_bytes = b.bytes;
	return rc;
}
