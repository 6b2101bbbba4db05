/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see check_forgotten.h. Three passes: the keys that the engine shows, whose bytes tell which
 *            marks other memories have, too; then every file byte by byte, and of the heap every leaf
 *            and of the log every operation that is whole, whether something refers to it or not; then
 *            the free pages of a store with compression, where no mark would be seen.
 */
#include "core/store/check_forgotten.h"

#include "core/names.h"
#include "core/store/check_inside.h"
#include "core/store/page.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { PIECE = 1 << 20, FILES_MAX = 4096 };

struct look {
	struct forgotten *f;
	struct io *io;
	struct receipt_seeker seeker;
	uint8_t *shared; /* for each mark: another memory has those bytes */
	uint8_t *piece, *block;
	uint64_t block_size;
	/* keys: the one before */
	struct mneme_key before;
	uint64_t before_chunk, chunk_length;
	/* bytes: where */
	const char *name;
	int is_found;
};

void check_forgotten_find(struct forgotten *f, const char *format, ...)
{
	char text[MNEME_MESSAGE_SIZE];
	va_list list;

	f->result->findings++;
	if (!f->report || f->reported_count == FORGOTTEN_REPORTED_MAX)
		return;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	uint32_t sentence = crc32c(0, text, strlen(text));
	for (unsigned i = 0; i < f->reported_count; i++)
		if (f->reported[i] == sentence)
			return;
	f->reported[f->reported_count++] = sentence;
	f->report(f->arg, text, 0);
}

/* ---- keys ---- */

static const char *own_kind(uint8_t type)
{
	switch (type) {
	case MNEME_TYPE_CHUNK:
		return "bytes";
	case MNEME_TYPE_PASSAGE:
		return "a passage";
	case MNEME_TYPE_VECTOR:
		return "a vector";
	case MNEME_TYPE_LINK:
	case MNEME_TYPE_BACKLINK:
		return "a link";
	case MNEME_TYPE_PARENT:
		return "a name";
	case MNEME_TYPE_XATTR:
		return "an attribute";
	default:
		return "a record";
	}
}

static int leads_to(const void *value, size_t length, uint64_t memory)
{
	uint64_t inode = 0;

	if (length >= sizeof inode)
		memcpy(&inode, value, sizeof inode);
	return inode == memory;
}

static int sub_names(const struct mneme_key *key, unsigned at, uint64_t memory)
{
	const uint8_t *sub = key->sub;

	return key->sub_length >= at + 8 && names_get_be64(sub + at) == memory;
}

/* What a key and its value (NULL: not known) have of the memory, or NULL. */
static const char *key_has(const struct mneme_key *key, const void *value, size_t length,
			   uint64_t memory)
{
	if (key->inode == memory)
		return own_kind(key->type);
	switch (key->type) {
	case MNEME_TYPE_DENTRY:
		return value && leads_to(value, length, memory) ? "a name" : NULL;
	case MNEME_TYPE_LINK:
		return value && leads_to(value, length, memory) ? "a link to it" : NULL;
	case MNEME_TYPE_BACKLINK:
		return sub_names(key, 0, memory) ? "a link from it" : NULL;
	case MNEME_TYPE_MENTION:
		return sub_names(key, 8, memory) ? "a name in a link of it" : NULL;
	case MNEME_TYPE_EDGE:
		return sub_names(key, 0, memory) || sub_names(key, 9, memory)
			       ? "a link of use or meaning of it"
			       : NULL;
	case MNEME_TYPE_ORPHAN:
		return sub_names(key, 0, memory) ? "a note that it is to be removed" : NULL;
	default:
		return NULL;
	}
}

static void shared_found(void *arg, size_t mark)
{
	struct look *l = arg;

	l->shared[mark] = 1;
	l->f->result->shared_by = l->before.inode;
}

/* Chunks of a file that lie side by side are one run of bytes. */
static int goes_on(const struct look *l, const struct mneme_key *key)
{
	return key->type == MNEME_TYPE_CHUNK && l->before.type == MNEME_TYPE_CHUNK &&
	       key->inode == l->before.inode && key->sub_length == 8 &&
	       l->chunk_length == MNEME_CHUNK_SIZE &&
	       names_get_be64(key->sub) == l->before_chunk + 1;
}

