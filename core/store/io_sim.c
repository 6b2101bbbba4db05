/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the operations of the simulated disk: io.h over a filesystem in memory that keeps its
 *            history and fails on demand. Crash states are built in io_sim_crash.c.
 * Invariants: every change of data, size or names is one event, recorded if and only if it was
 *            applied. A failed sync makes nothing durable. Each request of a batch, and both halves
 *            of write_sync, count as calls of their own. map_grow counts as SIM_MAP; punch as
 *            SIM_ALLOCATE; list and lock as SIM_OPEN; size and space never fail.
 * Threading: one mutex a disk.
 * Failure:   as io.h. A file that was mapped cannot grow past its reservation (-EFBIG). Directories
 *            cannot be renamed (-EOPNOTSUPP). Destroying an io frees what it left open, as the death
 *            of a process does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/store/io_sim_disk.h"
#include "pool/check.h"

struct sim_file {
	struct sim_io *owner;
	struct sim_file *next; /* [mutex] open files of the io */
	struct sim_file **link;
	uint32_t inode;
	int writable;
	int mapped; /* [mutex] */
};

struct sim_io {
	struct io io; /* first member */
	struct sim *sim;
	struct sim_file *files; /* [mutex] */
};

static struct sim_file *sim_file_of(struct io_file *file)
{
	return (struct sim_file *)(void *)file;
}

static struct sim_io *sim_io_of(struct io *io)
{
	return (struct sim_io *)(void *)io;
}

/* ---- names ---- */

size_t sim_directory_length(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? (size_t)(slash - name) : 0;
}

struct sim_name *sim_names_find(const struct sim_names *names, const char *text)
{
	for (uint32_t i = 0; i < names->count; i++)
		if (!strcmp(names->list[i].text, text))
			return &names->list[i];
	return NULL;
}

int sim_names_set(struct sim_names *names, const char *text, uint32_t inode)
{
	struct sim_name *name = sim_names_find(names, text);

	if (!name) {
		if (names->count == names->capacity) {
			uint32_t capacity = names->capacity ? 2 * names->capacity : 8;
			void *grown = realloc(names->list, capacity * sizeof(*names->list));

			if (!grown)
				return -ENOMEM;
			names->list = grown;
			names->capacity = capacity;
		}
		name = &names->list[names->count++];
		memcpy(name->text, text, strlen(text) + 1);
	}
	name->inode = inode;
	return 0;
}

void sim_names_remove(struct sim_names *names, struct sim_name *name)
{
	*name = names->list[--names->count];
}

int sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
	size_t bytes = from->count * sizeof(*from->list);

	if (!bytes)
		return 0;
	to->list = malloc(bytes);
	if (!to->list)
		return -ENOMEM;
	memcpy(to->list, from->list, bytes);
	to->count = to->capacity = from->count;
	return 0;
}

/* 0 when the directory part of a name is there. */
static int check_parent(const struct sim *sim, const char *name)
{
	char parent[IO_NAME_MAX + 1];
	size_t length = sim_directory_length(name);
	const struct sim_name *found;

	if (!length)
		return 0;
	memcpy(parent, name, length);
	parent[length] = 0;
	found = sim_names_find(&sim->names, parent);
	if (!found)
		return -ENOENT;
	return found->inode == SIM_IS_DIRECTORY ? 0 : -ENOTDIR;
}

/* ---- history ---- */

struct sim_blob *sim_blob_ref(struct sim_blob *blob)
{
	if (blob) /* relaxed: whoever refs holds a count already */
		atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
	return blob;
}

