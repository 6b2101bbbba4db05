/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   virtual.h: the table of nodes, and the names below `.mneme`.
 *
 *   node number: VIRTUAL_BIT | serial << 12 | slot; the serial grows with each use of a slot
 *
 *   D/.mneme/metrics, stats                     in the root directory only
 *   D/.mneme/status                             what is searchable
 *   D/.mneme/config                             config.h
 *   D/.mneme/query                              query.h
 *   D/.mneme/search/QUERY/, QUERY.txt, QUERY.json
 *       QUERY may also be the name of a saved search, which mkdir(2) makes there (saved.h)
 *   D/.mneme/near/FILE/, FILE.txt, FILE.json    FILE is a name in D, or a path from D
 *   D/.mneme/recall/FILE/, FILE.txt, FILE.json  what FILE brings to mind, as above
 *   D/.mneme/vector/FILE.npy, FILE.f32, FILE.json   the vectors of FILE, as above
 *   A directory of results holds symbolic links, one a result. In a query %2F stands for '/', %25 for
 *   '%'. A query that ends in .txt or .json itself is asked with %2E for that dot. core/memory/request.h
 *   has what a query may say.
 *
 *   To add a name: give it a kind, a line in `children`, and a case in make_text().
 * Threading: all of the table: its mutex. A node's text does not change. Who uses it outside of the mutex
 *            borrows the node: a kernel that gives a request up (its caller was killed) may forget the
 *            node while the request is still answered.
 */
#include "fs/virtual.h"

#include "fs/config.h"
#include "fs/later.h"
#include "fs/query.h"
#include "fs/recall.h"
#include "fs/saved.h"
#include "fs/search.h"
#include "fs/virtual_inside.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/frame.h"
#include "simd/crc32c.h"

#include <errno.h>

static const struct {
	const char *name;
	enum kind kind;
	int only_root; /* of the mount */
} children[] = {
	{"search", KIND_SEARCH, 0}, {"near", KIND_NEAR, 0},       {"recall", KIND_RECALL, 0},
	{"vector", KIND_VECTOR, 0}, {"config", KIND_CONFIG, 0},   {"status", KIND_STATUS, 0},
	{"query", KIND_QUERY, 0},   {"metrics", KIND_METRICS, 1}, {"stats", KIND_STATS, 1},
};
enum { TEXT_MAX = 512 << 10 };
enum { CHILDREN = sizeof(children) / sizeof(children[0]) };

static int is_directory(enum kind kind)
{
	return kind == KIND_ROOT || kind == KIND_SEARCH || kind == KIND_NEAR ||
	       kind == KIND_RECALL || kind == KIND_VECTOR || kind == KIND_RESULTS;
}

static void free_content(struct vnode *unused)
{
	alloc_free(unused->text);
	alloc_free(unused->asked);
	alloc_free(unused->why);
	query_free(unused->query);
	for (unsigned i = 0; i < VIRTUAL_POLLS; i++)
		if (unused->polls[i])
			fuse_pollhandle_destroy(unused->polls[i]);
}

