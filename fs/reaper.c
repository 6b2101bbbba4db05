/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reaper.h.
 */
#include "fs/fs.h"

#include "fs/chunk.h"
#include "fs/reaper.h"
#include "fs/unwritten.h"
#include "core/links.h"
#include "core/memory/recall.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

enum {
	REAP_AT_ONCE_BYTES = 1 << 20,
	REAP_PIECE_CHUNKS = 1024, /* 16 MiB of the file in one transaction */
	REAP_QUEUE = 65536,
	REAP_RECOVER_BATCH = 64,
	REAP_FULL_TRIES = 16, /* a checkpoint gives the pages of the last epoch back */
};

#define REAP_INVALIDATE (UINT64_C(1) << 63)

struct reaper {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct fs *fs;
	uint64_t *queue; /* mutex; ring of inodes, REAP_INVALIDATE set: drop pages only */
	unsigned head, count;
	int stopping;
	pthread_cond_t idle;       /* signalled when the thread has nothing left to do */
	int working;               /* mutex; the thread is at something */
	int checkpoint;            /* mutex; somebody waits for a checkpoint */
	_Atomic uint64_t removals; /* [A] reaper_removals() */
};

struct piece {
	unsigned count;
	int64_t reserved; /* of them without bytes */
	uint8_t type;     /* of the last key that was seen: CHUNK or UNWRITTEN */
	uint64_t end;     /* behind its number */
};

static int each_chunk(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct piece *piece = arg;

	uint64_t first, end;

	if (key->sub_length != 8)
		return -EUCLEAN;
	piece->type = key->type;
	piece->end = names_get_be64(key->sub) + 1;
	if (key->type == MNEME_TYPE_CHUNK)
		piece->reserved += !length;
	else if (unwritten_parse(key, value, length, &first, &end) == 0)
		piece->reserved += (int64_t)(end - first);
	return ++piece->count == REAP_PIECE_CHUNKS;
}

/* Removes up to REAP_PIECE_CHUNKS chunks, or ranges of them, of an orphan. Returns 1 when there may
 * be more, 0 or -errno. */
OWN_FRAME static int remove_piece(struct fs *fs, uint64_t ino)
{
	struct names_inode inode;
	struct mneme_txn *txn;
	struct piece piece = {0};
	uint8_t first_sub[8], last_sub[8];
	int err = fs_begin(fs, MNEME_TXN_MAY_FILL, &ino, 1, &txn);

	if (err)
		return err;
	err = inode_load(txn, ino, &inode);
	if (!err && inode.nlink)
		err = -EEXIST; /* it got a name meanwhile */
	if (err)
		goto abort;
	struct mneme_key first = names_key_number(ino, MNEME_TYPE_CHUNK, 0, first_sub);
	struct mneme_key last = names_key(ino, MNEME_TYPE_UNWRITTEN + 1);
	err = mneme_txn_scan(txn, &first, &last, 0, each_chunk, &piece);
	if (err < 0 || !piece.count)
		goto abort;
	last = names_key_number(ino, piece.type, piece.end, last_sub);
	err = mneme_txn_delete_range(txn, &first, &last);
	if (!err && piece.reserved)
		err = mneme_txn_reserve(txn, ino, -piece.reserved);
	if (err)
		goto abort;
	err = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	return err ? err : piece.count == REAP_PIECE_CHUNKS;
abort:
	mneme_txn_abort(txn);
	return err;
}

static int is_longer(const struct names_inode *inode, uint64_t bytes)
{
	return S_ISREG(inode->mode) && (inode->size > bytes || inode->allocated > bytes);
}

/* Removes all keys of the inode and its ORPHAN key. -EBUSY: links are to go first; -EFBIG: it is longer
 * than `most` bytes. */