static void blob_drop(struct sim_blob *blob)
{
	/* acq_rel: the last owner sees what the others read before they let go */
	if (blob && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
		free(blob);
}

static struct sim_blob *blob_new(const void *bytes, size_t length)
{
	struct sim_blob *blob = malloc(sizeof(*blob) + length);

	if (blob) {
		atomic_init(&blob->refs, 1);
		memcpy(blob->bytes, bytes, length);
	}
	return blob;
}

/* The next event, zeroed, not yet counted; NULL without memory. */
static struct sim_event *event_next(struct sim *sim, enum sim_event_kind kind, uint32_t inode)
{
	struct sim_event *e;

	if (sim->event_count == sim->event_capacity) {
		uint64_t capacity = sim->event_capacity ? 2 * sim->event_capacity : 16;
		void *grown = realloc(sim->events, capacity * sizeof(*sim->events));

		if (!grown)
			return NULL;
		sim->events = grown;
		sim->event_capacity = capacity;
	}
	e = &sim->events[sim->event_count];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->inode = inode;
	return e;
}

static int record_names(struct sim *sim, enum sim_event_kind kind, uint32_t inode, const char *name,
			const char *to)
{
	struct sim_event *e = event_next(sim, kind, inode);
	char both[2 * (IO_NAME_MAX + 1)];
	size_t length = strlen(name) + 1;

	memcpy(both, name, length);
	if (to) {
		memcpy(both + length, to, strlen(to) + 1);
		length += strlen(to) + 1;
	}
	if (e)
		e->blob = blob_new(both, length);
	if (!e || !e->blob)
		return -ENOMEM;
	sim->event_count++;
	return 0;
}

/* ---- faults ---- */

/* Counts a call; 0 or the negative error to return. `effect` says what happens besides. */
static int fault_at(struct sim *sim, enum sim_site site, enum sim_effect *effect)
{
	struct sim_fault *f = &sim->fault;

	*effect = SIM_FAIL;
	sim->calls[site]++;
	if (!f->left || !(f->sites & 1u << site))
		return 0;
	if (f->left > 1) {
		f->left--;
		return 0;
	}
	if (!f->for_good)
		f->left = 0;
	*effect = f->effect;
	return f->effect == SIM_SHORT ? 0 : -f->error;
}

void sim_fail(struct sim *sim, uint32_t sites, uint64_t nth, int error, enum sim_effect effect,
	      int for_good)
{
	pthread_mutex_lock(&sim->mutex);
	sim->fault = (struct sim_fault){sites, nth, error, effect, for_good};
	pthread_mutex_unlock(&sim->mutex);
}

/* ---- the flat mirror ---- */

static void flat_free(struct sim_inode *inode)
{
	if (inode->flat)
		CHECK(!munmap(inode->flat, inode->flat_reserve));
	inode->flat = NULL;
	inode->flat_reserve = inode->flat_open = 0;
	inode->exposed = 0;
}

/* Makes the pages below `size` accessible, and gives back those behind. */
static int flat_resize(struct sim_inode *inode, uint64_t size)
{
	uint64_t end = (size + SIM_CHUNK - 1) / SIM_CHUNK * SIM_CHUNK;
	uint64_t open = inode->flat_open;

	if (size % SIM_CHUNK && end <= open) /* what lies past the end reads as zeros */
		memset(inode->flat + size, 0, end - size);
	if (end > open &&
	    mprotect(inode->flat + open, end - open, PROT_READ | PROT_WRITE))
		return -errno;
	if (end < open && (madvise(inode->flat + end, open - end, MADV_DONTNEED) ||
			   mprotect(inode->flat + end, open - end, PROT_NONE)))
		return -errno;
	inode->flat_open = end;
	return 0;
}

static int flat_make(struct sim_inode *inode, uint64_t reserve)
{
	const struct sim_image *image = inode->image;
	uint64_t size = sim_image_size(image);
	int rc;

	inode->flat = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			   -1, 0);
	if (inode->flat == MAP_FAILED) {
		inode->flat = NULL;
		return -errno;
	}
	inode->flat_reserve = reserve;
	inode->flat_open = 0;
	rc = flat_resize(inode, size);
	if (rc) {
		flat_free(inode);
		return rc;
	}
	for (uint64_t i = 0; i * SIM_CHUNK < size && i < image->capacity; i++)
		if (image->chunks[i])
			memcpy(inode->flat + i * SIM_CHUNK, image->chunks[i]->bytes, SIM_CHUNK);
	return 0;
}