int virtual_new(struct fs *fs)
{
	struct virtual_table *table = alloc_zeroed(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	pthread_mutex_init(&table->mutex, NULL);
	pthread_mutex_init(&table->telling, NULL);
	for (unsigned i = 0; i < VIRTUAL_NODES; i++)
		table->nodes[i].next_free = i + 1;
	table->begun_ns = fs_now();
	fs->virtual_nodes = table;
	return 0;
}

void virtual_free(struct fs *fs)
{
	if (!fs->virtual_nodes)
		return;
	for (unsigned i = 0; i < VIRTUAL_NODES; i++)
		free_content(&fs->virtual_nodes->nodes[i]);
	pthread_mutex_destroy(&fs->virtual_nodes->telling);
	pthread_mutex_destroy(&fs->virtual_nodes->mutex);
	alloc_free(fs->virtual_nodes);
}

/* The node of an inode number, or NULL. With the mutex held. */
struct vnode *virtual_find(struct virtual_table *table, uint64_t ino)
{
	struct vnode *node = &table->nodes[ino & (VIRTUAL_NODES - 1)];

	return node->kind != KIND_FREE && node->ino == ino ? node : NULL;
}

static int make_report(struct fs *fs, struct vnode *node)
{
	int err;

	if (node->kind == KIND_QUERY) {
		node->query = query_new(node->home);
		return node->query ? 0 : -ENOMEM;
	}
	if (node->kind == KIND_CONFIG)
		return config_write_text(fs, node->home, &node->text, &node->length);
	if (node->kind == KIND_STATUS)
		return search_write_status(fs, &node->text, &node->length);
	char *text = alloc_get(TEXT_MAX);
	if (!text)
		return -ENOMEM;
	if (node->kind == KIND_METRICS)
		err = metrics_write_prometheus(fs, text, TEXT_MAX, &node->length);
	else
		err = metrics_write_stats(fs, text, TEXT_MAX, &node->length);
	if (err) {
		alloc_free(text);
		return err;
	}
	char *fitting = alloc_resize(text, node->length ? node->length : 1);
	node->text = fitting ? fitting : text;
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* The first n bytes of a name without their %XX; `out` has room for n + 1. */
static void decode(const char *name, size_t n, char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		if (name[i] == '%' && i + 2 < n && hex_digit(name[i + 1]) >= 0 &&
		    hex_digit(name[i + 2]) >= 0 &&
		    (hex_digit(name[i + 1]) || hex_digit(name[i + 2]))) {
			out[used++] = hex_digit(name[i + 1]) << 4 | hex_digit(name[i + 2]);
			i += 2;
		} else {
			out[used++] = name[i];
		}
	}
	out[used] = 0;
}

/* Takes the ending off and says what it asks for. `query` has room for the name. */
static enum kind parse_query(const char *name, char *query)
{
	size_t n = strlen(name);
	enum kind kind = KIND_RESULTS;

	if (n > 4 && !strcmp(name + n - 4, ".txt"))
		kind = KIND_TEXT, n -= 4;
	else if (n > 5 && !strcmp(name + n - 5, ".json"))
		kind = KIND_JSON, n -= 5;
	decode(name, n, query);
	return kind;
}

static int answer_ask(struct op *op, enum kind above, struct vnode *node, char *line,
		      struct request *r, struct memory_answer **out)
{
	int err = above == KIND_NEAR ? search_walk(op, node->home, line, &r->query.like)
				     : request_parse(r, line, strlen(line));

	if (!err)
		err = search_ask(op, node->home, r,
				 node->kind == KIND_JSON ? REQUEST_LIMIT_JSON : REQUEST_LIMIT, out);
	return err == -ENODATA ? -ENOENT : err;
}

/* The name without its ending; a saved search's query takes the place of `line`. 1: there is none yet. */
static int line_make(struct op *op, struct vnode *node, const char *name, char **line)
{
	size_t length = strlen(name);
	char *query = op_temporary(SAVED_QUERY_MAX + 1);

	*line = op_temporary(length + 1);
	if (!*line || !query)
		return -ENOMEM;
	node->kind = parse_query(name, *line);
	length -= node->kind == KIND_TEXT ? 4 : node->kind == KIND_JSON ? 5 : 0;
	if (node->asked_in != KIND_SEARCH)
		return 0;
	int err = saved_get(op, node->home, name, length, query);
	if (err == -ENOENT) /* a name that is found could not be made */
		return node->kind == KIND_RESULTS && saved_is_being_made(op) ? -ENOENT : 0;
	node->saved = !err;
	*line = query;
	return err ? err : !*query;
}

/* Of files, places and snippets, in their order. */
static uint64_t answer_digest(const struct memory_answer *answer)
{
	uint32_t sums[2] = {answer->count, ~answer->count};

	for (uint32_t i = 0; i < answer->count; i++) {
		const struct memory_result *r = &answer->results[i];
		for (int k = 0; k < 2; k++) {
			sums[k] = crc32c(sums[k], r->path, strlen(r->path) + 1);
			sums[k] = crc32c(sums[k], &r->begin, sizeof(r->begin));
			sums[k] = crc32c(sums[k], &r->end, sizeof(r->end));
			sums[k] = crc32c(sums[k] + (uint32_t)k * i, r->snippet, strlen(r->snippet));
		}
	}
	return (uint64_t)sums[0] << 32 | sums[1];
}

/* What a file, or the files of a request, bring to mind. */
OWN_FRAME static int make_recalled(struct op *op, struct vnode *node, char *line)
{
	struct recall_query *q =
		recall_door_query(node->kind == KIND_JSON ? REQUEST_LIMIT_JSON : REQUEST_LIMIT);
	const struct recall_answer *answer;
	char *why = op_temporary(RECALL_WHY);
	int err = q && why ? 0 : -ENOMEM;

	if (!err && node->asked_in == KIND_RECALL)
		err = recall_door_from(op, node->home, line, q);
	else if (!err)
		err = recall_door_parse(op, node->home, line, strlen(line), q, why);
	if (!err)
		err = recall_door_ask(op, node->home, q, &answer);
	if (err)
		return err;
	node->digest = recall_digest(answer);
	if (node->kind == KIND_TEXT)
		err = recall_write_text(answer, &node->text, &node->length);
	else if (node->kind == KIND_JSON)
		err = recall_write_json(answer, &node->text, &node->length);
	else
		err = recall_write_links(answer, &node->text, &node->length);
	recall_end(op->fs->memory, answer);
	return err;
}

OWN_FRAME static int make_found(struct op *op, struct vnode *node, char *line)
{
	struct request *r = request_new();
	struct memory_answer *answer;
	int err = r ? answer_ask(op, node->asked_in, node, line, r, &answer) : -ENOMEM;

	if (!err) {
		node->digest = answer_digest(answer);
		if (node->kind == KIND_TEXT)
			err = answer_write_text(answer, r->explain, &node->text, &node->length);
		else if (node->kind == KIND_JSON)
			err = answer_write_json(answer, &node->text, &node->length);
		else
			err = answer_write_links(answer, &node->text, &node->length);
		memory_answer_free(answer);
	}
	request_free(r);
	return err;
}

/* What is asked below `search`, `near` or `recall`. */
int virtual_make_answer(struct op *op, const char *name, struct vnode *node)
{
	char *line;
	int err = line_make(op, node, name, &line);

	if (err == 1) { /* no query yet: no answer */
		node->text = alloc_get(1);
		return node->text ? 0 : -ENOMEM;
	}
	if (err)
		return err;
	return node->asked_in == KIND_RECALL || (node->asked_in == KIND_SEARCH &&
						 recall_request_is(line, strlen(line)))
		       ? make_recalled(op, node, line)
		       : make_found(op, node, line);
}

/* An answer that remembers how it was asked for. */
static int make_asked(struct op *op, enum kind above, const char *name, struct vnode *node)
{
	size_t length = strlen(name);

	node->asked_in = above;
	node->asked = alloc_get(length + 1);
	if (!node->asked)
		return -ENOMEM;
	memcpy(node->asked, name, length + 1);
	return virtual_make_answer(op, name, node);
}

/* The vectors of a file, in the form that the ending says. */
static int make_vectors(struct op *op, const char *name, struct vnode *node)
{
	static const char *const endings[] = {".f32", ".npy", ".json"};
	char *path = op_temporary(strlen(name) + 1);
	const char *dot = strrchr(name, '.');
	int form = 0;

	while (form < 3 && (!dot || strcmp(dot, endings[form])))
		form++;
	if (form == 3)
		return -ENOENT;
	if (!path)
		return -ENOMEM;
	decode(name, (size_t)(dot - name), path);
	int err = search_vectors(op, node->home, path, (enum memory_vectors_form)form, &node->text,
				 &node->length);
	return err == -ENODATA ? -ENOENT : err;
}

/* The link called `name` in a directory of results. */
static int make_link(const struct vnode *results, const char *name, struct vnode *node)
{
	const char *at = results->text, *end = results->text + results->length;

	while (at < end) {
		const char *target = at + strlen(at) + 1;
		if (!strcmp(at, name)) {
			node->kind = KIND_LINK;
			node->length = strlen(target);
			node->text = alloc_get(node->length + 1);
			if (!node->text)
				return -ENOMEM;
			memcpy(node->text, target, node->length + 1);
			return 0;
		}
		at = target + strlen(target) + 1;
	}
	return -ENOENT;
}

/* Puts a finished node into the table. */
static int publish(struct virtual_table *table, struct vnode *node)
{
	int err = -ENFILE;

	pthread_mutex_lock(&table->mutex);
	if (table->free < VIRTUAL_NODES) {
		unsigned slot = table->free;
		table->free = table->nodes[slot].next_free;
		node->ino = VIRTUAL_BIT | ++table->serial << SLOT_BITS | slot;
		table->nodes[slot] = *node;
		err = 0;
	}
	pthread_mutex_unlock(&table->mutex);
	return err;
}

static void attr_of(const struct vnode *node, struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = node->shown;
	int is_writable = node->kind == KIND_SEARCH || (node->saved && node->kind == KIND_RESULTS);
	out->st_mode = is_writable                ? S_IFDIR | 0777 /* saved.c asks who */
		       : is_directory(node->kind) ? S_IFDIR | 0555
		       : node->kind == KIND_LINK  ? S_IFLNK | 0777
		       : node->query || node->kind == KIND_CONFIG ? S_IFREG | 0666 /* as above */
								  : S_IFREG | 0444;
	out->st_nlink = is_directory(node->kind) ? 2 : 1;
	out->st_size = is_directory(node->kind) ? 0
		       : node->query            ? (off_t)query_size(node->query)
						: (off_t)node->length;
	out->st_blksize = 4096;
	out->st_atim.tv_sec = node->made_ns / 1000000000;
	out->st_atim.tv_nsec = node->made_ns % 1000000000;
	out->st_mtim = out->st_ctim = out->st_atim;
}

/* Frees a node that nobody has any more; what it owns goes to *unused. With the mutex held. */
static void drop_if_unused(struct virtual_table *table, struct vnode *node, struct vnode *unused)
{
	if (node->lookups || node->borrowed)
		return;
	*unused = *node;
	*node = (struct vnode){.next_free = table->free};
	table->free = (unsigned)(node - table->nodes);
}

void virtual_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	struct virtual_table *table = fs->virtual_nodes;
	struct vnode unused = {0};

	pthread_mutex_lock(&table->mutex);
	struct vnode *node = virtual_find(table, ino);
	if (node && node->lookups) {
		node->lookups -= count < node->lookups ? count : node->lookups;
		drop_if_unused(table, node, &unused);
	}
	pthread_mutex_unlock(&table->mutex);
	free_content(&unused);
}

