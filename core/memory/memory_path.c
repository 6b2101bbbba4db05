/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reading what the filesystem wrote: inode records, bytes, paths.
 * Threading: single gets and views; the tree may change in between, which a caller sees as -ENOENT.
 */
#include "core/memory/filter.h"
#include "core/memory/memory_inside.h"
#include "pool/frame.h"

#include <errno.h>
#include <string.h>

enum { DEPTH_MAX = 256 };

int memory_inode(struct mneme *engine, uint64_t inode, struct names_inode *out)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	size_t length;
	int rc = mneme_get(engine, &key, out, sizeof *out, &length);

	return rc == 0 && length < sizeof *out ? -EUCLEAN : rc;
}

int memory_read(struct mneme *engine, uint64_t inode, uint64_t size, uint64_t offset, void *out,
		size_t length)
{
	uint8_t *to = out;

	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = size - offset;
	for (size_t done = 0; done < length;) {
		uint64_t at = offset + done;
		size_t within = at % MNEME_CHUNK_SIZE, part = MNEME_CHUNK_SIZE - within, there = 0;
		uint8_t sub[8];
		struct mneme_key key =
			names_key_number(inode, MNEME_TYPE_CHUNK, at / MNEME_CHUNK_SIZE, sub);
		const void *bytes;
		if (part > length - done)
			part = length - done;
		mneme_view_begin(engine, inode);
		int rc = mneme_view_get(engine, &key, &bytes, &there);
		if (rc == 0 && there > within) {
			there = there - within < part ? there - within : part;
			memcpy(to + done, (const uint8_t *)bytes + within, there);
		} else {
			there = 0;
		}
		mneme_view_end(engine, inode);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		memset(to + done + there, 0, part - there);
		done += part;
	}
	return (int)length;
}

/* ---- names ---- */

enum { NAMES_LOOKED_AT = 32 }; /* of a file */

struct name {
	uint64_t directory, position;
};

struct names {
	struct name *names;
	uint32_t count, max;
};

static int name_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct names *n = arg;

	(void)value;
	(void)length;
	if (key->sub_length != 16)
		return -EUCLEAN;
	n->names[n->count].directory = names_get_be64(key->sub);
	n->names[n->count].position = names_get_be64((const uint8_t *)key->sub + 8);
	return ++n->count == n->max;
}

/* Up to `max` names of an inode: how many. -ENOENT: none. */
OWN_FRAME static int names_find(struct mneme *engine, uint64_t inode, struct name *names,
				uint32_t max)
{
	struct names n = {.names = names, .max = max};
	struct mneme_key first = names_key(inode, MNEME_TYPE_PARENT);
	struct mneme_key last = names_key(inode, MNEME_TYPE_PARENT + 1);

	int rc = mneme_view_begin(engine, inode);

	if (rc < 0)
		return rc;
	rc = mneme_view_scan(engine, &first, &last, max, name_take, &n);
	mneme_view_end(engine, inode);
	if (rc < 0)
		return rc;
	return n.count ? (int)n.count : -ENOENT;
}

/* Puts a name in front of what is in `path` from *at on. */
OWN_FRAME static int name_prepend(struct mneme *engine, const struct name *name, char *path,
				  size_t *at)
{
	static _Thread_local uint8_t entry[sizeof(struct names_dentry) + NAMES_NAME_MAX];
	uint8_t sub[8];
	struct mneme_key key =
		names_key_number(name->directory, MNEME_TYPE_DENTRY, name->position, sub);
	size_t length;
	int rc = mneme_get(engine, &key, entry, sizeof entry, &length);

	if (rc < 0)
		return rc;
	size_t n = length - sizeof(struct names_dentry);
	if (length <= sizeof(struct names_dentry) || *at < n + 1)
		return length <= sizeof(struct names_dentry) ? -EUCLEAN : -ENAMETOOLONG;
	if (path[*at])
		path[--*at] = '/';
	*at -= n;
	memcpy(path + *at, entry + sizeof(struct names_dentry), n);
	return 0;
}