int sim_inode_fold(struct sim_inode *inode)
{
	uint64_t size = sim_image_size(inode->image);
	int rc = 0;

	if (!inode->exposed)
		return 0;
	for (uint64_t at = 0; !rc && at < size; at += SIM_CHUNK) {
		uint8_t present[SIM_CHUNK];
		uint64_t n = size - at < SIM_CHUNK ? size - at : SIM_CHUNK;

		sim_image_read(inode->image, present, n, at);
		if (memcmp(present, inode->flat + at, n))
			rc = sim_image_write(&inode->image, inode->flat + at, n, at);
	}
	return rc;
}

/* Before a change that leaves the file `size` bytes long: the mirror has room, or goes. */
static int flat_prepare(struct sim_inode *inode, uint64_t size)
{
	int rc = sim_inode_fold(inode);

	inode->exposed = 0;
	if (rc || !inode->flat || size <= inode->flat_reserve)
		return rc;
	if (inode->maps)
		return -EFBIG;
	flat_free(inode);
	return 0;
}

/* ---- files ---- */

static uint64_t bytes_used(const struct sim *sim)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < sim->names.count; i++)
		if (sim->names.list[i].inode != SIM_IS_DIRECTORY)
			used += sim_image_size(sim->inodes[sim->names.list[i].inode].image);
	return used;
}

/* How far a file may grow now: UINT64_MAX without a limit. */
static uint64_t size_allowed(const struct sim *sim, const struct sim_inode *inode)
{
	uint64_t used, size = sim_image_size(inode->image);

	if (!sim->limit)
		return UINT64_MAX;
	used = bytes_used(sim);
	return used >= sim->limit ? size : size + (sim->limit - used);
}

static int inode_new(struct sim *sim, uint32_t *out)
{
	if (sim->inode_count == sim->inode_capacity) {
		uint32_t capacity = sim->inode_capacity ? 2 * sim->inode_capacity : 8;
		void *grown = realloc(sim->inodes, capacity * sizeof(*sim->inodes));

		if (!grown)
			return -ENOMEM;
		sim->inodes = grown;
		sim->inode_capacity = capacity;
	}
	memset(&sim->inodes[sim->inode_count], 0, sizeof(sim->inodes[0]));
	*out = sim->inode_count++;
	return 0;
}

/* Finds or makes the file. */
static int open_inode(struct sim *sim, const char *name, int flags, uint32_t *inode)
{
	const struct sim_name *found = sim_names_find(&sim->names, name);
	int rc;

	if (found) {
		if (flags & IO_CREATE && flags & IO_EXCLUSIVE)
			return -EEXIST;
		*inode = found->inode;
		return found->inode == SIM_IS_DIRECTORY ? -EISDIR : 0;
	}
	rc = check_parent(sim, name);
	if (!rc && !(flags & IO_CREATE))
		rc = -ENOENT;
	if (!rc)
		rc = inode_new(sim, inode);
	if (!rc)
		rc = sim_names_set(&sim->names, name, *inode);
	return rc ? rc : record_names(sim, SIM_EV_CREATE, *inode, name, NULL);
}

static int sim_open(struct io *io, const char *name, int flags, struct io_file **out)
{
	struct sim_io *self = sim_io_of(io);
	struct sim *sim = self->sim;
	struct sim_file *f;
	enum sim_effect effect;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_OPEN, &effect);
	if (!rc)
		rc = open_inode(sim, name, flags, &f->inode);
	if (rc)
		goto out;
	f->owner = self;
	f->writable = flags & IO_WRITE;
	f->next = self->files;
	f->link = &self->files;
	if (f->next)
		f->next->link = &f->next;
	self->files = f;
	*out = (struct io_file *)(void *)f;
out:
	pthread_mutex_unlock(&sim->mutex);
	if (rc)
		free(f);
	return rc;
}

/* Called with the mutex held. */
static void file_release(struct sim_file *f)
{
	if (f->mapped)
		f->owner->sim->inodes[f->inode].maps--;
	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	free(f);
}