/* A copy of the node, whose content stays valid until virtual_give_back(). */
int virtual_borrow(struct fs *fs, uint64_t ino, struct vnode *out)
{
	pthread_mutex_lock(&fs->virtual_nodes->mutex);
	struct vnode *node = virtual_find(fs->virtual_nodes, ino);
	if (node) {
		node->borrowed++;
		*out = *node;
	}
	pthread_mutex_unlock(&fs->virtual_nodes->mutex);
	return node ? 0 : -ESTALE;
}

void virtual_give_back(struct fs *fs, const struct vnode *copy)
{
	struct virtual_table *table = fs->virtual_nodes;
	struct vnode unused = {0};

	pthread_mutex_lock(&table->mutex);
	struct vnode *node = virtual_find(table, copy->ino);
	CHECK(node && node->borrowed);
	node->borrowed--;
	drop_if_unused(table, node, &unused);
	pthread_mutex_unlock(&table->mutex);
	free_content(&unused);
}

/* Makes what `name` below the node `above` is. */
static int make_below(struct op *op, const struct vnode *above, const char *name,
		      struct vnode *node)
{
	switch (above->kind) {
	case KIND_ROOT:
		for (int i = 0; i < CHILDREN; i++) {
			if (strcmp(children[i].name, name) ||
			    (children[i].only_root && above->home != op->fs->root))
				continue;
			node->kind = children[i].kind;
			return is_directory(node->kind) ? 0 : make_report(op->fs, node);
		}
		return -ENOENT;
	case KIND_SEARCH:
	case KIND_NEAR:
	case KIND_RECALL:
		return make_asked(op, above->kind, name, node);
	case KIND_VECTOR:
		node->kind = KIND_TEXT;
		return make_vectors(op, name, node);
	case KIND_RESULTS:
		return make_link(above, name, node);
	default:
		return -ENOTDIR;
	}
}