static int each_key(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct look *l = arg;
	const char *what = key_has(key, value, length, l->f->receipt->memory);

	l->f->result->keys++;
	if (what)
		check_forgotten_find(l->f, "the store has %s of memory %llu", what,
				     (unsigned long long)l->f->receipt->memory);
	if (!goes_on(l, key)) {
		receipt_seeker_break(&l->seeker);
		receipt_seek(&l->seeker, key->sub, key->sub_length, shared_found, l);
		receipt_seeker_break(&l->seeker);
	}
	l->before = (struct mneme_key){.inode = key->inode, .type = key->type};
	l->before_chunk = key->sub_length == 8 ? names_get_be64(key->sub) : 0;
	l->chunk_length = length;
	if (key->inode != l->f->receipt->memory)
		receipt_seek(&l->seeker, value, length, shared_found, l);
	return 0;
}

static int keys_look(struct look *l, struct mneme *engine)
{
	uint32_t shards = mneme_shards(engine);
	int rc = 0;

	for (uint32_t i = 0; i < shards && rc == 0; i++) {
		struct mneme_key first = {.inode = i};
		struct mneme_key last = {.inode = UINT64_MAX - (shards - 1) + i, .type = 0xff};
		rc = mneme_scan(engine, &first, &last, 0, each_key, l);
	}
	for (size_t i = 0; i < l->f->receipt->count; i++)
		l->f->result->shared += l->shared[i];
	l->f->result->marks = l->f->receipt->count - l->f->result->shared;
	return rc;
}

/* ---- leaves and blocks ---- */

static void leaf_look(struct look *l, const uint8_t *bytes, uint64_t number)
{
	const struct fmt_page *page = (const void *)bytes;

	if (page->self != number || crc32c(0, bytes + 4, FMT_PAGE_SIZE - 4) != page->crc ||
	    page_verify(page) < 0)
		return;
	for (unsigned i = 0; i < page->count; i++) {
		struct page_key at = page_key_at(page, i);
		enum page_kind kind = PAGE_PLAIN;
		uint32_t length = 0;
		const uint8_t *value = page->level ? NULL : page_value(page, i, &length, &kind);
		if (at.length < FMT_KEY_HEAD)
			continue;
		struct mneme_key key = {.inode = names_get_be64(at.bytes),
					.type = at.bytes[8],
					.sub = at.bytes + FMT_KEY_HEAD,
					.sub_length = (uint16_t)(at.length - FMT_KEY_HEAD)};
		const char *what = key_has(&key, kind == PAGE_PLAIN ? value : NULL, length,
					   l->f->receipt->memory);
		if (what)
			check_forgotten_find(l->f, "page %llu of the heap has %s",
					     (unsigned long long)number, what);
	}
}

/* The operations of one record; `left` bytes from its head on. */
static void record_look(struct look *l, const uint8_t *bytes, uint64_t left, uint64_t at)
{
	struct fmt_record record;

	memcpy(&record, bytes, sizeof record);
	if (record.length > left)
		return;
	left = record.length - sizeof record;
	bytes += sizeof record;
	for (uint32_t i = 0; i < record.count && left >= sizeof(struct fmt_op); i++) {
		struct fmt_op op;
		memcpy(&op, bytes, sizeof op);
		uint64_t need = sizeof op + op.sub_length + (uint64_t)op.value_length;
		if (need > left)
			return;
		struct mneme_key key = {.inode = op.inode,
					.type = op.type,
					.sub = bytes + sizeof op,
					.sub_length = op.sub_length};
		int is_whole = op.kind == FMT_OP_PUT;
		const char *what =
			key_has(&key, is_whole ? bytes + sizeof op + op.sub_length : NULL,
				op.value_length, l->f->receipt->memory);
		if (what)
			check_forgotten_find(l->f, "%s at %llu has %s", l->name,
					     (unsigned long long)at, what);
		bytes += need;
		left -= need;
	}
}