static void sim_close(struct io_file *file)
{
	struct sim *sim = sim_file_of(file)->owner->sim;

	pthread_mutex_lock(&sim->mutex);
	file_release(sim_file_of(file));
	pthread_mutex_unlock(&sim->mutex);
}

/* Called with the mutex held, as all *_locked functions. */
static ssize_t read_locked(struct sim_file *f, void *data, size_t length, uint64_t offset)
{
	struct sim *sim = f->owner->sim;
	const struct sim_inode *inode = &sim->inodes[f->inode];
	uint64_t size = sim_image_size(inode->image);
	enum sim_effect effect;
	int rc = fault_at(sim, SIM_READ, &effect);

	if (rc)
		return rc;
	if (effect == SIM_SHORT && length > 1)
		length /= 2;
	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = size - offset;
	if (inode->flat)
		memcpy(data, inode->flat + offset, length);
	else
		sim_image_read(inode->image, data, length, offset);
	return (ssize_t)length;
}

/* Applies and records one write of the present content. */
static int apply_write(struct sim *sim, uint32_t index, const void *data, uint64_t length,
		       uint64_t offset)
{
	struct sim_inode *inode = &sim->inodes[index];
	uint64_t size = sim_image_size(inode->image);
	int zeros = sim_bytes_are_zero(data, length);
	struct sim_event *e;
	int rc = flat_prepare(inode, offset + length);

	if (rc)
		return rc;
	e = event_next(sim, SIM_EV_WRITE, index);
	if (e && !zeros)
		e->blob = blob_new(data, length);
	if (!e || (!zeros && !e->blob))
		return -ENOMEM;
	e->offset = offset;
	e->length = length;
	rc = sim_image_write(&inode->image, zeros ? NULL : data, length, offset);
	if (!rc && inode->flat && offset + length > size)
		rc = flat_resize(inode, offset + length);
	if (rc) {
		blob_drop(e->blob);
		return rc;
	}
	if (inode->flat)
		memcpy(inode->flat + offset, data, length);
	sim->event_count++;
	return 0;
}

static ssize_t write_locked(struct sim_file *f, const void *data, size_t length, uint64_t offset)
{
	struct sim *sim = f->owner->sim;
	uint64_t allowed;
	enum sim_effect effect;
	int fault = fault_at(sim, SIM_WRITE, &effect), rc;

	if (!f->writable)
		return -EBADF;
	if (fault && effect != SIM_HALF_THEN_FAIL)
		return fault;
	if (effect != SIM_FAIL && length > 1)
		length /= 2;
	if (!length)
		return 0;
	allowed = size_allowed(sim, &sim->inodes[f->inode]);
	if (offset + length > allowed) {
		if (offset >= allowed)
			return fault ? fault : -ENOSPC;
		length = allowed - offset;
	}
	rc = apply_write(sim, f->inode, data, length, offset);
	if (fault)
		return fault;
	return rc ? rc : (ssize_t)length;
}

static int sync_locked(struct sim_file *f)
{
	struct sim *sim = f->owner->sim;
	struct sim_inode *inode = &sim->inodes[f->inode];
	struct sim_event *e;
	enum sim_effect effect;
	int rc = fault_at(sim, SIM_SYNC, &effect);

	if (inode->sync_failed == f->owner)
		sim->syncs_after_failure++;
	if (rc) {
		inode->sync_failed = f->owner;
		return rc;
	}
	rc = sim_inode_fold(inode);
	e = event_next(sim, SIM_EV_DATA_SYNC, f->inode);
	if (rc || !e)
		return -ENOMEM;
	e->image = sim_image_ref(inode->image);
	sim->event_count++;
	return 0;
}

static ssize_t sim_read(struct io_file *file, void *data, size_t length, uint64_t offset)
{
	struct sim_file *f = sim_file_of(file);
	ssize_t n;

	pthread_mutex_lock(&f->owner->sim->mutex);
	n = read_locked(f, data, length, offset);
	pthread_mutex_unlock(&f->owner->sim->mutex);
	return n;
}

