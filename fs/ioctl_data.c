/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ioctl.h: pairs, logs and compare-and-swap writes.
 * Invariants: every length is checked against the size of the caller's struct before it is used.
 */
#include "fs/ioctl.h"

#include "fs/chunk.h"
#include "fs/permission.h"
#include "fs/reaper.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

/* ---- answers of several items ---- */

struct page {
	uint8_t *data;
	size_t room, used;
	uint64_t count, next; /* items; sequence behind the last one, of a log */
	int keys_only;        /* of pairs */
};

/* Room for an item of `length` bytes, zeroed, with padding; NULL: it does not fit. */
static void *page_take(struct page *page, size_t length)
{
	uint8_t *at = page->data + page->used;
	size_t needed = (length + 7) & ~(size_t)7;

	if (needed > page->room - page->used)
		return NULL;
	memset(at, 0, needed);
	page->used += needed;
	page->count++;
	return at;
}

/* What a listing ends with at an item that does not fit: it is the next answer's first one. */
static int page_full(const struct page *page)
{
	return page->count ? 1 : -ERANGE;
}

/* ---- pairs ---- */

int ioctl_kv(struct op *op, unsigned number, struct mneme_ioc_kv *kv, size_t size)
{
	enum mneme_durability how;
	size_t room, length = 0;
	uint64_t pair_version = 0;

	if (size < sizeof(*kv) || kv->version != MNEME_IOC_VERSION || kv->reserved ||
	    kv->reserved8 || ioctl_durability(kv->durability, &how))
		return -EINVAL;
	room = size - sizeof(*kv);
	if (!kv->key_length || kv->key_length > room)
		return -EINVAL;
	room -= kv->key_length;
	int err = permission_check(op, op->fs->root,
				   number == MNEME_IOC_NR_KV_GET ? PERMISSION_READ
								 : PERMISSION_WRITE);
	if (err)
		return err;
	if (number == MNEME_IOC_NR_KV_GET) {
		err = mneme_kv_get(op->fs->engine, kv->data, kv->key_length,
				   kv->data + kv->key_length, room, &length, &pair_version);
		if (err)
			return err;
		kv->value_length = (uint32_t)length;
		kv->pair_version = pair_version;
		return 0;
	}
	if (number == MNEME_IOC_NR_KV_DELETE)
		return mneme_kv_delete(op->fs->engine, kv->data, kv->key_length, how);
	if (kv->value_length > room)
		return -EINVAL;
	if (number == MNEME_IOC_NR_KV_PUT)
		err = mneme_kv_put(op->fs->engine, kv->data, kv->key_length,
				   kv->data + kv->key_length, kv->value_length, &pair_version, how);
	else
		err = mneme_kv_swap(op->fs->engine, kv->data, kv->key_length, kv->pair_version,
				    kv->data + kv->key_length, kv->value_length, &pair_version,
				    how);
	kv->pair_version = pair_version;
	return err;
}

static int each_pair(void *arg, const void *key, size_t key_length, const void *value,
		     size_t length, uint64_t pair_version)
{
	struct page *page = arg;
	struct mneme_ioc_pair head = {.pair_version = pair_version,
				      .value_length = (uint32_t)length,
				      .key_length = (uint16_t)key_length};
	size_t given = page->keys_only ? 0 : length;
	uint8_t *at = page_take(page, sizeof(head) + key_length + given);

	if (!at)
		return page_full(page);
	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), key, key_length);
	memcpy(at + sizeof(head) + key_length, value, given);
	return 0;
}

int ioctl_scan(struct op *op, struct mneme_ioc_scan *scan, size_t size)
{
	if (size < sizeof(*scan) || scan->version != MNEME_IOC_VERSION || scan->reserved ||
	    scan->flags & ~MNEME_IOC_SCAN_KEYS)
		return -EINVAL;
	size_t given = (size_t)scan->prefix_length + scan->after_length;
	if (given > size - sizeof(*scan))
		return -EINVAL;
	int err = permission_check(op, op->fs->root, PERMISSION_READ);
	if (err)
		return err;
	struct page page = {.data = scan->data + given,
			    .room = size - sizeof(*scan) - given,
			    .keys_only = scan->flags & MNEME_IOC_SCAN_KEYS};
	err = mneme_kv_scan_after(op->fs->engine, scan->data, scan->prefix_length,
				  scan->data + scan->prefix_length, scan->after_length, 0,
				  each_pair, &page);
	if (err < 0)
		return err;
	scan->count = (uint32_t)page.count;
	scan->data_length = (uint32_t)page.used;
	return 0;
}

/* ---- logs ---- */

static int each_event(void *arg, const struct mneme_log_event *event)
{
	struct page *page = arg;
	struct mneme_ioc_event head = {.sequence = event->sequence,
				       .time_ns = event->time_ns,
				       .length = (uint32_t)event->length};
	uint8_t *at = page_take(page, sizeof(head) + event->length);

	if (!at)
		return page_full(page);
	memcpy(head.hash, event->hash, sizeof(head.hash));
	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), event->data, event->length);
	page->next = event->sequence + 1;
	return 0;
}