static int block_look(struct look *l, struct io_file *file, uint64_t at, uint64_t length)
{
	if (length > l->block_size) {
		void *more = alloc_resize(l->block, length);
		if (!more)
			return -ENOMEM;
		l->block = more;
		l->block_size = length;
	}
	int rc = io_read_full(file, l->io, l->block, length, at);
	for (uint64_t i = sizeof(struct fmt_block);
	     rc == 0 && i + sizeof(struct fmt_record) <= length;) {
		struct fmt_record record;
		memcpy(&record, l->block + i, sizeof record);
		if (record.length < sizeof record)
			break;
		record_look(l, l->block + i, length - i, at + i);
		i += (record.length + 7ull) & ~7ull;
	}
	return rc;
}

/* Heads of blocks in a piece of the log, of any use of its segment. */
static int blocks_look(struct look *l, struct io_file *file, uint64_t at, uint64_t length,
		       uint64_t size)
{
	int rc = 0;

	for (uint64_t i = 0; i + sizeof(struct fmt_block) <= length && rc == 0; i += 8) {
		struct fmt_block b;
		memcpy(&b, l->piece + i, sizeof b);
		if (b.magic == FMT_BLOCK_MAGIC && b.length >= sizeof b &&
		    b.length <= size - at - i &&
		    crc32c(0, &b, offsetof(struct fmt_block, head_crc)) == b.head_crc)
			rc = block_look(l, file, at + i, b.length);
	}
	return rc;
}

/* ---- bytes ---- */