static ssize_t sim_write(struct io_file *file, const void *data, size_t length, uint64_t offset)
{
	struct sim_file *f = sim_file_of(file);
	ssize_t n;

	pthread_mutex_lock(&f->owner->sim->mutex);
	n = write_locked(f, data, length, offset);
	pthread_mutex_unlock(&f->owner->sim->mutex);
	return n;
}

static int sim_read_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	CHECK(count <= IO_BATCH_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct io_request *r = &requests[i];

		r->result = (int32_t)sim_read(file, r->data, r->length, r->offset);
	}
	return 0;
}

static int sim_write_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	CHECK(count <= IO_BATCH_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct io_request *r = &requests[i];

		r->result = (int32_t)sim_write(file, r->data, r->length, r->offset);
	}
	return 0;
}

static int sim_sync(struct io_file *file)
{
	struct sim_file *f = sim_file_of(file);
	int rc;

	pthread_mutex_lock(&f->owner->sim->mutex);
	rc = sync_locked(f);
	pthread_mutex_unlock(&f->owner->sim->mutex);
	return rc;
}

static int sim_write_sync(struct io_file *file, const void *data, size_t length, uint64_t offset)
{
	int rc = io_write_full(file, &sim_file_of(file)->owner->io, data, length, offset);

	return rc ? rc : sim_sync(file);
}

/* Records and applies a change of size, or of a range to zeros. */
static int apply_resize(struct sim *sim, uint32_t index, enum sim_event_kind kind, uint64_t offset,
			uint64_t length)
{
	struct sim_inode *inode = &sim->inodes[index];
	uint64_t size = sim_image_size(inode->image), new_size = size;
	struct sim_event *e;
	int rc;

	if (kind == SIM_EV_TRUNCATE)
		new_size = offset;
	else if (kind == SIM_EV_ALLOCATE && offset + length > size)
		new_size = offset + length;
	if (new_size > size && new_size > size_allowed(sim, inode))
		return -ENOSPC;
	rc = flat_prepare(inode, new_size);
	e = event_next(sim, kind, index);
	if (rc || !e)
		return rc ? rc : -ENOMEM;
	e->offset = offset;
	e->length = length;
	if (kind == SIM_EV_PUNCH)
		rc = sim_image_write(&inode->image, NULL, length, offset);
	else
		rc = sim_image_resize(&inode->image, new_size);
	if (!rc && inode->flat)
		rc = flat_resize(inode, new_size);
	if (!rc && inode->flat && kind == SIM_EV_PUNCH)
		memset(inode->flat + offset, 0, length);
	if (!rc)
		sim->event_count++;
	return rc;
}

static int change_size(struct io_file *file, enum sim_site site, enum sim_event_kind kind,
		       uint64_t offset, uint64_t length)
{
	struct sim_file *f = sim_file_of(file);
	struct sim *sim = f->owner->sim;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, site, &effect);
	if (!rc && !f->writable)
		rc = -EBADF;
	if (!rc && kind == SIM_EV_PUNCH) { /* keeps the size */
		uint64_t size = sim_image_size(sim->inodes[f->inode].image);

		if (offset >= size)
			goto out;
		if (length > size - offset)
			length = size - offset;
	}
	if (!rc)
		rc = apply_resize(sim, f->inode, kind, offset, length);
out:
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_truncate(struct io_file *file, uint64_t size)
{
	return change_size(file, SIM_TRUNCATE, SIM_EV_TRUNCATE, size, 0);
}

static int sim_allocate(struct io_file *file, uint64_t offset, uint64_t length)
{
	return change_size(file, SIM_ALLOCATE, SIM_EV_ALLOCATE, offset, length);
}

static int sim_punch(struct io_file *file, uint64_t offset, uint64_t length)
{
	return change_size(file, SIM_ALLOCATE, SIM_EV_PUNCH, offset, length);
}