static int log_replay(struct fs *fs, struct mneme_ioc_log *log, size_t room)
{
	struct page page = {
		.data = log->data + log->run_length, .room = room, .next = log->sequence};
	int err = mneme_log_replay(fs->engine, log->data, log->run_length, log->sequence,
				   each_event, &page);

	if (err < 0)
		return err;
	log->count = page.count;
	log->sequence = page.next;
	log->data_length = (uint32_t)page.used;
	return 0;
}

int ioctl_log(struct op *op, unsigned number, struct mneme_ioc_log *log, size_t size)
{
	enum mneme_durability how;
	uint64_t sequence = 0, count = 0;

	if (size < sizeof(*log) || log->version != MNEME_IOC_VERSION || log->reserved ||
	    log->reserved8 || ioctl_durability(log->durability, &how))
		return -EINVAL;
	size_t room = size - sizeof(*log);
	if (!log->run_length || log->run_length > 255 || log->run_length > room)
		return -EINVAL;
	room -= log->run_length;
	int appends = number == MNEME_IOC_NR_LOG_APPEND;
	int err = permission_check(op, op->fs->root, appends ? PERMISSION_WRITE : PERMISSION_READ);
	if (err)
		return err;
	if (number == MNEME_IOC_NR_LOG_REPLAY)
		return log_replay(op->fs, log, room);
	if (number == MNEME_IOC_NR_LOG_VERIFY) {
		err = mneme_log_verify(op->fs->engine, log->data, log->run_length, &count,
				       &sequence);
		log->count = count;
		log->sequence = sequence;
		return err;
	}
	if (log->data_length > room)
		return -EINVAL;
	err = mneme_log_append(op->fs->engine, log->data, log->run_length,
			       log->data + log->run_length, log->data_length, &sequence, how);
	log->sequence = sequence;
	return err;
}

/* ---- compare-and-swap write ---- */

static int compare(struct mneme_txn *txn, uint64_t ino, const struct names_inode *inode,
		   const struct mneme_ioc_write *write)
{
	if (write->flags & MNEME_IOC_IF_VERSION && write->file_version != inode->version)
		return -ESTALE;
	if (!write->expected_length)
		return 0;
	void *present = op_temporary(write->expected_length);
	if (!present)
		return -ENOMEM;
	int err = chunk_txn_read(txn, ino, present, write->offset, write->expected_length);
	if (err)
		return err;
	return memcmp(present, write->data, write->expected_length) ? -ESTALE : 0;
}

static int write_inside(struct mneme_txn *txn, uint64_t ino, struct mneme_ioc_write *write,
			fuse_req_t unprivileged)
{
	struct names_inode inode;
	uint64_t end = write->offset + write->length;
	int err = inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (!S_ISREG(inode.mode))
		return -EINVAL;
	if (inode.flags & FS_IMMUTABLE_FL ||
	    (inode.flags & FS_APPEND_FL && write->offset < inode.size))
		return -EPERM;
	err = compare(txn, ino, &inode, write);
	if (err)
		return err;
	if (unprivileged) {
		err = inode_drop_privileges(txn, ino, &inode, unprivileged);
		if (err < 0)
			return err;
	}
	err = chunk_write(txn, ino, &inode, write->data + write->expected_length, write->offset,
			  write->length);
	if (err)
		return err;
	if (end > inode.size)
		inode.size = end;
	inode.mtime_ns = inode.ctime_ns = fs_now();
	write->file_version = ++inode.version;
	return inode_store(txn, ino, &inode);
}

static int write_try(struct op *op, uint64_t ino, struct mneme_ioc_write *write,
		     enum mneme_durability how)
{
	struct mneme_txn *txn;
	int err = fs_begin(op->fs, 0, &ino, 1, &txn);

	if (err)
		return err;
	err = write_inside(txn, ino, write, fs_unprivileged(op->req));
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	return fs_commit(op->fs, txn, how, &ino, 1);
}

int ioctl_write(struct op *op, uint64_t ino, struct mneme_ioc_write *write, size_t size)
{
	static const uint8_t none[sizeof(write->reserved)];
	enum mneme_durability how;

	if (size < sizeof(*write) || write->version != MNEME_IOC_VERSION ||
	    write->flags & ~MNEME_IOC_IF_VERSION || memcmp(write->reserved, none, sizeof(none)) ||
	    ioctl_durability(write->durability, &how))
		return -EINVAL;
	size_t room = size - sizeof(*write);
	if (!write->length || write->length > room || write->expected_length > room - write->length)
		return -EINVAL;
	if (write->offset > NAMES_FILE_SIZE_MAX - MNEME_IOC_SIZE_MAX)
		return -EFBIG;
	uint64_t expected = write->file_version;
	int err = permission_check(op, ino, PERMISSION_WRITE);
	if (err)
		return err;
	err = -EAGAIN;
	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++) {
		write->file_version = expected;
		err = write_try(op, ino, write, how);
	}
	if (!err) {
		reaper_invalidate(op->fs, ino);
		fs_touch(op->fs, ino);
	}
	return err;
}
