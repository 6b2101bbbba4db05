/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   names of the simulated disk: directories, renames, the lock file.
 * Invariants: a name is there only while its directory is. Every change of a name is one event.
 * Threading: as io_sim_disk.h: everything under the disk's mutex; `list` calls back without it.
 * Failure:   as io.h. Directories cannot be renamed (-EOPNOTSUPP).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/io_sim_disk.h"

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

int sim_check_parent(const struct sim *sim, const char *name)
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

int sim_record_names(struct sim *sim, enum sim_event_kind kind, uint32_t inode, const char *name,
		     const char *to)
{
	struct sim_event *e = sim_event_next(sim, kind, inode);
	char both[2 * (IO_NAME_MAX + 1)];
	size_t length = strlen(name) + 1;

	memcpy(both, name, length);
	if (to) {
		memcpy(both + length, to, strlen(to) + 1);
		length += strlen(to) + 1;
	}
	if (e)
		e->blob = sim_blob_new(both, length);
	if (!e || !e->blob)
		return -ENOMEM;
	sim->event_count++;
	return 0;
}

static int rename_locked(struct sim *sim, const char *from, const char *to)
{
	const struct sim_name *target = sim_names_find(&sim->names, to);
	struct sim_name *source = sim_names_find(&sim->names, from);
	uint32_t inode;
	int rc = sim_check_parent(sim, to);

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
	return sim_record_names(sim, SIM_EV_RENAME, inode, from, to);
}

int sim_op_rename(struct io *io, const char *from, const char *to)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(from);

	if (!rc)
		rc = io_check_name(to);
	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_RENAME, &effect);
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
	return sim_record_names(sim, SIM_EV_UNLINK, inode, name, NULL);
}

int sim_op_unlink(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_UNLINK, &effect);
	if (!rc)
		rc = unlink_locked(sim, name);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

int sim_op_mkdir(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc = io_check_name(name);

	if (rc)
		return rc;
	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_MKDIR, &effect);
	if (!rc && sim_names_find(&sim->names, name))
		rc = -EEXIST;
	if (!rc)
		rc = sim_check_parent(sim, name);
	if (!rc)
		rc = sim_names_set(&sim->names, name, SIM_IS_DIRECTORY);
	if (!rc)
		rc = sim_record_names(sim, SIM_EV_CREATE, SIM_IS_DIRECTORY, name, NULL);
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

int sim_op_sync_dir(struct io *io, const char *name)
{
	struct sim *sim = sim_io_of(io)->sim;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_SYNC_DIR, &effect);
	if (!rc)
		rc = check_directory(sim, name);
	if (!rc)
		rc = sim_record_names(sim, SIM_EV_NAME_SYNC, 0, name, NULL);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

int sim_op_list(struct io *io, const char *name, int (*each)(void *arg, const char *name),
		void *arg)
{
	struct sim *sim = sim_io_of(io)->sim;
	struct sim_names names = {0};
	size_t length = strlen(name);
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_OPEN, &effect);
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

int sim_op_lock(struct io *io, const char *name, char *holder, size_t holder_size)
{
	struct sim_io *self = sim_io_of(io);
	struct sim *sim = self->sim;
	enum sim_effect effect;
	int rc;

	pthread_mutex_lock(&sim->mutex);
	rc = sim_fault_at(sim, SIM_OPEN, &effect);
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

int sim_op_mark(struct io *io, uint64_t mark)
{
	(void)io;
	(void)mark;
	return 0;
}

int sim_op_marked(struct io *io, uint64_t first, uint64_t last)
{
	struct sim *sim = sim_io_of(io)->sim;

	pthread_mutex_lock(&sim->mutex);
	int found = sim->has_reader && first <= sim->reader_mark && sim->reader_mark <= last;
	pthread_mutex_unlock(&sim->mutex);
	return found;
}

int sim_op_has_writer(struct io *io)
{
	struct sim_io *self = sim_io_of(io);

	pthread_mutex_lock(&self->sim->mutex);
	int found = self->sim->writer && self->sim->writer != self;
	pthread_mutex_unlock(&self->sim->mutex);
	return found;
}

int sim_op_space(struct io *io, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct sim *sim = sim_io_of(io)->sim;
	uint64_t used;

	pthread_mutex_lock(&sim->mutex);
	used = sim_bytes_used(sim);
	*total_bytes = sim->limit ? sim->limit : (uint64_t)1 << 40;
	*free_bytes = used < *total_bytes ? *total_bytes - used : 0;
	pthread_mutex_unlock(&sim->mutex);
	return 0;
}