static int is_zero(const uint8_t *bytes, uint64_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static void bytes_found(void *arg, size_t mark)
{
	struct look *l = arg;

	l->is_found |= !l->shared[mark];
}

static void piece_look(struct look *l, uint64_t at, uint64_t length)
{
	for (uint64_t i = 0; i < length; i += FMT_PAGE_SIZE) {
		uint64_t n = length - i < FMT_PAGE_SIZE ? length - i : FMT_PAGE_SIZE;
		if (is_zero(l->piece + i, n)) {
			receipt_seeker_break(&l->seeker);
			continue;
		}
		l->is_found = 0;
		receipt_seek(&l->seeker, l->piece + i, n, bytes_found, l);
		if (l->is_found)
			check_forgotten_find(l->f, "%s has bytes of memory %llu at %llu or before",
					     l->name, (unsigned long long)l->f->receipt->memory,
					     (unsigned long long)(at + i + n));
		if (!strcmp(l->name, "heap") && n == FMT_PAGE_SIZE)
			leaf_look(l, l->piece + i, (at + i) / FMT_PAGE_SIZE);
	}
}

static int file_look(struct look *l, const char *name)
{
	int is_log = !strncmp(name, "wal/", 4);
	/* a head of a block that lies across the end of a piece is seen with the next one */
	uint64_t size = 0, overlap = is_log ? FMT_PAGE_SIZE : 0;
	struct io_file *file;
	int rc = l->io->ops->open(l->io, name, IO_READ, &file);

	if (rc < 0)
		return rc == -EISDIR || rc == -ENOENT ? 0 : rc;
	rc = l->io->ops->size(file, &size);
	l->name = name;
	receipt_seeker_break(&l->seeker);
	for (uint64_t at = 0; at < size && rc == 0; at += PIECE) {
		uint64_t length = size - at < PIECE ? size - at : PIECE;
		uint64_t more = size - at - length < overlap ? size - at - length : overlap;
		rc = io_read_full(file, l->io, l->piece, length + more, at);
		if (rc == 0)
			piece_look(l, at, length);
		if (rc == 0 && is_log)
			rc = blocks_look(l, file, at, length + more, size);
		l->f->result->bytes += length;
	}
	l->io->ops->close(file);
	return rc;
}

struct names {
	const char *directory;
	char (*names)[2 * IO_NAME_MAX];
	uint32_t count;
};

static int name_add(void *arg, const char *name)
{
	struct names *n = arg;

	if (n->count == FILES_MAX)
		return -E2BIG;
	int length = snprintf(n->names[n->count], sizeof n->names[0], "%s%s%s", n->directory,
			      n->directory[0] ? "/" : "", name);
	n->count += length < IO_NAME_MAX; /* a longer one is none of the store's */
	return 0;
}

/* Directories; and the lock, which a close would give up, and which holds the name of a process. */
static int is_passed_over(const char *name)
{
	return !strcmp(name, "wal") || !strcmp(name, "index") || !strcmp(name, "lock");
}

static int files_look(struct look *l)
{
	static const char *const directories[] = {"", "wal", "index"};
	struct names n = {.names = alloc_get(FILES_MAX * sizeof n.names[0])};
	int rc = n.names ? 0 : -ENOMEM;

	for (int i = 0; i < 3 && rc == 0; i++) {
		n.directory = directories[i];
		rc = l->io->ops->list(l->io, n.directory, name_add, &n);
		if (rc == -ENOENT)
			rc = 0;
	}
	for (uint32_t i = 0; i < n.count && rc == 0; i++)
		if (!is_passed_over(n.names[i]))
			rc = file_look(l, n.names[i]);
	alloc_free(n.names);
	return rc;
}

/* ---- free pages that nobody can read ---- */

static int group_look(struct look *l, struct check *c, uint32_t group, uint64_t *unread)
{
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;
	uint32_t extent = heap_group_extent(c->pages, group);
	int rc = 0;

	if (check_bitmap(c, group))
		return -EUCLEAN;
	for (uint32_t i = FMT_GROUP_FIRST; i < extent && rc == 0; i++) {
		if (c->bitmap.bits[i / 8] >> (i % 8) & 1)
			continue;
		rc = check_read(c, l->piece, FMT_PAGE_SIZE, (begin + i) * FMT_PAGE_SIZE);
		*unread += rc == 0 && !is_zero(l->piece, FMT_PAGE_SIZE);
	}
	return rc;
}

static int compressed_look(struct look *l)
{
	struct mneme_check_result ignored = {0};
	struct check *c = alloc_zeroed(1, sizeof *c);
	uint64_t unread = 0;

	if (!c)
		return -ENOMEM;
	c->io = l->io;
	c->result = &ignored;
	c->mute = 1;
	c->findings_end = &c->findings;
	int rc = check_open(c);
	if (rc == 0)
		rc = check_supers(c);
	if (rc == 0 && (!c->have_super || !c->heap_file))
		rc = -EUCLEAN;
	if (rc == 0 && c->pages > c->super.heap_pages)
		c->pages = c->super.heap_pages;
	if (rc == 0 && c->super.compression != MNEME_COMPRESSION_NONE)
		for (uint32_t g = 0; g < c->super.space_groups && rc == 0; g++)
			rc = group_look(l, c, g, &unread);
	check_close(c);
	alloc_free(c);
	if (rc == 0 && unread)
		check_forgotten_find(l->f,
				     "%llu free pages of the heap hold old bytes that may be "
				     "compressed, where nothing can be sought: mneme compact first",
				     (unsigned long long)unread);
	return rc;
}

/* The other side of mneme_inode_new(). */
static int is_given_out(struct mneme *m, uint64_t inode)
{
	struct shard *s = store_shard(m, inode);

	return inode / m->shard_count < atomic_load_explicit(&s->inode_next, memory_order_relaxed);
}

int check_forgotten(struct forgotten *f, struct io *io, struct mneme *engine)
{
	struct look l = {.f = f, .io = io};
	int rc = receipt_seeker_init(&l.seeker, f->receipt);

	f->result->unknown = !is_given_out(engine, f->receipt->memory);
	l.shared = alloc_zeroed(f->receipt->count + 1, 1);
	l.piece = alloc_aligned(FMT_PAGE_SIZE, PIECE + FMT_PAGE_SIZE);
	if (rc == 0 && (!l.shared || !l.piece))
		rc = -ENOMEM;
	if (rc == 0)
		rc = keys_look(&l, engine);
	if (rc == 0)
		rc = files_look(&l);
	if (rc == 0)
		rc = compressed_look(&l);
	receipt_seeker_fini(&l.seeker);
	alloc_free(l.shared);
	alloc_free(l.piece);
	alloc_free(l.block);
	return rc;
}
