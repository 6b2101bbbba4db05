/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the parts of the checkpoint share.
 */
#ifndef MNEME_CORE_STORE_CHECKPOINT_INSIDE_H
#define MNEME_CORE_STORE_CHECKPOINT_INSIDE_H

#include "core/store/checkpoint.h"
#include "core/store/held.h"
#include "core/store/value.h"

enum { STAGE_BYTES = 1 << 20 };

/* Places runs one behind the other and writes them in long pieces. */
struct stage {
	uint8_t *bytes;       /* STAGE_BYTES, page-aligned */
	uint32_t used;        /* bytes */
	uint64_t page;        /* heap page of bytes[0] */
	uint64_t extent;      /* next page of the extent in hand */
	uint32_t extent_left; /* pages */
	uint64_t wanted;      /* pages that are still to come */
	int full;             /* the heap has refused to grow, in this shard */
	int failed;           /* a write failed, for want of space too: what was in hand is lost */
	int scattered;        /* a value was scattered since the store was opened */
};

struct checkpoint {
	pthread_mutex_t run;        /* one checkpoint at a time */
	pthread_mutex_t compacting; /* one compaction at a time; taken before `run` */
	_Atomic uint64_t begun;     /* checkpoints started */
	_Atomic uint64_t spills;    /* spills started */
	_Atomic int spilled;        /* [A] since the last durable checkpoint; written under `run` */
	int result;                 /* [run] of the last one */
	struct io_file *super_file; /* [I] */
	uint8_t *super_page;        /* [run] 4096 bytes */
	struct fmt_super next;      /* [run] the superblock in the making */
	uint32_t super_copy;        /* [I] place of the superblock found at opening */
	int super_alone;            /* [I] the other place did not hold the same */
	struct fmt_bitmap *bitmap;  /* [run] 4096 bytes */
	struct fmt_space *table;    /* [run] table_groups entries */
	uint32_t table_groups;      /* [run] */
	uint8_t *compressed;        /* [run] FMT_VALUE_MAX bytes */
	struct stage stage;         /* [run] */
	uint64_t birth;             /* [run] of what is placed */
	struct held held;           /* [run] */
	struct {
		_Atomic uint64_t count, pages, ns_last, freeze_ns_last, freeze_ns_max;
	} stats;                      /* [A] written under `run` alone */
	_Atomic uint64_t log_begin;   /* LSN of the last checkpoint */
	uint64_t named_next;          /* [run] bytes of runs that were named when it froze */
	_Atomic uint64_t named_begin; /* of the last checkpoint */
};

/* Writes the closed slots of a shard; *root receives its root's reference. [run] */
int place_shard(struct mneme *m, struct shard *s, uint64_t *root);
/* Writes the dictionary where the superblock lacks a copy of it. [run] */
int place_dictionary(struct mneme *m, struct fmt_super *super);
int checkpoint_run_as(struct mneme *m, int clean);

#endif