OWN_FRAME static int remove_rest_try(struct fs *fs, uint64_t ino, uint64_t most)
{
	struct names_inode inode;
	struct mneme_txn *txn;
	uint8_t sub[8];
	int err = fs_begin(fs, MNEME_TXN_MAY_FILL, &ino, 1, &txn);

	if (err)
		return err;
	err = inode_load(txn, ino, &inode);
	if (!err && inode.nlink)
		err = -EEXIST;
	if (!err && is_longer(&inode, most))
		err = -EFBIG;
	if (err && err != -ENOENT)
		goto abort;
	int has_record = !err;
	err = links_any(txn, mneme_shards(fs->engine), ino);
	if (err) {
		err = err > 0 ? -EBUSY : err;
		goto abort;
	}
	struct mneme_key first = {.inode = ino};
	struct mneme_key last = {.inode = ino, .type = 0xff};
	struct mneme_key orphan =
		names_key_number(fs_shard_of(fs, ino), MNEME_TYPE_ORPHAN, ino, sub);
	err = has_record ? chunk_give_back(fs, txn, ino, &inode) : 0;
	if (!err)
		err = mneme_txn_delete_range(txn, &first, &last);
	if (!err)
		err = mneme_txn_delete(txn, &orphan);
	if (err)
		goto abort;
	err = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	if (!err && fs->memory)
		memory_drop(fs->memory, ino);
	return err;
abort:
	mneme_txn_abort(txn);
	return err;
}

static void look_again(void *arg, uint64_t from)
{
	struct fs *fs = arg;

	fs_touch(fs, from);
	if (fs->memory)
		recall_touch(fs->memory, from);
}

static int remove_rest(struct fs *fs, uint64_t ino, uint64_t most)
{
	int err = -EAGAIN;

	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++) {
		err = remove_rest_try(fs, ino, most);
		if (err == -EBUSY) {
			err = links_forget(fs->engine, ino, look_again, fs);
			if (fs->memory)
				recall_touch(fs->memory, ino);
			err = err ? err : -EAGAIN;
		}
	}
	return err;
}

/* On a full store there may be no room for the change itself until a checkpoint gives some back. */
static void remove_all(struct fs *fs, uint64_t ino)
{
	int err, full = 0;

	do {
		err = remove_piece(fs, ino);
		if (!err || err == -ENOENT)
			err = remove_rest(fs, ino, UINT64_MAX);
		if (err >= 0)
			/* release: pairs with the acquire in reaper_removals(); the commit is done */
			atomic_fetch_add_explicit(&fs->reaper->removals, 1, memory_order_release);
		if (err == -ENOSPC && (++full == REAP_FULL_TRIES || mneme_checkpoint(fs->engine)))
			break;
	} while (err > 0 || err == -EAGAIN || err == -ENOSPC);
}

static void do_entry(struct fs *fs, uint64_t entry)
{
	if (entry & REAP_INVALIDATE)
		fuse_lowlevel_notify_inval_inode(fs->session,
						 fs_nodeid(fs, entry & ~REAP_INVALIDATE), 0, 0);
	else
		remove_all(fs, entry);
}

static void *reaper_main(void *arg)
{
	struct reaper *reaper = arg;

	pthread_mutex_lock(&reaper->mutex);
	while (!reaper->stopping) {
		reaper->working = reaper->count || reaper->checkpoint;
		if (!reaper->working) {
			pthread_cond_broadcast(&reaper->idle);
			pthread_cond_wait(&reaper->wake, &reaper->mutex);
			continue;
		}
		int has_entry = reaper->count > 0;
		uint64_t entry = has_entry ? reaper->queue[reaper->head] : 0;
		if (has_entry) {
			reaper->head = (reaper->head + 1) % REAP_QUEUE;
			reaper->count--;
		} else {
			reaper->checkpoint = 0;
		}
		pthread_mutex_unlock(&reaper->mutex);
		if (has_entry)
			do_entry(reaper->fs, entry);
		else
			mneme_checkpoint(reaper->fs->engine);
		pthread_mutex_lock(&reaper->mutex);
	}
	pthread_mutex_unlock(&reaper->mutex);
	return NULL;
}

uint64_t reaper_removals(const struct reaper *reaper)
{
	return atomic_load_explicit(&((struct reaper *)reaper)->removals, memory_order_acquire);
}

int reaper_settle(struct reaper *reaper, int checkpoint, unsigned timeout_ms)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&reaper->mutex);
	reaper->checkpoint |= checkpoint;
	int waits = reaper->count || reaper->working || reaper->checkpoint;
	if (waits)
		pthread_cond_signal(&reaper->wake);
	while (!err && (reaper->count || reaper->working || reaper->checkpoint))
		err = pthread_cond_timedwait(&reaper->idle, &reaper->mutex, &until);
	pthread_mutex_unlock(&reaper->mutex);
	return waits && !err;
}