static int sim_size(struct io_file *file, uint64_t *out)
{
	struct sim_file *f = sim_file_of(file);
	struct sim *sim = f->owner->sim;

	pthread_mutex_lock(&sim->mutex);
	*out = sim_image_size(sim->inodes[f->inode].image);
	pthread_mutex_unlock(&sim->mutex);
	return 0;
}

static int map_locked(struct sim_file *f, uint64_t reserve, const uint8_t **base)
{
	struct sim_inode *inode = &f->owner->sim->inodes[f->inode];
	enum sim_effect effect;
	int rc = fault_at(f->owner->sim, SIM_MAP, &effect);

	if (rc)
		return rc;
	if (f->mapped)
		return -EBUSY;
	reserve = (reserve + SIM_CHUNK - 1) / SIM_CHUNK * SIM_CHUNK;
	if (sim_image_size(inode->image) > reserve)
		return -EFBIG;
	if (inode->flat && inode->flat_reserve < reserve) {
		if (inode->maps)
			return -ENOMEM; /* the other map cannot move */
		rc = sim_inode_fold(inode);
		if (rc)
			return rc;
		flat_free(inode);
	}
	if (!inode->flat)
		rc = flat_make(inode, reserve);
	if (rc)
		return rc;
	f->mapped = 1;
	inode->maps++;
	*base = inode->flat;
	return 0;
}

static int sim_map(struct io_file *file, uint64_t reserve, const uint8_t **base)
{
	struct sim_file *f = sim_file_of(file);
	int rc;

	pthread_mutex_lock(&f->owner->sim->mutex);
	rc = map_locked(f, reserve, base);
	pthread_mutex_unlock(&f->owner->sim->mutex);
	return rc;
}

static int sim_map_grow(struct io_file *file, uint64_t size)
{
	struct sim_file *f = sim_file_of(file);
	struct sim *sim = f->owner->sim;
	const struct sim_inode *inode;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	inode = &sim->inodes[f->inode];
	rc = fault_at(sim, SIM_MAP, &effect);
	if (!rc && (!f->mapped || size > sim_image_size(inode->image)))
		rc = -EINVAL;
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_map_drop(struct io_file *file, uint64_t offset, uint64_t length)
{
	struct sim_file *f = sim_file_of(file);
	int mapped;

	pthread_mutex_lock(&f->owner->sim->mutex);
	mapped = f->mapped;
	pthread_mutex_unlock(&f->owner->sim->mutex);
	return mapped ? 0 : -EINVAL;
}

/* ---- directories ---- */

static int rename_locked(struct sim *sim, const char *from, const char *to)
{
	const struct sim_name *target = sim_names_find(&sim->names, to);
	struct sim_name *source = sim_names_find(&sim->names, from);
	uint32_t inode;
	int rc = check_parent(sim, to);

	if (!source || rc)
		return rc ? rc : -ENOENT;
	if (source->inode == SIM_IS_DIRECTORY)
		return -EOPNOTSUPP;
	if (target && target->inode == SIM_IS_DIRECTORY)
		return -EISDIR;
	if (target && target->inode == source->inode)
		return 0;
	inode = source->inode;
	rc = sim_names_set(&sim->names, to, inode);
	if (rc)
		return rc;
	sim_names_remove(&sim->names, sim_names_find(&sim->names, from));
	return record_names(sim, SIM_EV_RENAME, inode, from, to);
}

static int sim_rename(struct io *io, const char *from, const char *to)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(from);

	if (!rc)
		rc = io_check_name(to);
	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_RENAME, &effect);
	if (!rc)
		rc = rename_locked(sim, from, to);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int unlink_locked(struct sim *sim, const char *name)
{
	struct sim_name *found = sim_names_find(&sim->names, name);
	uint32_t inode;

	if (!found)
		return -ENOENT;
	if (found->inode == SIM_IS_DIRECTORY)
		return -EISDIR;
	inode = found->inode;
	sim_names_remove(&sim->names, found);
	return record_names(sim, SIM_EV_UNLINK, inode, name, NULL);
}

