/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   memories: keeps passages, vectors and words of every text file current, and searches them.
 * Records:   (i, PASSAGE, -): struct memory_state, then a reason. (i, PASSAGE, part 4 BE):
 *            struct memory_part. (i, VECTOR, part 4 BE): the vector, f16. Links: core/links.h.
 * Invariants: records are the truth; the search indexes are derived from them at open and live in
 *            memory. All records of a file change in one transaction, which checks that the file still
 *            has the version that was read; a file whose version differs is pending, also after a
 *            crash. A deleted file is out of the indexes when memory_drop() returns.
 * Threading: all functions are thread-safe. Files are embedded on the engine's bridge; memory_sync()
 *            raises the priority of what it waits for. Lock order: work, index, then the engine's.
 * Failure:   0 or -errno; a file that cannot be embedded keeps a state with the reason.
 */
#ifndef MNEME_CORE_MEMORY_MEMORY_H
#define MNEME_CORE_MEMORY_MEMORY_H

#include "core/mneme.h"
#include "core/search/quant/quantizer.h"
#include "core/search/vectors.h"

#include <stddef.h>
#include <stdint.h>

enum {
	MEMORY_REASON_MAX = 160,
	MEMORY_NAME_MAX = 128,
	MEMORY_MODELS_SHOWN = 12,
	MEMORY_QUERY_MAX = 4096, /* bytes of a query text */
	MEMORY_RESULTS_MAX = 1000,
	MEMORY_PATH_MAX = 4096,
	MEMORY_SNIPPET_MAX = 200,
	MEMORY_FILE_MAX = 16 << 20, /* bytes of a text that is embedded */
	MEMORY_PARTS_MAX = 4000, /* passages of one file; what is behind them is not searchable */
	MEMORY_FILTERS_MAX = 16, /* of a search */
	MEMORY_DIM_MAX = 4096,   /* of a vector */
	MEMORY_VECTORS_FILE_MAX = 1 << 30, /* bytes of a vector file */
};

enum memory_status {
	MEMORY_PENDING = 0,
	MEMORY_INDEXED = 1,
	MEMORY_SKIPPED = 2, /* with a reason */
	MEMORY_ERROR = 3,   /* with a reason; tried again after the next change or open */
};

/* Stored; little-endian. */
struct memory_state {
	uint64_t version; /* of the inode record that was indexed */
	uint32_t status;  /* enum memory_status */
	uint32_t parts;
	uint32_t dim;
	uint32_t model; /* CRC-32C of the embedder's name */
	uint64_t reserved;
};
_Static_assert(sizeof(struct memory_state) == 32, "memory state");

struct memory_part {
	uint64_t begin, end; /* byte range in the file */
	uint32_t line;       /* of begin, from 1 */
	uint32_t reserved;
	uint8_t hash[16];
};
_Static_assert(sizeof(struct memory_part) == 40, "memory part");

struct memory;
struct embedder_settings;

struct memory_options {
	const char *store; /* directory of the store, for the model */
	const char *model; /* of builtin: file; NULL: $MNEME_MODEL, STORE/model, then none */
	/* Which embedder is the standard, and how http and command are reached; NULL, or kind NULL:
	 * builtin. Borrowed until memory_open() returns. */
	const struct embedder_settings *embedder;
	uint32_t quiet_ms; /* after the last change before a file is embedded; 0: 150 */
	int read_only;
	const char *mounted_at; /* what symbolic links may begin with; or NULL */
	/* Called once after memory_watch(), from a thread of the bridge, soon after a change that
	 * answers may follow from. Or NULL. */
	void (*changed)(void *arg);
	void *changed_arg;
};

/* Builds the indexes from the records, finds what is pending, starts to embed it. */
int memory_open(struct mneme *engine, const struct memory_options *options, struct memory **out,
		struct mneme_error *error);
/* Ends embedding after the step that runs; what is pending then is so at the next open. The engine is
 * still open. Accepts NULL. */
void memory_close(struct memory *mem);
/* Name of the standard embedder, and a sentence when it is not the best one ("" otherwise). */
const char *memory_embedder(const struct memory *mem, const char **note);
/* The name of the embedder that has made a file's vectors, else that of the one that will
 * (MEMORY_NAME_MAX bytes). */
int memory_model_name(struct memory *mem, uint64_t inode, char *name);