int reaper_new(struct fs *fs, struct reaper **out)
{
	struct reaper *reaper = alloc_zeroed(1, sizeof(*reaper));

	if (!reaper)
		return -ENOMEM;
	reaper->fs = fs;
	reaper->queue = alloc_get(REAP_QUEUE * sizeof(*reaper->queue));
	if (!reaper->queue) {
		alloc_free(reaper);
		return -ENOMEM;
	}
	pthread_mutex_init(&reaper->mutex, NULL);
	pthread_cond_init(&reaper->wake, NULL);
	pthread_cond_init(&reaper->idle, NULL);
	int err = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
	if (err) {
		alloc_free(reaper->queue);
		alloc_free(reaper);
		return -err;
	}
	*out = reaper;
	return 0;
}

void reaper_free(struct reaper *reaper)
{
	if (!reaper)
		return;
	pthread_mutex_lock(&reaper->mutex);
	reaper->stopping = 1;
	pthread_cond_signal(&reaper->wake);
	pthread_mutex_unlock(&reaper->mutex);
	pthread_join(reaper->thread, NULL);
	pthread_cond_destroy(&reaper->wake);
	pthread_cond_destroy(&reaper->idle);
	pthread_mutex_destroy(&reaper->mutex);
	alloc_free(reaper->queue);
	alloc_free(reaper);
}

/* 0 when the queue is full: the caller removes it itself. */
static int queue_push(struct reaper *reaper, uint64_t ino)
{
	int pushed = 0;

	pthread_mutex_lock(&reaper->mutex);
	if (reaper->count < REAP_QUEUE) {
		reaper->queue[(reaper->head + reaper->count++) % REAP_QUEUE] = ino;
		pthread_cond_signal(&reaper->wake);
		pushed = 1;
	}
	pthread_mutex_unlock(&reaper->mutex);
	return pushed;
}

void reaper_remove(struct fs *fs, uint64_t ino)
{
	int err = remove_rest(fs, ino, REAP_AT_ONCE_BYTES);

	if ((err == -EFBIG || err == -ENOSPC) && queue_push(fs->reaper, ino))
		return;
	if (err == -EFBIG)
		remove_all(fs, ino);
}

void reaper_invalidate(struct fs *fs, uint64_t ino)
{
	fs_invalidate_attr(fs, ino);
	queue_push(fs->reaper, ino | REAP_INVALIDATE);
}

struct orphans {
	uint64_t found[REAP_RECOVER_BATCH];
	unsigned count;
};

static int each_orphan(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct orphans *orphans = arg;

	if (key->sub_length != 8)
		return -EUCLEAN;
	orphans->found[orphans->count++] = names_get_be64(key->sub);
	return orphans->count == REAP_RECOVER_BATCH;
}

static int each_counted(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	++*(int64_t *)arg;
	return 0;
}

int64_t reaper_orphans(struct fs *fs, unsigned timeout_ms)
{
	enum { PAUSE_MS = 10 };
	struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
	int64_t count;

	for (unsigned waited = 0;; waited += PAUSE_MS) {
		count = 0;
		for (uint32_t shard = 0; shard < fs->shards; shard++) {
			struct mneme_key first = names_key(shard, MNEME_TYPE_ORPHAN);
			struct mneme_key last = names_key(shard, MNEME_TYPE_ORPHAN + 1);
			int err = mneme_scan(fs->engine, &first, &last, 0, each_counted, &count);
			if (err < 0)
				return err;
		}
		if (!count || waited >= timeout_ms)
			return count;
		nanosleep(&pause, NULL);
	}
}

static int recover_shard(struct fs *fs, uint32_t shard)
{
	struct orphans orphans;
	uint64_t next = 0;

	do {
		uint8_t sub[8];
		struct mneme_key first = names_key_number(shard, MNEME_TYPE_ORPHAN, next, sub);
		struct mneme_key last = names_key(shard, MNEME_TYPE_ORPHAN + 1);
		orphans.count = 0;
		int err = mneme_scan(fs->engine, &first, &last, 0, each_orphan, &orphans);
		if (err < 0)
			return err;
		for (unsigned i = 0; i < orphans.count; i++)
			remove_all(fs, orphans.found[i]);
		if (orphans.count)
			next = orphans.found[orphans.count - 1] + 1;
	} while (orphans.count == REAP_RECOVER_BATCH);
	return 0;
}

int reaper_recover(struct fs *fs)
{
	for (uint32_t shard = 0; shard < fs->shards; shard++) {
		int err = recover_shard(fs, shard);
		if (err)
			return err;
	}
	return 0;
}
