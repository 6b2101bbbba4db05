/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the links of a file: gathers what it says (text, attributes, target of a symbolic
 *            link), finds the files that are meant, and keeps the records of core/links.h in line.
 *
 *   A label is a path from the directory of the file that has it, or with a / in front from the
 *   root. .md and .txt may be left out, but in a symbolic link and an attribute. A wiki link without
 *   a / is looked for in the directories above, too; the nearest one counts. A name that leads nowhere
 *   (any more) leads where it led before, as long as that file has a name: so a link follows its file.
 *
 * Invariants: links lead to what is no directory, and not to the file itself. When a name appears,
 *            those who mention it are looked at again (memory_named()); what came between the look
 *            and the commit is found by a second look after it.
 * Threading: as memory.h; links of one file are gathered by its job, one at a time.
 * Failure:   -errno of the engine; a file that changed meanwhile is pending anyhow.
 */
#include "core/links.h"
#include "core/memory/lines.h"
#include "core/memory/links_text.h"
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	BLOCK = 64 << 10,
	SNIFF = 16 << 10,
	WEIGHT_TEXT = 32,
	CLIMB_MAX = 256,
	LOOKS = 4,
	NAMES_LOOKED_AT = 32
};
static const char attribute[] = MEMORY_LINK_PREFIX;
enum { ATTRIBUTE = sizeof attribute - 1 };

/* ---- what a file says ---- */

struct gather {
	struct links *out;
	uint8_t hash_key[16];
};

static int add(struct gather *g, enum names_link_kind kind, uint16_t weight, const char *label,
	       size_t length)
{
	int rc = links_add(g->out, g->hash_key, kind, weight, label, length);

	return rc == -E2BIG ? 1 : rc == -EINVAL ? 0 : rc;
}

static int text_take(void *arg, enum names_link_kind kind, const char *label, size_t length)
{
	return add(arg, kind, NAMES_WEIGHT_ONE, label, length);
}

static int text_gather(struct memory *mem, uint64_t inode, const struct names_inode *record,
		       struct gather *g)
{
	static _Thread_local char name[NAMES_NAME_MAX + 2]; /* handlers have 3 KiB of stack */
	int n = 1, rc = 0;

	if (!record->size || record->size > MEMORY_FILE_MAX || memory_name(mem, inode, name) < 0 ||
	    !links_text_is_name(name))
		return 0;
	struct links_text *scan = alloc_get(sizeof *scan);
	char *block = alloc_get(BLOCK);
	if (!scan || !block)
		rc = -ENOMEM;
	else
		links_text_begin(scan, text_take, g);
	for (uint64_t at = 0; rc == 0 && n > 0; at += (uint64_t)n) {
		n = memory_read(mem->engine, inode, record->size, at, block, BLOCK);
		/* A database without an ending in its name has none: each fsync would read it all. */
		if (!at && n > 0 && line_binary_reason(block, n < SNIFF ? (size_t)n : SNIFF))
			break;
		rc = n < 0 ? n : links_text_feed(scan, block, (size_t)n);
	}
	if (rc == 0)
		rc = links_text_end(scan);
	alloc_free(block);
	alloc_free(scan);
	return rc < 0 ? rc : 0;
}

int memory_link_weight(const void *value, size_t length, uint16_t *weight)
{
	char text[WEIGHT_TEXT], *end;

	if (length >= sizeof text)
		return -EINVAL;
	memcpy(text, value, length);
	text[length] = 0;
	double number = length ? strtod(text, &end) : 1;
	if ((length && (end == text || *end)) || !(number > 0 && number <= 1))
		return -EINVAL;
	*weight = (uint16_t)(number * NAMES_WEIGHT_ONE + 0.5);
	*weight += !*weight;
	return 0;
}

static int attribute_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	uint16_t weight;

	if (memory_link_weight(value, length, &weight) < 0)
		return 0;
	return add(arg, NAMES_LINK_EXPLICIT, weight, (const char *)key->sub + ATTRIBUTE,
		   key->sub_length - (size_t)ATTRIBUTE);
}