int memory_name(struct memory *mem, uint64_t inode, char *name)
{
	size_t at = NAMES_NAME_MAX + 1;
	struct name first;
	int rc = names_find(mem->engine, inode, &first, 1);

	if (rc < 0)
		return rc;
	name[at] = 0;
	rc = name_prepend(mem->engine, &first, name, &at);
	if (rc == 0)
		memmove(name, name + at, NAMES_NAME_MAX + 2 - at);
	return rc;
}

uint64_t memory_parent(struct memory *mem, uint64_t inode)
{
	struct name first;

	return names_find(mem->engine, inode, &first, 1) < 0 ? 0 : first.directory;
}

int memory_parents(struct memory *mem, uint64_t inode, uint64_t *directories, uint32_t max)
{
	static _Thread_local struct name names[NAMES_LOOKED_AT]; /* handlers have 3 KiB of stack */
	int count = names_find(mem->engine, inode, names,
			       max < NAMES_LOOKED_AT ? max : NAMES_LOOKED_AT);

	for (int i = 0; i < count; i++)
		directories[i] = names[i].directory;
	return count;
}

OWN_FRAME static int may_opt_out(struct mneme *engine, uint64_t inode)
{
	struct names_inode record;

	return memory_inode(engine, inode, &record) == 0 && record.state & NAMES_HAS_ROBOTS;
}

/* Does this inode itself say that it is not to be indexed? */
OWN_FRAME static int opts_out(struct mneme *engine, uint64_t inode)
{
	struct mneme_key key = {.inode = inode,
				.type = MNEME_TYPE_XATTR,
				.sub = NAMES_ROBOTS,
				.sub_length = sizeof(NAMES_ROBOTS) - 1};
	char value[8];
	size_t length;

	if (!may_opt_out(engine, inode))
		return 0;
	return mneme_get(engine, &key, value, sizeof value, &length) == 0 && length == 5 &&
	       !memcmp(value, "false", 5);
}

/* From one name up to the root: 1 if a directory there opts out, else 0 or -errno. -EXDEV when `scope`
 * (0: any) is not on it. With `path` the way from there is put together. */
static int walk_up(struct memory *mem, struct name name, uint64_t scope, char *path, size_t *at)
{
	int hides = atomic_load_explicit(&mem->hides, memory_order_relaxed);
	uint64_t root = names_root(mneme_shards(mem->engine));
	int inside = scope != 0, rc = 0;

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		if (inside) {
			rc = path ? name_prepend(mem->engine, &name, path, at) : 0;
			inside = name.directory != scope;
		}
		if (rc < 0 || (!inside && !hides))
			return rc;
		if (hides && opts_out(mem->engine, name.directory))
			return 1;
		if (name.directory == root)
			return inside ? -EXDEV : 0;
		rc = names_find(mem->engine, name.directory, &name, 1);
		if (rc < 0)
			return rc;
	}
	return -EXDEV;
}

int memory_is_hidden(struct memory *mem, uint64_t inode)
{
	static _Thread_local struct name names[NAMES_LOOKED_AT]; /* handlers have 3 KiB of stack */

	if (!atomic_load_explicit(&mem->hides, memory_order_relaxed))
		return 0;
	if (opts_out(mem->engine, inode))
		return 1;
	int count = names_find(mem->engine, inode, names, NAMES_LOOKED_AT);
	for (int i = 0; i < count; i++)
		if (walk_up(mem, names[i], 0, NULL, NULL) != 1)
			return 0;
	return count > 0;
}

/* By name *next or one behind it; *next is then behind that. */
static int place(struct memory *mem, uint64_t inode, const struct memory_query *q, int *next,
		 char *path, size_t size)
{
	static _Thread_local struct name names[NAMES_LOOKED_AT]; /* as above */
	int count = names_find(mem->engine, inode, names, NAMES_LOOKED_AT);

	if (count > 0 && atomic_load_explicit(&mem->hides, memory_order_relaxed) &&
	    opts_out(mem->engine, inode))
		return -EXDEV;
	for (int i = *next; i < count; i++) {
		size_t at = size - 1;
		path[at] = 0;
		if (walk_up(mem, names[i], q->scope, path, &at) || !filter_name(q, path + at) ||
		    (q->allow && !q->allow(q->allow_arg, inode, names[i].directory)))
			continue;
		memmove(path, path + at, size - at);
		*next = i + 1;
		return 0;
	}
	return count < 0 ? count : -EXDEV;
}