/* The inode number that stat(2) gives to a name: the same at each lookup, by which cp(1) knows that the
 * file which it opens is the one that it saw. `above`: that of its directory. */
static uint64_t shown_number(const struct fs *fs, uint64_t above, const char *name)
{
	uint64_t mixed = names_position(fs->hash_key, name, strlen(name)) ^
			 above * UINT64_C(0x9e3779b97f4a7c15);

	return VIRTUAL_BIT | (mixed & (VIRTUAL_BIT - 1));
}

/* Makes what `name` in `directory` is. */
int virtual_make_node(struct op *op, uint64_t directory, const char *name, struct vnode *node)
{
	struct vnode *above = op_temporary(sizeof(*above));

	if (!above)
		return -ENOMEM;
	if (!virtual_is(directory)) {
		node->kind = KIND_ROOT;
		node->above = node->home = directory;
		node->shown = shown_number(op->fs, directory, name);
		node->made_ns = op->fs->virtual_nodes->begun_ns;
		return virtual_is_name(name) ? 0 : -ENOENT;
	}
	int err = virtual_borrow(op->fs, directory, above);
	if (err)
		return err;
	node->home = above->home;
	node->above = above->shown;
	node->shown = shown_number(op->fs, above->shown, name);
	err = make_below(op, above, name, node);
	if (above->kind == KIND_ROOT)
		node->made_ns = op->fs->virtual_nodes->begun_ns;
	virtual_give_back(op->fs, above);
	return err;
}