static int attributes_gather(struct memory *mem, uint64_t inode, struct gather *g)
{
	char behind[ATTRIBUTE];
	struct mneme_key first = names_key(inode, MNEME_TYPE_XATTR), last = first;

	memcpy(behind, attribute, ATTRIBUTE);
	behind[ATTRIBUTE - 1]++;
	first.sub = attribute;
	last.sub = behind;
	first.sub_length = last.sub_length = ATTRIBUTE;
	int rc = mneme_scan(mem->engine, &first, &last, 0, attribute_take, g);
	return rc < 0 ? rc : 0;
}

/* A target below the mount's own path is meant from the root. */
static int target_gather(struct memory *mem, uint64_t inode, struct gather *g)
{
	static _Thread_local char target[NAMES_TARGET_MAX + 1]; /* as above */
	struct mneme_key key = names_key(inode, MNEME_TYPE_SYMLINK);
	size_t length, n = strlen(mem->mounted_at);
	const char *label = target;
	int rc = mneme_get(mem->engine, &key, target, NAMES_TARGET_MAX, &length);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	target[length] = 0;
	if (target[0] == '/') {
		if (!n || strncmp(target, mem->mounted_at, n) || target[n] != '/')
			return 0;
		label += n;
	}
	rc = add(g, NAMES_LINK_SYMLINK, NAMES_WEIGHT_ONE, label, strlen(label));
	return rc < 0 ? rc : 0;
}

/* ---- what is meant ---- */

static int is_file(struct memory *mem, uint64_t inode)
{
	struct names_inode record;

	return memory_inode(mem->engine, inode, &record) == 0 && record.nlink &&
	       !S_ISDIR(record.mode);
}

static uint64_t above(struct memory *mem, uint64_t directory)
{
	struct names_inode record;

	return memory_inode(mem->engine, directory, &record) < 0 ? 0 : record.parent;
}

/* The entry `name` + `ending`; 0: none. */
static uint64_t entry(struct memory *mem, uint64_t directory, const char *name, size_t length,
		      const char *ending)
{
	static _Thread_local char path[NAMES_NAME_MAX + 1]; /* as above */
	size_t n = strlen(ending);
	uint64_t inode;

	if (length + n > NAMES_NAME_MAX)
		return 0;
	memcpy(path, name, length);
	memcpy(path + length, ending, n + 1);
	return memory_walk(mem, directory, path, &inode) < 0 ? 0 : inode;
}

/* The file of the last name of a path. */
static uint64_t last_entry(struct memory *mem, uint64_t directory, const char *name, size_t length,
			   enum names_link_kind kind)
{
	static const char *const endings[] = {"", ".md", ".txt"};
	int count = kind == NAMES_LINK_WIKI || kind == NAMES_LINK_MARKDOWN ? 3 : 1;

	for (int i = 0; i < count; i++) {
		uint64_t inode = entry(mem, directory, name, length, endings[i]);
		if (inode && is_file(mem, inode))
			return inode;
	}
	return 0;
}

/* The file that a path leads to, without following links. */
static uint64_t walk(struct memory *mem, uint64_t directory, const char *path, size_t length,
		     enum names_link_kind kind)
{
	const char *end = path + length;

	while (path < end && directory) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);
		if (!slash)
			return last_entry(mem, directory, path, n, kind);
		if (n == 2 && !memcmp(path, "..", 2))
			directory = above(mem, directory);
		else if (n && !(n == 1 && *path == '.'))
			directory = entry(mem, directory, path, n, "");
		path = slash + 1;
	}
	return 0;
}

static uint64_t resolve_from(struct memory *mem, uint64_t directory, const char *label,
			     const struct link *link)
{
	uint64_t root = names_root(mneme_shards(mem->engine));
	size_t length = link->label_length;
	int climbs = link->kind == NAMES_LINK_WIKI && !memchr(label, '/', length);

	if (label[0] == '/')
		return walk(mem, root, label, length, link->kind);
	for (int i = 0; i < CLIMB_MAX && directory; i++) {
		uint64_t inode = walk(mem, directory, label, length, link->kind);
		if (inode || !climbs || directory == root)
			return inode;
		directory = above(mem, directory);
	}
	return 0;
}

