/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files behind memory.h share.
 */
#ifndef MNEME_CORE_MEMORY_MEMORY_INSIDE_H
#define MNEME_CORE_MEMORY_MEMORY_INSIDE_H

#include "core/bridge/bridge.h"
#include "core/links.h"
#include "core/memory/answers.h"
#include "core/memory/memory.h"
#include "core/memory/memory_models.h"
#include "core/memory/passages.h"
#include "core/memory/spaces.h"
#include "core/memory/together.h"
#include "core/memory/use.h"
#include "core/names.h"
#include "core/search/collection.h"
#include "core/search/fuse.h"
#include "core/search/lexical.h"
#include "core/search/words.h"
#include "pool/lock.h"

#include <pthread.h>
#include <stdatomic.h>

/* Files that wait to be embedded, with the time when they are due. Open addressing. */
struct pending {
	struct lock lock;
	uint64_t *inodes; /* [lock] 0: free */
	uint64_t *due_ms; /* [lock] */
	uint32_t size;    /* [lock] power of two */
	uint32_t cursor;  /* [lock] where the next one is looked for */
	_Atomic uint32_t count;
};

enum { MEMORY_JOBS_MAX = 64 }; /* files in work, and syncs that may wait at a time */

/* Embedding in the background; memory_work.c. */
struct memory_work_task {
	struct bridge_task task; /* first member */
	struct memory *memory;
	enum bridge_priority priority;
	int queued; /* [lock] it is the bridge's */
};
struct memory_work_job {
	uint64_t inode, number;
	struct memory_job *job; /* NULL: not read yet */
};
struct memory_work {
	struct bridge *bridge;         /* [I] NULL: read-only */
	struct bridge_periodic *alarm; /* [I] */
	_Atomic uint64_t armed_ms;     /* [A] */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int running, stop; /* [lock] */
	int released;      /* [lock] nobody may wait any more */
	unsigned turn;     /* [lock] */
	uint64_t born;     /* [lock] number of the newest job */
	struct memory_work_task tasks[BRIDGE_PRIORITIES];
	struct memory_work_job jobs[MEMORY_JOBS_MAX]; /* [lock] oldest first, more or less */
	unsigned count;                               /* [lock] of jobs */
	struct memory_waiter *waiters;                /* [lock] */
	unsigned waiting;                             /* [lock] of waiters */
};

/* What it takes to take words from texts: one for the jobs, of which one runs at a time, and one for
 * queries. */
struct bench {
	pthread_mutex_t lock; /* of queries */
	struct words *words;
	struct words_bag bag; /* of a text; not for queries */
};

/* Work on the indexes that takes seconds; memory_upkeep.c. */
struct upkeep {
	struct bridge_periodic *alarm;  /* [I] NULL: not started */
	_Atomic uint64_t not_before_ns; /* [A] after a failure */
	_Atomic int stop;               /* [A] also ends a build */
	pthread_mutex_t run;            /* the task, or a compaction; taken before all else */
};

/* Words of texts that were just saved; memory_fresh.c. */
struct memory_fresh {
	struct pending waiting;
	struct bridge_periodic *alarm; /* [I] NULL: read-only */
	_Atomic uint64_t armed_ms;     /* [A] */
	struct words *words;           /* of the call that runs, as is the bag */
	struct words_bag bag;
};

/* Who wants to know that answers may have changed; memory_watch.c. */
struct memory_watch {
	struct bridge_periodic *alarm; /* [I] NULL: nobody ever wants to */
	void (*changed)(void *arg);    /* [I] */
	void *arg;                     /* [I] */
	_Atomic int wanted;            /* [A] */
};

/* Files, or vectors that were brought, after which the indexes are saved anew. */
enum { MEMORY_SNAPSHOT_CHANGES = 20000 };

/* The indexes in files. Used by the upkeep's task, and at open and close. */
struct memory_snapshot {
	struct io *io; /* of the store's directory; NULL: the indexes are not kept */
	uint64_t opened_lsn, opened_epoch;
	uint64_t number;
	uint64_t changes;         /* mem->changes of what was saved last; [index] for reading */
	_Atomic uint64_t brought; /* [A] spaces_changes() of the same */
	int is_saved;             /* the files are those of `number` */
	uint32_t models;          /* a bit for each model whose vectors are in files */
	struct spaces_file spaces[SPACES_MAX]; /* that are in files */
	uint32_t spaces_count;
};

