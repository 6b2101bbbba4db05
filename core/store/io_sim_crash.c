/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   from the history of a simulated disk to the states that a power loss could leave.
 * Invariants: what a sync covers is never lost: each data sync holds the image that it made
 * durable, and a later sync of a name's directory makes that name durable. Everything else is
 *            decided event by event, in order, by the kind of crash and the seed alone, so a state
 *            can be built again from (point, kind, seed). A rename is kept or lost as a whole. A
 *            name whose directory was lost is lost with it.
 * Threading: takes the disk's mutex; the new disk belongs to the caller.
 * Failure:   -ENOMEM, -EINVAL for a point past the history.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/io_sim_disk.h"

struct crash {
	const struct sim *from;
	struct sim *to;
	uint64_t point;
	enum sim_crash kind;
	uint64_t random;    /* state of the generator */
	uint32_t keep_odds; /* of 256: that an un-synced change survives */
	uint64_t *synced;   /* for each inode: 1 + the event of its last sync, or 0 */
	const char **dirs;  /* scratch: directories synced behind an event */
	uint8_t *durable;   /* for each event: a name change that a directory sync covers */
};

/* splitmix64 */
static uint64_t next_random(struct crash *c)
{
	uint64_t z = c->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int survives(struct crash *c)
{
	return (next_random(c) & 255) < c->keep_odds;
}

static int is_name_event(const struct sim_event *e)
{
	return e->kind == SIM_EV_CREATE || e->kind == SIM_EV_RENAME || e->kind == SIM_EV_UNLINK;
}

static const char *event_name(const struct sim_event *e)
{
	return (const char *)e->blob->bytes;
}

static int names_a_directory(const char *synced, const char *name)
{
	size_t length = sim_directory_length(name);

	return strlen(synced) == length && !memcmp(synced, name, length);
}

/* Is the directory of `name` among the synced ones? */
static int is_synced(const char *const *synced, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (names_a_directory(synced[i], name))
			return 1;
	return 0;
}

/* Backwards over the history: what is covered by a later sync. */
static void find_durable(struct crash *c)
{
	unsigned dir_count = 0;

	for (uint64_t i = c->point; i-- > 0;) {
		const struct sim_event *e = &c->from->events[i];

		if (e->kind == SIM_EV_DATA_SYNC && !c->synced[e->inode]) {
			c->synced[e->inode] = i + 1;
		} else if (e->kind == SIM_EV_NAME_SYNC) {
			unsigned known = 0;

			while (known < dir_count && strcmp(c->dirs[known], event_name(e)))
				known++;
			if (known == dir_count)
				c->dirs[dir_count++] = event_name(e);
		} else if (is_name_event(e)) {
			const char *name = event_name(e);

			c->durable[i] = (uint8_t)is_synced(c->dirs, dir_count, name);
			if (e->kind == SIM_EV_RENAME)
				c->durable[i] &= (uint8_t)is_synced(c->dirs, dir_count,
								    name + strlen(name) + 1);
		}
	}
}

static int replay_name(struct crash *c, const struct sim_event *e, int durable)
{
	struct sim_names *names = &c->to->names;
	const char *name = event_name(e), *to = name + strlen(name) + 1;
	struct sim_name *found;

	if (!durable) {
		if (c->kind == SIM_CRASH_NONE_KEPT || c->kind == SIM_CRASH_NAMES_LOST)
			return 0;
		if ((c->kind == SIM_CRASH_SUBSET || c->kind == SIM_CRASH_TORN) && !survives(c))
			return 0;
	}
	if (e->kind == SIM_EV_CREATE)
		return sim_names_set(names, name, e->inode);
	found = sim_names_find(names, name);
	if (found && found->inode == e->inode)
		sim_names_remove(names, found);
	return e->kind == SIM_EV_RENAME ? sim_names_set(names, to, e->inode) : 0;
}

/* Writes a random part of a write's sectors: a prefix, a suffix, or any of them. */
static int replay_torn(struct crash *c, struct sim_image **image, const struct sim_event *e)
{
	uint64_t first = e->offset / SIM_SECTOR;
	uint64_t sectors = (e->offset + e->length + SIM_SECTOR - 1) / SIM_SECTOR - first;
	uint64_t how = next_random(c) & 3, cut = next_random(c) % (sectors + 1);
	uint64_t end = e->offset + e->length;
	int rc = 0;

	if (end > sim_image_size(*image))
		rc = sim_image_resize(image, end);
	for (uint64_t s = 0; !rc && s < sectors; s++) {
		uint64_t from = (first + s) * SIM_SECTOR, to = from + SIM_SECTOR;
		int keep = how == 0 ? s < cut : how == 1 ? s >= cut : (int)(next_random(c) & 1);

		if (from < e->offset)
			from = e->offset;
		if (to > end)
			to = end;
		if (keep)
			rc = sim_image_write(image,
					     e->blob ? e->blob->bytes + (from - e->offset) : NULL,
					     to - from, from);
	}
	return rc;
}

/* The size of a change survives, its data does not. */
static int replay_size(struct sim_image **image, const struct sim_event *e)
{
	uint64_t end = e->offset + e->length;

	if (e->kind == SIM_EV_TRUNCATE)
		return sim_image_resize(image, e->offset);
	if (e->kind != SIM_EV_PUNCH && end > sim_image_size(*image))
		return sim_image_resize(image, end);
	return 0;
}

static int replay_whole(struct sim_image **image, const struct sim_event *e)
{
	if (e->kind == SIM_EV_WRITE)
		return sim_image_write(image, e->blob ? e->blob->bytes : NULL, e->length,
				       e->offset);
	if (e->kind == SIM_EV_PUNCH)
		return sim_image_write(image, NULL, e->length, e->offset);
	return replay_size(image, e);
}

/* One change of data or size that no sync covers. */
static int replay_data(struct crash *c, const struct sim_event *e)
{
	struct sim_image **image = &c->to->inodes[e->inode].image;

	switch (c->kind) {
	case SIM_CRASH_NONE_KEPT:
		return 0;
	case SIM_CRASH_ALL_KEPT:
	case SIM_CRASH_NAMES_LOST:
		return replay_whole(image, e);
	case SIM_CRASH_SIZE_ONLY:
		return replay_size(image, e);
	default:
		if (!survives(c)) /* a lost write may leave its size behind */
			return e->kind == SIM_EV_WRITE && (next_random(c) & 1)
				       ? replay_size(image, e)
				       : 0;
		if (c->kind == SIM_CRASH_TORN && e->kind == SIM_EV_WRITE && (next_random(c) & 3))
			return replay_torn(c, image, e);
		return replay_whole(image, e);
	}
}

static int replay(struct crash *c)
{
	int rc = 0;

	for (uint64_t i = 0; !rc && i < c->point; i++) {
		const struct sim_event *e = &c->from->events[i];

		if (is_name_event(e))
			rc = replay_name(c, e, c->durable[i]);
		else if (e->kind <= SIM_EV_PUNCH && i + 1 > c->synced[e->inode])
			rc = replay_data(c, e);
	}
	return rc;
}

/* Drops names whose directory is not there, however deep. */
static void drop_orphans(struct sim_names *names)
{
	uint32_t before;

	do {
		before = names->count;
		for (uint32_t i = names->count; i-- > 0;) {
			char directory[IO_NAME_MAX + 1];
			size_t length = sim_directory_length(names->list[i].text);

			memcpy(directory, names->list[i].text, length);
			directory[length] = 0;
			if (length && !sim_names_find(names, directory))
				sim_names_remove(names, &names->list[i]);
		}
	} while (names->count < before);
}

/* What is there now is what the new disk starts with. */
static int settle(struct sim *to)
{
	drop_orphans(&to->names);
	for (uint32_t i = 0; i < to->inode_count; i++) {
		struct sim_inode *inode = &to->inodes[i];
		uint32_t n = 0;

		while (n < to->names.count && to->names.list[n].inode != i)
			n++;
		if (n == to->names.count) {
			sim_image_drop(inode->image);
			inode->image = NULL;
		}
		inode->base = sim_image_ref(inode->image);
	}
	return sim_names_copy(&to->base_names, &to->names);
}

static int make_inodes(struct sim *to, uint32_t count)
{
	to->inodes = calloc(count ? count : 1, sizeof(*to->inodes));
	if (!to->inodes)
		return -ENOMEM;
	to->inode_count = to->inode_capacity = count;
	return 0;
}

static int build(struct crash *c)
{
	const struct sim *from = c->from;
	int rc = make_inodes(c->to, from->inode_count);

	if (rc)
		return rc;
	find_durable(c);
	for (uint32_t i = 0; i < from->inode_count; i++)
		c->to->inodes[i].image = sim_image_ref(
			c->synced[i] ? from->events[c->synced[i] - 1].image : from->inodes[i].base);
	rc = sim_names_copy(&c->to->names, &from->base_names);
	if (!rc)
		rc = replay(c);
	return rc ? rc : settle(c->to);
}

int sim_crash(const struct sim *sim, uint64_t point, enum sim_crash kind, uint64_t seed,
	      struct sim **out)
{
	pthread_mutex_t *mutex = &((struct sim *)(uintptr_t)sim)->mutex;
	struct crash c = {.from = sim, .point = point, .kind = kind, .random = seed};
	int rc = sim_new(&c.to);

	if (rc)
		return rc;
	c.keep_odds = 64 + 64 * (uint32_t)(next_random(&c) % 3);
	pthread_mutex_lock(mutex);
	if (point > sim->event_count) {
		rc = -EINVAL;
		goto out;
	}
	c.synced = calloc(sim->inode_count + 1, sizeof(*c.synced));
	c.durable = calloc(point + 1, 1);
	c.dirs = malloc((point + 1) * sizeof(*c.dirs));
	rc = c.synced && c.durable && c.dirs ? build(&c) : -ENOMEM;
out:
	pthread_mutex_unlock(mutex);
	free(c.dirs);
	free(c.durable);
	free(c.synced);
	if (rc)
		sim_free(c.to);
	else
		*out = c.to;
	return rc;
}

static int copy_all(struct sim *to, struct sim *from)
{
	int rc = make_inodes(to, from->inode_count);

	for (uint32_t i = 0; !rc && i < from->inode_count; i++) {
		rc = sim_inode_fold(&from->inodes[i]);
		to->inodes[i].image = sim_image_ref(from->inodes[i].image);
		to->inodes[i].base = sim_image_ref(from->inodes[i].base);
	}
	if (!rc)
		rc = sim_names_copy(&to->names, &from->names);
	if (!rc)
		rc = sim_names_copy(&to->base_names, &from->base_names);
	if (rc)
		return rc;
	to->events = malloc((from->event_count + 1) * sizeof(*to->events));
	if (!to->events)
		return -ENOMEM;
	to->event_capacity = from->event_count + 1;
	for (; to->event_count < from->event_count; to->event_count++) {
		struct sim_event *e = &to->events[to->event_count];

		*e = from->events[to->event_count];
		e->blob = sim_blob_ref(e->blob);
		e->image = sim_image_ref(e->image);
	}
	return 0;
}

int sim_clone(const struct sim *sim, struct sim **out)
{
	struct sim *from = (struct sim *)(uintptr_t)sim, *to;
	int rc = sim_new(&to);

	if (rc)
		return rc;
	pthread_mutex_lock(&from->mutex);
	rc = copy_all(to, from);
	to->limit = from->limit;
	pthread_mutex_unlock(&from->mutex);
	if (rc)
		sim_free(to);
	else
		*out = to;
	return rc;
}
