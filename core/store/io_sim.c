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
 *            cannot be renamed (-EOPNOTSUPP). Destroying an io frees what it left open, as the
 * death of a process does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/io_sim_disk.h"
#include "pool/check.h"

static struct sim_file *sim_file_of(struct io_file *file)
{
	return (struct sim_file *)(void *)file;
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

struct sim_blob *sim_blob_new(const void *bytes, size_t length)
{
	struct sim_blob *blob = malloc(sizeof(*blob) + length);

	if (blob) {
		atomic_init(&blob->refs, 1);
		memcpy(blob->bytes, bytes, length);
	}
	return blob;
}

struct sim_event *sim_event_next(struct sim *sim, enum sim_event_kind kind, uint32_t inode)
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

/* ---- faults ---- */

int sim_fault_at(struct sim *sim, enum sim_site site, enum sim_effect *effect)
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

/* ---- files ---- */

uint64_t sim_bytes_used(const struct sim *sim)
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
	used = sim_bytes_used(sim);
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
	rc = sim_check_parent(sim, name);
	if (!rc && !(flags & IO_CREATE))
		rc = -ENOENT;
	if (!rc)
		rc = inode_new(sim, inode);
	if (!rc)
		rc = sim_names_set(&sim->names, name, *inode);
	return rc ? rc : sim_record_names(sim, SIM_EV_CREATE, *inode, name, NULL);
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
	rc = sim_fault_at(sim, SIM_OPEN, &effect);
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
	int rc = sim_fault_at(sim, SIM_READ, &effect);

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
	int rc = sim_flat_prepare(inode, offset + length);

	if (rc)
		return rc;
	e = sim_event_next(sim, SIM_EV_WRITE, index);
	if (e && !zeros)
		e->blob = sim_blob_new(data, length);
	if (!e || (!zeros && !e->blob))
		return -ENOMEM;
	e->offset = offset;
	e->length = length;
	rc = sim_image_write(&inode->image, zeros ? NULL : data, length, offset);
	if (!rc && inode->flat && offset + length > size)
		rc = sim_flat_resize(inode, offset + length);
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
	int fault = sim_fault_at(sim, SIM_WRITE, &effect), rc;

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
	int rc = sim_fault_at(sim, SIM_SYNC, &effect);

	if (inode->sync_failed == f->owner)
		sim->syncs_after_failure++;
	if (rc) {
		inode->sync_failed = f->owner;
		return rc;
	}
	rc = sim_inode_fold(inode);
	e = sim_event_next(sim, SIM_EV_DATA_SYNC, f->inode);
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
	rc = sim_flat_prepare(inode, new_size);
	e = sim_event_next(sim, kind, index);
	if (rc || !e)
		return rc ? rc : -ENOMEM;
	e->offset = offset;
	e->length = length;
	if (kind == SIM_EV_PUNCH)
		rc = sim_image_write(&inode->image, NULL, length, offset);
	else
		rc = sim_image_resize(&inode->image, new_size);
	if (!rc && inode->flat)
		rc = sim_flat_resize(inode, new_size);
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
	rc = sim_fault_at(sim, site, &effect);
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
	int rc = sim_fault_at(f->owner->sim, SIM_MAP, &effect);

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
		sim_flat_free(inode);
	}
	if (!inode->flat)
		rc = sim_flat_make(inode, reserve);
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
	rc = sim_fault_at(sim, SIM_MAP, &effect);
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
	.rename = sim_op_rename,
	.unlink = sim_op_unlink,
	.mkdir = sim_op_mkdir,
	.sync_dir = sim_op_sync_dir,
	.list = sim_op_list,
	.lock = sim_op_lock,
	.mark = sim_op_mark,
	.marked = sim_op_marked,
	.has_writer = sim_op_has_writer,
	.space = sim_op_space,
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
		sim_flat_free(&sim->inodes[i]);
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
	rc = inode->flat ? 0 : sim_flat_make(inode, (*size + SIM_CHUNK) / SIM_CHUNK * SIM_CHUNK);
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

void sim_set_reader(struct sim *sim, int present, uint64_t mark)
{
	pthread_mutex_lock(&sim->mutex);
	sim->has_reader = present;
	sim->reader_mark = mark;
	pthread_mutex_unlock(&sim->mutex);
}

void sim_limit(struct sim *sim, uint64_t bytes)
{
	pthread_mutex_lock(&sim->mutex);
	sim->limit = bytes;
	pthread_mutex_unlock(&sim->mutex);
}