struct memory {
	struct mneme *engine; /* [I] */
	struct memory_models models;
	const struct memory_options *models_options; /* while the memories are opened */
	uint32_t quiet_ms;                           /* [I] */
	int read_only;                               /* [I] */
	struct bench work, query;
	struct answers answers;
	_Atomic uint64_t generation; /* [A] changes of what answers follow from, but the engine's */
	pthread_rwlock_t index;
	struct lexical *lexical; /* [index] */
	struct spaces *spaces;   /* [I] vectors that users bring; has its own lock */
	_Atomic int settings;    /* [A] collections changed: vector files are to be looked at */
	struct pending pending;
	struct upkeep upkeep;
	struct memory_work work_queue;
	struct memory_watch watch;
	struct memory_fresh fresh;
	struct memory_snapshot snapshot;
	struct memory_use use;
	struct memory_together together;
	struct pending near_waiting; /* whose neighbours are to be found */
	struct recall *recall;       /* [I] NULL while it is opened and closed */
	uint64_t changes;            /* [index] how often a file was put or removed */
	int is_loaded;               /* [I] the open got as far as that */
	_Atomic int has_errors; /* [A] some file could not be embedded: it is tried again at open */
	_Atomic int mentions;   /* [A] some file has, or had, a link */
	char mounted_at[MEMORY_PATH_MAX]; /* [I] "": nowhere */
	_Atomic int hides;                /* [A] some inode has, or had, user.xdg.robots.index */
	_Atomic uint64_t
		opted; /* [A] ms; when to compare what is opted out with the states; 0: never */
	_Atomic uint64_t embedded, searches, search_ns, embed_ns, files, reread;
};

uint64_t memory_now_ns(void);
/* After a change that answers may follow from and that is no commit: no answer of before is given
 * again. */
static inline void memory_expire(struct memory *mem)
{
	/* release: who reads this generation (memory_version(), acquire) sees the change */
	atomic_fetch_add_explicit(&mem->generation, 1, memory_order_release);
}
/* Reads up to `length` bytes of a file at `offset` from its chunks; holes are zeros. */
int memory_read(struct mneme *engine, uint64_t inode, uint64_t size, uint64_t offset, void *out,
		size_t length);
int memory_inode(struct mneme *engine, uint64_t inode, struct names_inode *out);
int memory_state_get(struct memory *mem, uint64_t inode, struct memory_state *state, char *reason);

/* The newest texts that the query's filters let through, newest first: at most `limit`. [index] */
struct memory_newest {
	uint64_t inode;
	int64_t mtime_ns;
};
int memory_newest(struct memory *mem, const struct memory_query *query, uint32_t limit,
		  struct memory_newest *out, uint32_t *count, int *partial);

#define MEMORY_HIDDEN "opted out by " NAMES_ROBOTS
/* The path from the query's scope to the file by a name that is not opted out, that fits the query's name
 * filters and that the caller may use. -EXDEV: there is none. */
int memory_place(struct memory *mem, uint64_t inode, const struct memory_query *q, char *path,
		 size_t size);

/* What is known of directories for a query: whether they lie in its scope, and are not opted out. */
enum { MEMORY_PLACES_LOG2 = 7 };
struct memory_places {
	struct {
		uint64_t directory; /* 0: none; the last one of its hash */
		int is_inside;
	} known[1 << MEMORY_PLACES_LOG2];
};
/* 1: memory_place() would find a path, for a query without filters. `places` is zero at first, and of one
 * query. */
int memory_is_placed(struct memory *mem, uint64_t inode, const struct memory_query *q,
		     struct memory_places *places);

/* The inode that a path of names leads to from a directory, without following links. Empty names
 * count for nothing. -ENOENT. */
int memory_walk(struct memory *mem, uint64_t from, const char *path, uint64_t *inode);

/* The links that a file has by what it says, sorted; `new` is initialised. `old`: those that are
 * stored. */
int memory_links_gather(struct memory *mem, uint64_t inode, const struct names_inode *record,
			const struct links *old, struct links *new);
/* Brings the links that are stored in line with what the file says now. */
int memory_links_refresh(struct memory *mem, uint64_t inode);
/* At the open: what is mentioned is looked at again, unless the indexes are of now. */
int memory_links_load(struct memory *mem, int caught_up);
/* The directories that an inode has a name in, `max` at most: how many. -ENOENT: none. */
int memory_parents(struct memory *mem, uint64_t inode, uint64_t *directories, uint32_t max);

