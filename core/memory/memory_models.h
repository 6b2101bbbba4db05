/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the embedders of a mount and the vectors that each has made: one model for each space of
 *            vectors that can be compared with each other. Private to core/memory.
 *
 *   A directory chooses one of the ways that the mount has set up (`embedder` of its settings,
 *   inherited), the mount's own choice is the standard. What the store has vectors of besides is a
 *   model of before: its texts are embedded again, one after the other, and found by it until then.
 *
 * Records:   (0, COLLECTION, "model" and its number, 4 BE): u32 dimensions, name. Written before the
 *            first vector. (0, COLLECTION, "embedder"): some directory chooses, or chose.
 * Invariants: the vectors of a text are in one model's collection, that of its records. Vectors of two
 *            models are never compared.
 * Threading: the set of models and their embedders are made while the memories are opened, and constant
 *            from then on; members are tagged.
 * Failure:   -errno and a sentence.
 */
#ifndef MNEME_CORE_MEMORY_MEMORY_MODELS_H
#define MNEME_CORE_MEMORY_MEMORY_MODELS_H

#include "core/memory/embedder.h"
#include "core/memory/memory.h"
#include "core/memory/passages.h"
#include "core/memory/questions.h"
#include "core/search/collection.h"

#include <stdatomic.h>

enum { MEMORY_MODELS_MAX = MEMORY_MODELS_SHOWN };

enum memory_way {
	MEMORY_WAY_HASH,
	MEMORY_WAY_BUILTIN,
	MEMORY_WAY_HTTP,
	MEMORY_WAY_COMMAND,
	MEMORY_WAY_NONE,
	MEMORY_WAYS
};

struct memory_model {
	uint32_t number;              /* [I] CRC-32C of the name; in the records */
	_Atomic uint32_t dim;         /* [A] 0: not known yet, or `none` */
	_Atomic int is_noted;         /* [A] its record is there */
	_Atomic uint64_t failed_ms;   /* [A] when its embedder failed last; 0: it works */
	char name[EMBEDDER_NAME];     /* [I] */
	struct embedder *embedder;    /* [I] NULL: it cannot be had here */
	struct embedder_worker *work; /* of the jobs, as is the splitter */
	struct passage_splitter *splitter;
	char why[EMBEDDER_WHY];        /* of the jobs: of its last failure */
	pthread_mutex_t asking;        /* of a question to its embedder */
	struct embedder_worker *query; /* [asking] */
	struct questions questions;
	struct collection *vectors;    /* [index] NULL: none */
};

struct memory_models {
	struct memory_model all[MEMORY_MODELS_MAX];
	unsigned count;
	struct memory_model *ways[MEMORY_WAYS]; /* NULL: not set up at this mount */
	struct memory_model *standard;          /* of these */
	char note[EMBEDDER_WHY];                /* why the standard is not what was asked for */
	_Atomic int chosen;                     /* [A] some directory chooses, or chose */
};

struct memory;
struct memory_options;
struct mneme_error;

int memory_models_open(struct memory *mem, const struct memory_options *options,
		       struct mneme_error *error);
/* Ends every wait for an embedder, from now on. */
void memory_models_stop(struct memory *mem);
void memory_models_close(struct memory *mem);

struct memory_model *memory_model_find(struct memory *mem, uint32_t number);
/* The same for one that the store has vectors of; looks for an embedder of it. While the memories are
 * opened. NULL: no memory, or too many. */
struct memory_model *memory_model_meet(struct memory *mem, uint32_t number, uint32_t dim);
/* The model that the texts of the inode's directory are to be embedded by. NULL: that way is not set up
 * here; `why` (EMBEDDER_WHY bytes, or NULL) says which. */
struct memory_model *memory_model_wanted(struct memory *mem, uint64_t inode, char *why);
/* Learns the dimensions, and sees to its record. By a job. */
int memory_model_ready(struct memory *mem, struct memory_model *m, char *why);
/* 1: its embedder has failed and is not asked again so soon. */
int memory_model_rests(const struct memory_model *m);
void memory_model_failed(struct memory_model *m, const char *why); /* of a question: NULL */
void memory_model_works(struct memory_model *m);
/* The vector of a question, of its dimensions; `m` has an embedder. Who asks the same one takes turns;
 * who asks another one, or none, does not wait for it. After a failure it rests. `why`: EMBEDDER_WHY
 * bytes. */
int memory_model_ask(struct memory_model *m, const char *text, size_t length, float *vector,
		     char *why);
/* Passages that have its vectors. [index] */
uint64_t memory_model_rows(const struct memory_model *m);
/* Its collection, made if need be; the dimensions are known. [index, writing] */
int memory_model_collection(struct memory_model *m);
/* What the models to be embedded by depend on: another number, and all texts are looked at. */
uint32_t memory_models_choice(const struct memory *mem);

static inline uint32_t memory_model_dim(const struct memory_model *m)
{
	return atomic_load_explicit(&m->dim, memory_order_relaxed);
}

#endif