/* After a transaction that changed the bytes of a file: it will be embedded when it has been quiet.
 * Cheap, no I/O. */
void memory_touch(struct memory *mem, uint64_t inode);
/* After user.xdg.robots.index of an inode was set or removed, or (`moved`) an inode got into another
 * directory: what is opted out is found no more from now on; its records follow. Cheap. */
void memory_opt(struct memory *mem, int moved);
/* A name has appeared in some directory: links that mention it are looked at again. Cheap. */
void memory_named(struct memory *mem, const char *name);
/* The file has got into another directory, or another name: so its links are. Cheap. */
void memory_moved(struct memory *mem, uint64_t inode);
/* An attribute of a file that is a link: the label follows. Its value is the weight, a number in
 * (0, 1], or empty: 1. -EINVAL. */
#define MEMORY_LINK_PREFIX "user.mneme.link."
int memory_link_weight(const void *value, size_t length, uint16_t *weight);
/* From now on the next change is told (memory_options.changed); that which a search sees that begins
 * now may be told or not. */
void memory_watch(struct memory *mem);
/* Something has changed that answers may follow from, but no file's bytes: names, attributes. */
void memory_changed(struct memory *mem);
/* The file is gone for good: removes it from the indexes. Its records go with its inode's keys. */
void memory_drop(struct memory *mem, uint64_t inode);
/* Embeds the file now if it is pending (0: all pending files). Everything that was touched before is
 * searchable and its records are committed when it returns. */
int memory_sync(struct memory *mem, uint64_t inode);
/* Whether who waits has gone; called some times a second by the thread that waits, without locks. */
typedef int memory_gone(void *arg);
/* memory_sync() for somebody; -EINTR: he has gone. */
int memory_sync_for(struct memory *mem, uint64_t inode, memory_gone *gone, void *arg);
/* 1: memory_sync() has something to wait for. */
int memory_is_behind(struct memory *mem, uint64_t inode);
/* 1: a search may have to wait for another process, which embeds its words. */
int memory_asks_elsewhere(struct memory *mem);
/* Ends all memory_sync() with -ECANCELED, now and from now on: what is pending is left for the next
 * open. Nothing is asked of an embedder any more: searches find by words. */
void memory_release(struct memory *mem);

/* Non-zero: the caller may read that file by a name in that directory. */
typedef int memory_allow(void *arg, uint64_t inode, uint64_t directory);
/* Attributes of a file that say how it is used (core/memory/use.h); of a directory, whether that is
 * learned, and how soon what is not used fades. */
#define MEMORY_PINNED "user.mneme.pinned"         /* "1" */
#define MEMORY_CONFIDENCE "user.mneme.confidence" /* 0 .. 1 */
#define MEMORY_ACCESS_COUNT "user.mneme.access_count"
#define MEMORY_LAST_ACCESS "user.mneme.last_access"
#define MEMORY_CREATED "user.mneme.created"
#define MEMORY_ACTIVATION "user.mneme.activation"
#define MEMORY_SETTING_LEARN "user.mneme.learn"           /* "yes", "no" */
#define MEMORY_SETTING_DECAY "user.mneme.decay"           /* days of a half-life, "never", "no" */
#define MEMORY_SETTING_NEIGHBOURS "user.mneme.neighbours" /* 0 .. 16 */
/* Whether one of these may be set so: -EINVAL; -EPERM: it is computed. 0: it may be set now. */
int memory_use_check(struct memory *mem, const char *name, const void *value, size_t length);
/* What one of those of a file says. -ENODATA: nothing; -ENOENT: it is none of them. */
int memory_use_describe(struct memory *mem, uint64_t inode, const char *name, char *text,
			size_t size);
/* After MEMORY_SETTING_NEIGHBOURS of a directory changed: the files follow. */
void memory_neighbours_changed(struct memory *mem);
/* 1: `value` (32 bytes) is what the inode or the nearest directory above sets. */
int memory_use_setting(struct memory *mem, uint64_t inode, const char *name, char *value);

/* The path from a directory to a file below it (MEMORY_PATH_MAX bytes), by a name that is not opted
 * out and that the caller may use (`allow` NULL: any). *next is 0 for the first such name, and what
 * the call before left there for the one behind it. -EXDEV: there is none (more). */
int memory_path(struct memory *mem, uint64_t inode, uint64_t directory, memory_allow *allow,
		void *arg, int *next, char *path);

