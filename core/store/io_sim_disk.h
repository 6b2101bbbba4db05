/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the inside of the simulated disk, shared by io_sim.c (files, faults), io_sim_names.c
 *            (directories), io_sim_image.c (contents) and io_sim_crash.c (crash states, copies).
 * Invariants: a file's content is an image: a table of 4 KiB chunks, NULL for zeros. Images and
 *            chunks are counted and shared between disks and history, and copied on write, so a
 *            crash state costs what differs, not what is stored. Bytes of the last chunk past the
 *            size are zero. A file that is mapped (or shown by sim_file) has a flat mirror besides,
 *            written together with the image.
 * Threading: the disk's mutex guards all but the counts of images and chunks, which are atomic
 *            because disks in different threads share them.
 * Failure:   -ENOMEM. Memory comes from malloc itself, not through pool/alloc.h: the disk is not
 * part of the program under test, whose allocations are counted and failed there.
 */
#ifndef MNEME_CORE_STORE_IO_SIM_DISK_H
#define MNEME_CORE_STORE_IO_SIM_DISK_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/store/io_sim.h"

enum { SIM_CHUNK = 4096, SIM_SECTOR = 512 };
#define SIM_IS_DIRECTORY UINT32_MAX

struct sim_chunk {
	_Atomic uint32_t refs; /* [A] */
	uint8_t bytes[SIM_CHUNK];
};

struct sim_image {
	_Atomic uint32_t refs; /* [A] changed in place only while 1 */
	uint32_t capacity;     /* entries of chunks */
	uint64_t size;         /* bytes */
	struct sim_chunk *chunks[];
};

/* NULL is the empty image in all of these. */
struct sim_image *sim_image_ref(struct sim_image *image);
void sim_image_drop(struct sim_image *image);
static inline uint64_t sim_image_size(const struct sim_image *image)
{
	return image ? image->size : 0;
}
/* Writes bytes (zeros where data is NULL), growing the size as needed. */
int sim_image_write(struct sim_image **image, const uint8_t *data, uint64_t length,
		    uint64_t offset);
int sim_image_resize(struct sim_image **image, uint64_t size);
/* Copies a range; zeros past the size. */
void sim_image_read(const struct sim_image *image, uint8_t *data, uint64_t length, uint64_t offset);
int sim_bytes_are_zero(const uint8_t *data, uint64_t length);

/* A counted piece of memory: the data of a write, the names of an operation. */
struct sim_blob {
	_Atomic uint32_t refs; /* [A] */
	uint8_t bytes[];
};

enum sim_event_kind {
	SIM_EV_WRITE,
	SIM_EV_TRUNCATE,
	SIM_EV_ALLOCATE,
	SIM_EV_PUNCH,
	SIM_EV_DATA_SYNC,
	SIM_EV_CREATE,
	SIM_EV_RENAME,
	SIM_EV_UNLINK,
	SIM_EV_NAME_SYNC
};

struct sim_event {
	uint32_t kind;
	uint32_t inode;  /* SIM_IS_DIRECTORY: mkdir */
	uint64_t offset; /* truncate: the size */
	uint64_t length;
	struct sim_blob *blob;   /* write: data, NULL for zeros; names: "name" or "from\0to" */
	struct sim_image *image; /* data sync: what it made durable */
};

struct sim_name {
	char text[IO_NAME_MAX + 1];
	uint32_t inode; /* or SIM_IS_DIRECTORY */
};

struct sim_names {
	struct sim_name *list;
	uint32_t count, capacity;
};

struct sim_inode {
	struct sim_image *image; /* present content */
	struct sim_image *base;  /* content when the disk was made (durable) */
	uint8_t *flat;           /* NULL, or the mirror */
	uint64_t flat_reserve;   /* bytes of its address space */
	uint64_t flat_open;      /* accessible bytes, a multiple of SIM_CHUNK */
	uint32_t maps;           /* open maps */
	int exposed;             /* sim_file() gave the mirror away: it may have been changed */
	const void *sync_failed; /* the io whose sync of this file failed */
};

struct sim_fault {
	uint32_t sites;
	uint64_t left; /* 0: disarmed */
	int error;
	enum sim_effect effect;
	int for_good;
};

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

struct sim {
	pthread_mutex_t mutex;
	struct sim_names names;      /* present */
	struct sim_names base_names; /* when the disk was made (durable) */
	struct sim_inode *inodes;
	uint32_t inode_count, inode_capacity;
	struct sim_event *events;
	uint64_t event_count, event_capacity;
	struct sim_fault fault;
	uint64_t calls[SIM_SITES];
	uint64_t syncs_after_failure;
	uint64_t limit;
	const struct sim_io *writer; /* holder of the lock file */
	char holder[256];
	int has_reader; /* as sim_set_reader() said */
	uint64_t reader_mark;
};

struct sim_name *sim_names_find(const struct sim_names *names, const char *text);
/* Sets text -> inode, replacing. */
int sim_names_set(struct sim_names *names, const char *text, uint32_t inode);
void sim_names_remove(struct sim_names *names, struct sim_name *name);
int sim_names_copy(struct sim_names *to, const struct sim_names *from);
/* The length of the directory part of a name; 0 for the store directory. */
size_t sim_directory_length(const char *name);
/* The mirror: made over the present content, freed; its pages below `size` made accessible and
 * those behind given back; and, before a change that leaves the file `size` bytes long, given room
 * or dropped (-EFBIG where a map holds it). */
int sim_flat_make(struct sim_inode *inode, uint64_t reserve);
void sim_flat_free(struct sim_inode *inode);
int sim_flat_resize(struct sim_inode *inode, uint64_t size);
int sim_flat_prepare(struct sim_inode *inode, uint64_t size);
/* Takes changes that were made through a pointer of sim_file() into the image. */
int sim_inode_fold(struct sim_inode *inode);

static inline struct sim_io *sim_io_of(struct io *io)
{
	return (struct sim_io *)(void *)io;
}

/* All of these are called with the mutex held. */

struct sim_blob *sim_blob_new(const void *bytes, size_t length);
struct sim_blob *sim_blob_ref(struct sim_blob *blob);
/* The next event, zeroed, not yet counted; NULL without memory. */
struct sim_event *sim_event_next(struct sim *sim, enum sim_event_kind kind, uint32_t inode);
/* Counts a call; 0 or the negative error to return. `effect` says what happens besides. */
int sim_fault_at(struct sim *sim, enum sim_site site, enum sim_effect *effect);
uint64_t sim_bytes_used(const struct sim *sim);
/* 0 when the directory part of a name is there. */
int sim_check_parent(const struct sim *sim, const char *name);
/* Records a change of one name, or of two (rename: `to`). */
int sim_record_names(struct sim *sim, enum sim_event_kind kind, uint32_t inode, const char *name,
		     const char *to);

/* io.h's operations on names (io_sim_names.c). */
int sim_op_rename(struct io *io, const char *from, const char *to);
int sim_op_unlink(struct io *io, const char *name);
int sim_op_mkdir(struct io *io, const char *name);
int sim_op_sync_dir(struct io *io, const char *name);
int sim_op_list(struct io *io, const char *name, int (*each)(void *arg, const char *name),
		void *arg);
int sim_op_lock(struct io *io, const char *name, char *holder, size_t holder_size);
int sim_op_mark(struct io *io, uint64_t mark);
int sim_op_marked(struct io *io, uint64_t first, uint64_t last);
int sim_op_has_writer(struct io *io);
int sim_op_space(struct io *io, uint64_t *free_bytes, uint64_t *total_bytes);

#endif