static void resolve(struct memory *mem, uint64_t inode, const struct links *old, struct links *new)
{
	static _Thread_local uint64_t directories[NAMES_LOOKED_AT]; /* as above */
	int count = memory_parents(mem, inode, directories, NAMES_LOOKED_AT);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < new->count; i++) {
		struct link *link = &new->list[i];
		const struct link *before = links_find(old, new, link);
		for (int k = 0; k < count && !link->to; k++)
			link->to =
				resolve_from(mem, directories[k], new->labels + link->label, link);
		if (!link->to && before && before->to && is_file(mem, before->to))
			link->to = before->to;
		if (link->to != inode)
			new->list[kept++] = *link;
	}
	new->count = kept;
}

int memory_links_gather(struct memory *mem, uint64_t inode, const struct names_inode *record,
			const struct links *old, struct links *new)
{
	struct gather g = {.out = new};
	int rc = 0;

	mneme_uuid(mem->engine, g.hash_key);
	if (!memory_is_hidden(mem, inode)) {
		if (S_ISLNK(record->mode))
			rc = target_gather(mem, inode, &g);
		if (S_ISREG(record->mode) && record->state & NAMES_HAS_LINKS)
			rc = attributes_gather(mem, inode, &g);
		if (S_ISREG(record->mode) && rc == 0)
			rc = text_gather(mem, inode, record, &g);
	}
	if (rc < 0)
		return rc;
	links_sort(new);
	resolve(mem, inode, old, new);
	if (new->count)
		atomic_store_explicit(&mem->mentions, 1, memory_order_seq_cst);
	return 0;
}

/* ---- keeping them ---- */

/* 1: stored; 0: they were so already; -ESTALE: the file changed. */
static int refresh_once(struct memory *mem, uint64_t inode)
{
	struct links old = {0}, new = {0};
	struct names_inode record, now;
	struct mneme_txn *txn;
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == 0)
		rc = links_load(mem->engine, inode, &old);
	if (rc == 0)
		rc = memory_links_gather(mem, inode, &record, &old, &new);
	if (rc == 0 && !links_equal(&old, &new)) {
		rc = links_begin(mem->engine, links_shards(mem->engine, inode, &old, &new), 0,
				 &txn);
		if (rc == 0) {
			struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
			size_t length;
			rc = mneme_txn_get(txn, &key, &now, sizeof now, &length);
			if (rc == 0 && (now.version != record.version || !now.nlink))
				rc = -ESTALE;
			if (rc == 0)
				rc = links_write(mem->engine, txn, inode, &old, &new);
			if (rc < 0)
				mneme_txn_abort(txn);
			else
				rc = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
			rc = rc < 0 ? rc : 1;
			if (rc > 0)
				recall_touch(mem, inode);
		}
	}
	links_fini(&old);
	links_fini(&new);
	return rc;
}

int memory_links_refresh(struct memory *mem, uint64_t inode)
{
	int rc = mem->read_only ? 0 : 1;

	for (int i = 0; i < LOOKS && (rc > 0 || rc == -EAGAIN); i++)
		rc = refresh_once(mem, inode);
	return rc == -EAGAIN ? rc : rc < 0 && rc != -ESTALE && rc != -ENOENT ? rc : 0;
}

/* ---- names that appear ---- */

struct looks {
	struct memory *mem;
	uint64_t due_ms;
};

static void look_again(void *arg, uint64_t from)
{
	struct looks *l = arg;

	pending_add(&l->mem->pending, from, l->due_ms);
}

void memory_named(struct memory *mem, const char *name)
{
	struct looks l = {.mem = mem};

	memory_changed(mem);
	/* seq_cst: either this sees the flag, or the second look of who sets it sees the name */
	if (mem->read_only || !atomic_load_explicit(&mem->mentions, memory_order_seq_cst))
		return;
	l.due_ms = memory_now_ns() / 1000000 + mem->quiet_ms;
	if (links_mentioned(mem->engine, name, look_again, &l) > 0)
		memory_work_add(mem, l.due_ms);
}

void memory_moved(struct memory *mem, uint64_t inode)
{
	if (atomic_load_explicit(&mem->mentions, memory_order_relaxed))
		memory_touch(mem, inode);
}

int memory_links_load(struct memory *mem, int caught_up)
{
	struct looks l = {.mem = mem};
	int all = !caught_up && !mem->read_only;
	int any = links_mentions(mem->engine, all ? look_again : NULL, &l);

	if (any > 0)
		atomic_store_explicit(&mem->mentions, 1, memory_order_relaxed);
	return any < 0 ? any : 0;
}