/* 1: the caller may know of the file: it has a name that is not opted out and that he may use. */
int memory_is_open_to(struct memory *mem, uint64_t inode, memory_allow *allow, void *arg);

/* mneme_compact() of the engine, and the same for the indexes. */
int memory_compact(struct memory *mem, struct mneme_compacted *out);

/* What user.mneme.state says: "indexed", "pending", "skipped: why", "error: why". */
int memory_describe(struct memory *mem, uint64_t inode, char *text, size_t size);
/* The vector of a part as floats: *dim receives the length. -ENODATA: none. -ERANGE: `capacity`. */
int memory_vector(struct memory *mem, uint64_t inode, uint32_t part, float *vector, size_t capacity,
		  uint32_t *dim);

/* Attributes: of a directory, for the vectors that are brought to it and below; of a file, its vector. */
#define MEMORY_SETTING_DIM "user.mneme.dim"
#define MEMORY_SETTING_METRIC "user.mneme.metric"
#define MEMORY_SETTING_QUANTIZER "user.mneme.quantizer" /* finer codes in their index */
#define MEMORY_SETTING_EMBEDDER "user.mneme.embedder"   /* of the texts in and below a directory */
#define MEMORY_OWN_VECTOR "user.mneme.vector"

/* What user.mneme.vector shows: the vector that was set, the first row of a vector file, else that of the
 * first passage. As memory_vector(). */
int memory_vector_shown(struct memory *mem, uint64_t inode, float *vector, size_t capacity,
			uint32_t *dim);
/* A vector as it may be set: little-endian f32, or [1, 2.5, ...]; `out` has room for MEMORY_DIM_MAX.
 * -EINVAL. */
int memory_vector_parse(const void *value, size_t length, float *out, uint32_t *dim);
/* The collection's settings for an inode: the nearest that are set, upwards from itself. *dim 0: any. */
void memory_collection_of(struct memory *mem, uint64_t inode, uint32_t *dim,
			  enum vectors_metric *metric);
/* The finer codes that an inode's vectors are to have: the nearest setting; 1: there is one. */
int memory_quantizer_of(struct memory *mem, uint64_t inode, enum quantizer_kind *quantizer);
/* 1: by each of its names the inode is opted out of being indexed. */
int memory_is_hidden(struct memory *mem, uint64_t inode);
/* 1: the collection that the file belongs to takes vectors of that dimension. */
int memory_vector_fits(struct memory *mem, uint64_t inode, uint32_t dim);
/* -EINVAL: the value of a directory's setting is none. */
int memory_setting_check(const char *name, const void *value, size_t length);
/* -EINVAL and a sentence (MEMORY_REASON_MAX bytes): no embedder that a directory can choose. 0: it may be
 * set now. */
int memory_embedder_check(struct memory *mem, const void *value, size_t length, char *why);
/* 1: `value` (32 bytes) is what the inode or a directory above chooses. */
int memory_embedder_of(struct memory *mem, uint64_t inode, char *value);
/* After a setting of a directory changed: the files follow. Cheap. */
void memory_settings_changed(struct memory *mem);
/* 1: a file of that name holds vectors. */
int memory_is_vector_name(const char *name);

enum memory_vectors_form { MEMORY_VECTORS_F32, MEMORY_VECTORS_NPY, MEMORY_VECTORS_JSON };
/* All vectors of a file, one behind the other, as a .npy array of rows, or as JSON. *out is of
 * alloc_get(). -ENODATA: it has none. */
int memory_vectors_write(struct memory *mem, uint64_t inode, enum memory_vectors_form form,
			 char **out, size_t *length);

enum memory_mode {
	MEMORY_HYBRID = 0,
	MEMORY_VECTOR,
	MEMORY_LEXICAL,
	MEMORY_SIMILAR, /* as VECTOR, scored by the similarity itself */
};

enum memory_filter_kind {
	MEMORY_FILTER_NAME,      /* value: a pattern of filter_glob() */
	MEMORY_FILTER_TAG,       /* value: the tag */
	MEMORY_FILTER_ATTRIBUTE, /* value: user.NAME=VALUE */
	MEMORY_FILTER_AFTER,     /* changed at time_ns or later */
	MEMORY_FILTER_BEFORE,    /* changed before time_ns */
};