/* One file from bytes to records and indexes. One step at a time, of all jobs. */
struct memory_job;
/* Reads what the file is now. -ENOENT: it is no file any more, and in no index. */
int memory_job_new(struct memory *mem, uint64_t inode, struct memory_job **out);
/* 1: there is more to do; 0: it is done; -ESTALE: the file was changed meanwhile. */
int memory_job_step(struct memory_job *job);
/* 1: the next step commits and indexes. */
int memory_job_stores(const struct memory_job *job);
void memory_job_free(struct memory_job *job); /* accepts NULL */

/* Starts embedding on the engine's bridge, and ends it. Files still pending are found at the next
 * open. */
int memory_work_start(struct memory *mem);
void memory_work_stop(struct memory *mem);
/* After a file became pending, or a review: it will be due. Cheap. */
void memory_work_add(struct memory *mem, uint64_t due_ms);
/* Within a job: it is to be tried again, some time later. 0 or -ENOMEM. */
int memory_work_later(struct memory *mem, uint64_t inode);
/* Waits until the file (0: all that are pending) is embedded, or who waits has gone (-EINTR; NULL: he
 * does not). */
int memory_work_sync(struct memory *mem, uint64_t inode, memory_gone *gone, void *arg);
void memory_work_release(struct memory *mem);
/* Whether the file waits or is in work; and how many do. */
int memory_work_has(struct memory *mem, uint64_t inode);
uint32_t memory_work_pending(struct memory *mem);

/* The name of an inode's first directory entry (NAMES_NAME_MAX + 2 bytes); its directory, 0: none. */
int memory_name(struct memory *mem, uint64_t inode, char *name);
uint64_t memory_parent(struct memory *mem, uint64_t inode);

/* Vectors that a user brought (memory_vectors.c). */
#define MEMORY_MODEL_ROWS 0x53574f52u /* memory_state.model of such a file: "ROWS" */
struct memory_rows {
	float *values; /* rows x dim; of alloc_get() */
	uint32_t dim, rows;
	uint32_t all; /* rows of the file */
	int is_own;   /* set as an attribute */
};
int memory_metric_parse(const char *text, enum vectors_metric *out);
/* 1: the file brings none. -EINVAL: `why` (VECFILE_WHY bytes) says what is wrong with them. At most
 * `limit` rows (0: all). Free out->values also after a failure. */
int memory_rows_load(struct memory *mem, uint64_t inode, const struct names_inode *record,
		     uint32_t limit, struct memory_rows *out, char *why);
/* Brings `spaces` in line with the file. As memory_rows_load(), but `rows` comes back without values. */
int memory_rows_index(struct memory *mem, uint64_t inode, const struct names_inode *record,
		      struct memory_rows *rows, char *why);
/* The file brings none any more. */
void memory_rows_remove(struct memory *mem, uint64_t inode);
enum { MEMORY_SETTING_MAX = 32 };
/* The value of a directory's attribute as a string; 0 if it is there. */
int memory_setting_get(struct memory *mem, uint64_t inode, const char *name,
		       char value[MEMORY_SETTING_MAX]);
/* As memory_result_locate() for a row of a vector file. 1: it is none. */
int memory_rows_locate(struct memory *mem, uint64_t inode, uint32_t part, struct memory_result *r);

/* Brings the indexes in line with one file: the words of its whole text (NULL: those that are there),
 * the vectors of its parts, by that model (NULL: none). */
int memory_index_put(struct memory *mem, uint64_t inode, uint64_t version,
		     const struct words_bag *words, struct memory_model *model, uint32_t parts,
		     const float *vectors);
/* The words alone, of a file that is not embedded yet; nothing if it has another version by now, or is
 * gone, or its words are there. */
void memory_index_put_words(struct memory *mem, uint64_t inode, uint64_t version,
			    const struct words_bag *words);
/* 1: the words of this version are in the index. */
int memory_index_has_words(struct memory *mem, uint64_t inode, uint64_t version);
void memory_index_remove(struct memory *mem, uint64_t inode);
/* Drops what is dead in the index of the words, where that is much. Takes seconds. */
void memory_index_compact_if_due(struct memory *mem);
/* Builds the index of the vectors anew, and leaves dead ones out, where that is due, or `always`.
 * [upkeep.run] */
