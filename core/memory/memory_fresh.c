/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   words at once: a text that was saved is found by its words some milliseconds later,
 *            while its embedding waits until the file is quiet.
 *
 *   memory_touch() puts a file into `pending` and into `fresh`, with a short time that each touch puts
 *   off. When that is over, the words of the text are counted and put into the lexical index under
 *   its version. The file stays pending; its job finds the words there and does not count them again.
 *
 * Invariants: words are put only if the file has, under the index lock, the version that they were
 *            counted of: so neither an older text nor a file that is gone can come back. Texts of
 *            more than FRESH_BYTES, and what is no text, wait for their job.
 *            `armed_ms` is as in memory_work.c.
 * Threading: one call at a time, on the bridge; its tokenizer is its own, so it waits for no embedding.
 * Failure:   what cannot be done here is done by the job.
 */
#include "core/memory/lines.h"
#include "core/memory/memory_inside.h"
#include "core/store/background.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { SETTLE_MS = 2, FRESH_BYTES = 256 << 10, SNIFF_BYTES = 4096 };

static uint64_t now_ms(void)
{
	return memory_now_ns() / 1000000;
}

static void arm(struct memory_fresh *f, uint64_t due_ms)
{
	uint64_t armed = atomic_load_explicit(&f->armed_ms, memory_order_relaxed);

	if (armed && armed <= due_ms)
		return;
	atomic_store_explicit(&f->armed_ms, due_ms, memory_order_relaxed);
	bridge_periodic_at(f->alarm, due_ms * 1000000);
}

void memory_fresh_add(struct memory *mem, uint64_t inode)
{
	struct memory_fresh *f = &mem->fresh;
	uint64_t due = now_ms() + SETTLE_MS;

	if (!f->alarm || pending_add(&f->waiting, inode, due) < 0)
		return;
	/* seq_cst: see the head of memory_work.c */
	atomic_thread_fence(memory_order_seq_cst);
	arm(f, due);
}

/* Whether its words are to be taken from its bytes, as its job will do. */
static int is_text(struct memory *mem, uint64_t inode, const struct names_inode *record)
{
	static _Thread_local char name[NAMES_NAME_MAX + 2];
	char head[SNIFF_BYTES];

	if (!S_ISREG(record->mode) || !record->nlink || !record->size ||
	    record->size > FRESH_BYTES || memory_name(mem, inode, name) < 0 ||
	    memory_is_vector_name(name) || memory_is_hidden(mem, inode))
		return 0;
	int n = memory_read(mem->engine, inode, record->size, 0, head, sizeof head);
	return n > 0 && !line_binary_reason(head, (size_t)n) && !memchr(head, 0, (size_t)n);
}

static void words_take(struct memory *mem, uint64_t inode)
{
	struct memory_fresh *f = &mem->fresh;
	struct names_inode record;

	if (memory_inode(mem->engine, inode, &record) < 0 ||
	    memory_index_has_words(mem, inode, record.version) || !is_text(mem, inode, &record) ||
	    memory_words_count(mem, f->words, inode, record.size, &f->bag) < 0)
		return;
	memory_index_put_words(mem, inode, record.version, &f->bag);
	memory_changed(mem);
}

static void fresh_run(void *arg, int status)
{
	struct memory *mem = arg;
	struct memory_fresh *f = &mem->fresh;
	uint64_t inode, next = 0;

	(void)status;
	/* seq_cst: see the head of memory_work.c */
	atomic_store_explicit(&f->armed_ms, 0, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	while (!atomic_load_explicit(&mem->upkeep.stop, memory_order_relaxed) &&
	       (inode = pending_take(&f->waiting, now_ms(), &next)))
		words_take(mem, inode);
	if (next)
		arm(f, next);
}

int memory_fresh_start(struct memory *mem)
{
	struct memory_fresh *f = &mem->fresh;
	struct bridge *bridge = background_bridge(mem->engine);
	int rc = pending_init(&f->waiting);

	if (rc == 0)
		rc = words_new(&f->words);
	if (rc == 0)
		rc = bridge ? bridge_periodic_new(bridge, 0, BRIDGE_NORMAL, fresh_run, mem,
						  &f->alarm)
			    : -EINVAL;
	return rc;
}

void memory_fresh_stop(struct memory *mem)
{
	if (mem->fresh.alarm)
		bridge_periodic_stop(mem->fresh.alarm);
	mem->fresh.alarm = NULL;
	words_free(mem->fresh.words);
	words_bag_free(&mem->fresh.bag);
	pending_fini(&mem->fresh.waiting);
}