struct vnode *virtual_new_node(void)
{
	struct vnode *node = op_temporary(sizeof(*node)); /* not on a handler's stack */

	if (node)
		*node = (struct vnode){.lookups = 1, .made_ns = fs_now()};
	return node;
}

/* Replies with what virtual_make_node() made, or the error that it gave. */
void virtual_reply_node(struct op *op, struct vnode *made, int err)
{
	struct fs *fs = op->fs;
	struct fuse_entry_param entry;

	if (!err)
		err = op_settle(op);
	if (!err)
		err = publish(fs->virtual_nodes, made);
	if (err) {
		if (made)
			free_content(made);
		op_reply_error(op, err);
		return;
	}
	memset(&entry, 0, sizeof(entry));
	entry.ino = made->ino;
	entry.generation = 1;
	attr_of(made, &entry.attr);
	err = op_sending(op);
	if (!err) {
		err = fuse_reply_entry(op->req, &entry);
		op_sent(op);
	}
	if (err < 0)
		virtual_forget(fs, made->ino, 1);
	op_end(op, 0);
}

struct looked {
	uint64_t directory;
	const char *name;
};

static void lookup_run(struct op *op, const void *args)
{
	const struct looked *looked = args;
	struct vnode *node = virtual_new_node();
	int err = node ? virtual_make_node(op, looked->directory, looked->name, node) : -ENOMEM;

	virtual_reply_node(op, node, err);
}

void virtual_lookup(struct op *op, uint64_t directory, const char *name)
{
	struct looked looked = {directory, name};

	if (!virtual_is(directory) || !search_is_elsewhere(op->fs) ||
	    !later_run(op, lookup_run, &looked, sizeof(looked)))
		lookup_run(op, &looked);
}

void virtual_getattr(struct op *op, uint64_t ino)
{
	struct vnode node;
	struct stat st;
	int err = virtual_borrow(op->fs, ino, &node);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	attr_of(&node, &st);
	virtual_give_back(op->fs, &node);
	fuse_reply_attr(op->req, &st, 0);
	op_end(op, 0);
}

void virtual_readlink(struct op *op, uint64_t ino)
{
	struct vnode node;
	int err = virtual_borrow(op->fs, ino, &node);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (node.kind == KIND_LINK)
		fuse_reply_readlink(op->req, node.text);
	else
		fuse_reply_err(op->req, EINVAL);
	op_end(op, node.kind == KIND_LINK ? 0 : -EINVAL);
	virtual_give_back(op->fs, &node);
}

void virtual_setattr(struct op *op, uint64_t ino, const struct stat *attr, int valid)
{
	struct vnode node;
	int err = virtual_borrow(op->fs, ino, &node);

	if (!err) {
		if (!(valid & FUSE_SET_ATTR_SIZE) || attr->st_size ||
		    (node.query ? query_size(node.query) != 0 : node.kind != KIND_CONFIG))
			err = -EPERM;
		virtual_give_back(op->fs, &node);
	}
	if (err)
		op_reply_error(op, err);
	else
		virtual_getattr(op, ino);
}

struct written {
	uint64_t ino;
	const void *data;
	size_t length;
	off_t offset;
};

static void write_run(struct op *op, const void *args)
{
	const struct written *w = args;
	struct vnode *node = op_temporary(sizeof(*node)); /* not on a handler's stack */
	int err = node ? virtual_borrow(op->fs, w->ino, node) : -ENOMEM;

	if (!err) {
		err = node->query ? query_write(op, node->query, w->data, w->length,
						(uint64_t)w->offset)
		      : node->kind == KIND_CONFIG
			      ? virtual_config(op, node, w->data, w->length)
			      : -EPERM;
		virtual_give_back(op->fs, node);
	}
	if (err)
		op_reply_error(op, err);
	else
		op_reply_write(op, w->length);
}