int memory_index_build(struct memory *mem, int always);
/* Starts and ends long work on the indexes; _poke() has it looked whether there is some. */
int memory_upkeep_start(struct memory *mem);
void memory_upkeep_stop(struct memory *mem);
void memory_upkeep_poke(struct memory *mem);
/* Starts and ends taking the words of what was just saved; _add: after a change. */
int memory_fresh_start(struct memory *mem);
void memory_fresh_stop(struct memory *mem);
void memory_fresh_add(struct memory *mem, uint64_t inode);
/* Starts and ends telling of changes. */
int memory_watch_start(struct memory *mem, const struct memory_options *options);
void memory_watch_stop(struct memory *mem);
/* Is this version of the file in the indexes, with so many vectors of that model (NULL: words alone)? */
int memory_index_holds(struct memory *mem, uint64_t inode, uint64_t version,
		       const struct memory_model *model, uint32_t vectors);
/* Brings the indexes in line with the store as it is opened, and finds pending files. */
int memory_load(struct memory *mem);
/* 1: the files were of the store as it is; 0: of before, or there are none. */
int memory_snapshot_load(struct memory *mem);
/* `is_final`: no change of the store comes after it. */
void memory_snapshot_save(struct memory *mem, int is_final);
/* 1: much has changed since the last one. */
int memory_snapshot_is_due(struct memory *mem);
/* Makes files pending whose state does not say what memory_is_hidden() says. */
int memory_index_review(struct memory *mem);

/* The words of the first `length` bytes of a file, in place of what the bag held. */
int memory_words_count(struct memory *mem, struct words *words, uint64_t inode, uint64_t length,
		       struct words_bag *bag);

/* A range of a file's bytes. */
struct memory_range {
	uint64_t begin, end;
};
/* The words of a question, and what each is worth. */
struct memory_sought {
	const struct words_bag *bag;
	const float *weights; /* one for each term of the bag */
};
struct memory_match {
	uint32_t range;
	uint64_t
		at; /* the first word of it that was sought; UINT64_MAX: there is none in the text */
};
/* Which of the ranges (ascending; they may overlap) within the first `length` bytes says most of what is
 * sought. */
int memory_words_find(struct memory *mem, struct words *words, uint64_t inode, uint64_t length,
		      const struct memory_sought *sought, const struct memory_range *ranges,
		      uint32_t count, struct memory_match *out);
/* The hits of a search, best first, and whether another file may be one. */
struct memory_ranking {
	struct fuse_hit *hits;
	unsigned *count, capacity;
	search_accept *accept;
	void *arg;
};
/* Adds to their scores what they bring to mind of each other, and what else they do to them. Without
 * the index lock. */
int memory_associate(struct memory *mem, const struct memory_query *q,
		     const struct memory_ranking *ranking);
/* Fills in where in the file r->inode the answer lies, with its lines and snippet: passage `part`,
 * or (-1) the one that says most of what is sought. */
int memory_result_locate(struct memory *mem, const struct memory_sought *sought, int64_t part,
			 struct memory_result *r);

int pending_init(struct pending *p);
void pending_fini(struct pending *p);
/* 0 or -ENOMEM. */
int pending_add(struct pending *p, uint64_t inode, uint64_t due_ms);
int pending_remove(struct pending *p, uint64_t inode);
int pending_has(struct pending *p, uint64_t inode);
/* All of them: *out is the caller's. */
int pending_list(struct pending *p, uint64_t **out, uint32_t *count);
/* Takes one that is due at `now_ms` out: its inode, or 0 with *next_ms the earliest time (0: none). */
uint64_t pending_take(struct pending *p, uint64_t now_ms, uint64_t *next_ms);
/* 1: there is one that pending_take() would take; 0 with *next_ms as there. */
int pending_due(struct pending *p, uint64_t now_ms, uint64_t *next_ms);

static inline struct mneme_key memory_key(uint64_t inode, enum mneme_type type, uint32_t part,
					  uint8_t sub[4])
{
	uint32_t big = __builtin_bswap32(part);

	memcpy(sub, &big, 4);
	return (struct mneme_key){.inode = inode, .type = type, .sub = sub, .sub_length = 4};
}

#endif