static int sim_unlink(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_UNLINK, &effect);
	if (!rc)
		rc = unlink_locked(sim, name);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_mkdir(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_MKDIR, &effect);
	if (!rc && sim_names_find(&sim->names, name))
		rc = -EEXIST;
	if (!rc)
		rc = check_parent(sim, name);
	if (!rc)
		rc = sim_names_set(&sim->names, name, SIM_IS_DIRECTORY);
	if (!rc)
		rc = record_names(sim, SIM_EV_CREATE, SIM_IS_DIRECTORY, name, NULL);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

/* 0 when `name` ("" too) is a directory. */
static int check_directory(const struct sim *sim, const char *name)
{
	const struct sim_name *found;

	if (!*name)
		return 0;
	found = sim_names_find(&sim->names, name);
	if (!found)
		return -ENOENT;
	return found->inode == SIM_IS_DIRECTORY ? 0 : -ENOTDIR;
}

static int sim_sync_dir(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_SYNC_DIR, &effect);
	if (!rc)
		rc = check_directory(sim, name);
	if (!rc)
		rc = record_names(sim, SIM_EV_NAME_SYNC, 0, name, NULL);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_list(struct io *io, const char *name, int (*each)(void *arg, const char *name),
		    void *arg)
{
	struct sim *sim = sim_io_of(io)->sim;
	struct sim_names names = {0};
	size_t length = strlen(name);
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_OPEN, &effect);
	if (!rc)
		rc = check_directory(sim, name);
	if (!rc)
		rc = sim_names_copy(&names, &sim->names);
	pthread_mutex_unlock(&sim->mutex);
	for (uint32_t i = 0; !rc && i < names.count; i++) {
		const char *text = names.list[i].text;

		if (sim_directory_length(text) == length && !memcmp(text, name, length))
			rc = each(arg, text + length + (length ? 1 : 0));
	}
	free(names.list);
	return rc;
}

static int sim_lock(struct io *io, const char *name, char *holder, size_t holder_size)
{
	struct sim_io *self = sim_io_of(io);
	struct sim *sim = self->sim;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = fault_at(sim, SIM_OPEN, &effect);
	if (rc || !holder)
		goto out;
	if (sim->writer) {
		rc = sim->writer == self ? -EINVAL : -EBUSY;
		if (holder_size) {
			size_t length = strnlen(sim->holder, holder_size - 1);

			memcpy(holder, sim->holder, length);
			holder[length] = 0;
		}
		goto out;
	}
	if (holder_size && !*holder)
		io_describe_process(holder, holder_size);
	memset(sim->holder, 0, sizeof(sim->holder));
	memcpy(sim->holder, holder, strnlen(holder, sizeof(sim->holder) - 1));
	sim->writer = self;
out:
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_space(struct io *io, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct sim *sim = sim_io_of(io)->sim;
	uint64_t used;

	pthread_mutex_lock(&sim->mutex);
	used = bytes_used(sim);
	*total_bytes = sim->limit ? sim->limit : (uint64_t)1 << 40;
	*free_bytes = used < *total_bytes ? *total_bytes - used : 0;
	pthread_mutex_unlock(&sim->mutex);
	return 0;
}

static void sim_destroy(struct io *io)
{
	struct sim_io *self = sim_io_of(io);
	struct sim *sim = self->sim;

	pthread_mutex_lock(&sim->mutex);
	while (self->files)
		file_release(self->files);
	if (sim->writer == self)
		sim->writer = NULL;
	for (uint32_t i = 0; i < sim->inode_count; i++)
		if (sim->inodes[i].sync_failed == self)
			sim->inodes[i].sync_failed = NULL;
	pthread_mutex_unlock(&sim->mutex);
	free(self);
}

static const struct io_ops sim_ops = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.read = sim_read,
	.write = sim_write,
	.read_batch = sim_read_batch,
	.write_batch = sim_write_batch,
	.write_sync = sim_write_sync,
	.sync = sim_sync,
	.truncate = sim_truncate,
	.allocate = sim_allocate,
	.punch = sim_punch,
	.size = sim_size,
	.map = sim_map,
	.map_grow = sim_map_grow,
	.map_drop = sim_map_drop,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.mkdir = sim_mkdir,
	.sync_dir = sim_sync_dir,
	.list = sim_list,
	.lock = sim_lock,
	.space = sim_space,
	.destroy = sim_destroy,
};