void virtual_write(struct op *op, uint64_t ino, const void *data, size_t length, off_t offset)
{
	struct written written = {ino, data, length, offset};

	if (!search_is_elsewhere(op->fs) || !later_run(op, write_run, &written, sizeof(written)))
		write_run(op, &written);
}

static void read_query(struct op *op, struct query *query, size_t size, off_t offset)
{
	char *data = op_temporary(size);

	if (data)
		op_reply_buffer(op, data, query_read(query, data, size, (uint64_t)offset));
	else
		op_reply_error(op, -ENOMEM);
}

static void read_text(struct op *op, const struct vnode *node, size_t size, off_t offset)
{
	size_t at = (size_t)offset < node->length ? (size_t)offset : node->length;
	size_t left = node->length - at;

	op_reply_buffer(op, node->text + at, size < left ? size : left);
}

void virtual_read(struct op *op, uint64_t ino, size_t size, off_t offset)
{
	struct vnode node;
	int err = virtual_borrow(op->fs, ino, &node);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (is_directory(node.kind))
		op_reply_error(op, -EISDIR);
	else if (node.query)
		read_query(op, node.query, size, offset);
	else
		read_text(op, &node, size, offset);
	virtual_give_back(op->fs, &node);
}

/* The name at a position behind "." and "..", or NULL: of `.mneme` itself, of results, or of saved
 * searches, whose names are the text then. Other queries and files to be near to are not listed. */
static const char *child_at(struct fs *fs, const struct vnode *node, int position, mode_t *mode)
{
	int seen = 0;

	*mode = S_IFDIR;
	if (node->kind == KIND_ROOT) {
		for (int i = 0; i < CHILDREN; i++) {
			if (children[i].only_root && node->home != fs->root)
				continue;
			if (seen++ == position) {
				*mode = is_directory(children[i].kind) ? S_IFDIR : S_IFREG;
				return children[i].name;
			}
		}
	} else if (node->kind == KIND_RESULTS || node->kind == KIND_SEARCH) {
		const char *at = node->text, *end = node->text + node->length;
		*mode = node->kind == KIND_SEARCH ? S_IFDIR : S_IFLNK;
		while (at < end) {
			if (seen++ == position)
				return at;
			at += strlen(at) + 1;
			if (node->kind == KIND_RESULTS)
				at += strlen(at) + 1;
		}
	}
	return NULL;
}

/* Entries of `node` from `position` on into `buffer`; returns the bytes. */
static size_t list_into(struct op *op, const struct vnode *node, char *buffer, size_t size,
			int position, int plus)
{
	size_t used = 0;

	for (int i = position; i >= 0; i++) {
		struct fuse_entry_param entry;
		mode_t mode = S_IFDIR;
		const char *name = i == 0   ? "."
				   : i == 1 ? ".."
					    : child_at(op->fs, node, i - 2, &mode);
		if (!name)
			break;
		memset(&entry, 0, sizeof(entry));
		entry.attr.st_mode = mode;
		entry.attr.st_ino = i == 0   ? node->shown
				    : i == 1 ? node->above
					     : shown_number(op->fs, node->shown, name);
		size_t needed = plus ? fuse_add_direntry_plus(op->req, buffer + used, size - used,
							      name, &entry, i + 1)
				     : fuse_add_direntry(op->req, buffer + used, size - used, name,
							 &entry.attr, i + 1);
		if (needed > size - used)
			break;
		used += needed;
	}
	return used;
}

void virtual_list(struct op *op, uint64_t ino, size_t size, off_t offset, int plus)
{
	struct vnode node;
	char *buffer = op_temporary(size);
	int err = buffer ? virtual_borrow(op->fs, ino, &node) : -ENOMEM;

	if (err) {
		op_reply_error(op, err);
		return;
	}
	struct vnode listed = node; /* what it is given back by stays */
	if (node.kind == KIND_SEARCH)
		err = saved_list(op, node.home, &listed.text, &listed.length);
	if (err || !is_directory(node.kind))
		op_reply_error(op, err ? err : -ENOTDIR);
	else
		op_reply_buffer(op, buffer,
				list_into(op, &listed, buffer, size, (int)offset, plus));
	virtual_give_back(op->fs, &node);
}