struct memory_filter {
	enum memory_filter_kind kind;
	const char *value;
	int64_t time_ns; /* since 1970, UTC */
};

/* request.h makes one from what a caller wrote. */
struct memory_query {
	const char
		*text; /* UTF-8, or NULL with `like` or `vector`; empty: by filters, newest first */
	size_t length;
	uint64_t like;       /* memories like this file; 0: by text or vector */
	const float *vector; /* of `dim` numbers, or NULL */
	uint32_t dim;
	uint64_t scope; /* directory inode; results lie below it */
	enum memory_mode mode;
	int rank_fusion; /* 1: reciprocal rank instead of standardised scores */
	int associate;   /* 1: what the best hits bring to mind counts, too (memory_associate.c) */
	uint32_t limit;  /* 0: 10 */
	const struct memory_filter *filters;
	unsigned filters_count;
	memory_allow *allow; /* NULL: everything */
	void *allow_arg;
	/* Bytes that say all of the caller that `allow` asks for, but what the store holds: answers are
	 * kept under them. 0 of them: an answer is not kept, unless `allow` is NULL. */
	const void *caller;
	size_t caller_length;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	int uncounted;        /* 1: the answer is for nobody: it is no use of what is in it */
};

struct memory_result {
	uint64_t inode;
	uint64_t begin, end;              /* byte range of the best passage */
	uint32_t part;                    /* its number in the file */
	uint32_t line, line_end;          /* of begin and end, from 1 */
	uint32_t line_match;              /* of the first word of the question in it, else `line` */
	float score;                      /* what the ranking is by */
	float cosine, words;              /* its sources: cosine to the query, BM25 */
	float cosine_part, words_part;    /* what each adds to the score */
	float links_part;                 /* and what came over links */
	float fade_part;                  /* what its not being used takes away; <= 0 */
	uint32_t cosine_rank, words_rank; /* in its own list, from 1; 0: not in it */
	const char *path;                 /* relative to scope; the answer's */
	char snippet[MEMORY_SNIPPET_MAX]; /* one line of text, UTF-8, around the match */
};

struct memory_answer {
	_Atomic uint32_t holders; /* [A] each calls memory_answer_free() */
	uint32_t count;
	int partial;      /* 1: the deadline came first */
	unsigned unasked; /* models whose embedder fails: their texts are found by their words */
	enum memory_mode mode;
	int rank_fusion, associate;
	int fades; /* 1: the order follows from the time, too */
	/* Over the whole collection, what scores are measured against. */
	float words_mean, words_deviation, cosine_mean, cosine_deviation;
	char *paths; /* of the results */
	size_t paths_size;
	struct memory_result results[]; /* best first, one a file; of a vector file each row */
};

/* *out is read only, and freed with memory_answer_free(). -EINVAL: empty query, or a vector of
 * a length that nothing here has; -ENODATA: `like` has no vector. */
int memory_search(struct memory *mem, const struct memory_query *query, struct memory_answer **out);
void memory_answer_share(struct memory_answer *answer); /* one more holder */
void memory_answer_free(struct memory_answer *answer);  /* accepts NULL */

struct memory_stats {
	uint64_t files, passages, pending, embedded, searches, search_ns, embed_ns, bytes;
	uint64_t repeated; /* of the searches: answered as the last time */
	uint64_t
		loaded; /* files whose words and vectors were read again from the store since the open */
	uint64_t former; /* of the passages: by a model that is not wanted any more */
	uint64_t cells;  /* of the index of the vectors; 0: they are scanned */
	/* Vectors that were brought, the cells of their indexes, and how many no index has (yet); `bytes`
	 * has theirs, too, but for what is mapped. */
	uint64_t brought, brought_cells, brought_coded, brought_scanned, mapped;
};
void memory_get_stats(struct memory *mem, struct memory_stats *out);

/* A model that has vectors here. */
struct memory_model_stats {
	char name[MEMORY_NAME_MAX];
	uint64_t passages;
	int is_standard;  /* what is not chosen otherwise is embedded by it */
	int is_wanted;    /* the standard, or some directory may choose it */
	int has_embedder; /* 0: it cannot be had here: found by words, and by memories like it */
	int is_failing;
};
/* The standard first. How many. */
unsigned memory_get_models(struct memory *mem, struct memory_model_stats out[MEMORY_MODELS_SHOWN]);

#endif