/* ---- the disk ---- */

int sim_new(struct sim **out)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return -ENOMEM;
	pthread_mutex_init(&sim->mutex, NULL);
	*out = sim;
	return 0;
}

void sim_free(struct sim *sim)
{
	if (!sim)
		return;
	for (uint64_t i = 0; i < sim->event_count; i++) {
		blob_drop(sim->events[i].blob);
		sim_image_drop(sim->events[i].image);
	}
	for (uint32_t i = 0; i < sim->inode_count; i++) {
		flat_free(&sim->inodes[i]);
		sim_image_drop(sim->inodes[i].image);
		sim_image_drop(sim->inodes[i].base);
	}
	free(sim->events);
	free(sim->inodes);
	free(sim->names.list);
	free(sim->base_names.list);
	pthread_mutex_destroy(&sim->mutex);
	free(sim);
}

int sim_io_new(struct sim *sim, struct io **out)
{
	struct sim_io *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->io.ops = &sim_ops;
	self->sim = sim;
	*out = &self->io;
	return 0;
}

static pthread_mutex_t *mutex_of(const struct sim *sim)
{
	return &((struct sim *)(uintptr_t)sim)->mutex;
}

uint64_t sim_calls(const struct sim *sim, uint32_t sites)
{
	uint64_t calls = 0;

	pthread_mutex_lock(mutex_of(sim));
	for (unsigned site = 0; site < SIM_SITES; site++)
		if (sites & 1u << site)
			calls += sim->calls[site];
	pthread_mutex_unlock(mutex_of(sim));
	return calls;
}

uint64_t sim_syncs_after_failure(const struct sim *sim)
{
	uint64_t count;

	pthread_mutex_lock(mutex_of(sim));
	count = sim->syncs_after_failure;
	pthread_mutex_unlock(mutex_of(sim));
	return count;
}

uint64_t sim_events(const struct sim *sim)
{
	uint64_t count;

	pthread_mutex_lock(mutex_of(sim));
	count = sim->event_count;
	pthread_mutex_unlock(mutex_of(sim));
	return count;
}

int sim_file(struct sim *sim, const char *name, uint8_t **bytes, uint64_t *size)
{
	const struct sim_name *found;
	struct sim_inode *inode;
	int rc = -ENOENT;

	pthread_mutex_lock(&sim->mutex);
	found = sim_names_find(&sim->names, name);
	if (!found || found->inode == SIM_IS_DIRECTORY)
		goto out;
	inode = &sim->inodes[found->inode];
	*size = sim_image_size(inode->image);
	rc = inode->flat ? 0 : flat_make(inode, (*size + SIM_CHUNK) / SIM_CHUNK * SIM_CHUNK);
	if (rc)
		goto out;
	inode->exposed = 1;
	*bytes = inode->flat;
out:
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

void sim_each_file(struct sim *sim, void (*each)(void *arg, const char *name, uint64_t size),
		   void *arg)
{
	uint32_t i = 0;

	for (;; i++) { /* the callback may call any sim function */
		struct sim_name name;
		uint64_t size = 0;
		int more;

		pthread_mutex_lock(&sim->mutex);
		more = i < sim->names.count;
		if (more) {
			name = sim->names.list[i];
			if (name.inode != SIM_IS_DIRECTORY)
				size = sim_image_size(sim->inodes[name.inode].image);
		}
		pthread_mutex_unlock(&sim->mutex);
		if (!more)
			return;
		if (name.inode != SIM_IS_DIRECTORY)
			each(arg, name.text, size);
	}
}

void sim_limit(struct sim *sim, uint64_t bytes)
{
	pthread_mutex_lock(&sim->mutex);
	sim->limit = bytes;
	pthread_mutex_unlock(&sim->mutex);
}