int memory_place(struct memory *mem, uint64_t inode, const struct memory_query *q, char *path,
		 size_t size)
{
	int next = 0;

	return place(mem, inode, q, &next, path, size);
}

static int is_inside(struct memory *mem, const struct name *name, uint64_t scope,
		     struct memory_places *places)
{
	/* Fibonacci hashing: inode numbers are a whole number of shards apart */
	uint64_t at = name->directory * 0x9e3779b97f4a7c15u >> (64 - MEMORY_PLACES_LOG2);

	if (places->known[at].directory != name->directory) {
		places->known[at].is_inside = !walk_up(mem, *name, scope, NULL, NULL);
		places->known[at].directory = name->directory;
	}
	return places->known[at].is_inside;
}

int memory_is_placed(struct memory *mem, uint64_t inode, const struct memory_query *q,
		     struct memory_places *places)
{
	static _Thread_local struct name names[NAMES_LOOKED_AT]; /* as above */
	int count = names_find(mem->engine, inode, names, NAMES_LOOKED_AT);

	if (count > 0 && atomic_load_explicit(&mem->hides, memory_order_relaxed) &&
	    opts_out(mem->engine, inode))
		return 0;
	for (int i = 0; i < count; i++)
		if (is_inside(mem, &names[i], q->scope, places) &&
		    (!q->allow || q->allow(q->allow_arg, inode, names[i].directory)))
			return 1;
	return 0;
}

int memory_path(struct memory *mem, uint64_t inode, uint64_t directory, memory_allow *allow,
		void *arg, int *next, char *path)
{
	const struct memory_query q = {.scope = directory, .allow = allow, .allow_arg = arg};

	return place(mem, inode, &q, next, path, MEMORY_PATH_MAX);
}

int memory_is_open_to(struct memory *mem, uint64_t inode, memory_allow *allow, void *arg)
{
	static _Thread_local struct name names[NAMES_LOOKED_AT]; /* as above */
	int hides = atomic_load_explicit(&mem->hides, memory_order_relaxed);
	int count = names_find(mem->engine, inode, names, NAMES_LOOKED_AT);

	if (count > 0 && hides && opts_out(mem->engine, inode))
		return 0;
	for (int i = 0; i < count; i++)
		if (!(hides && walk_up(mem, names[i], 0, NULL, NULL)) &&
		    (!allow || allow(arg, inode, names[i].directory)))
			return 1;
	return 0;
}

struct wanted {
	const char *name;
	size_t length;
	uint64_t inode;
};

static int entry_compare(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct wanted *w = arg;
	struct names_dentry entry;

	(void)key;
	if (length != sizeof entry + w->length ||
	    memcmp((const uint8_t *)value + sizeof entry, w->name, w->length))
		return 0;
	memcpy(&entry, value, sizeof entry);
	w->inode = entry.inode;
	return 1;
}

int memory_walk(struct memory *mem, uint64_t from, const char *path, uint64_t *inode)
{
	uint8_t hash_key[16], sub[2][8];

	mneme_uuid(mem->engine, hash_key);
	*inode = from;
	for (; *path; path += strcspn(path, "/")) {
		path += strspn(path, "/");
		struct wanted w = {.name = path, .length = strcspn(path, "/")};
		if (!w.length)
			break;
		if (w.length > NAMES_NAME_MAX)
			return -ENAMETOOLONG;
		uint64_t at = names_position(hash_key, w.name, w.length);
		struct mneme_key first = names_key_number(*inode, MNEME_TYPE_DENTRY, at, sub[0]);
		struct mneme_key last = names_key_number(*inode, MNEME_TYPE_DENTRY,
							 at + NAMES_DISCRIMINATORS, sub[1]);
		int rc = mneme_scan(mem->engine, &first, &last, 0, entry_compare, &w);
		if (rc < 0)
			return rc;
		if (!w.inode)
			return -ENOENT;
		*inode = w.inode;
	}
	return 0;
}
