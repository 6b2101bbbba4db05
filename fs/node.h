/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the inodes that the kernel knows: how often it was told of each (nlookup), the log
 *            position of the last change (what fsync waits for), and whether it lost its last name.
 * Invariants: a node exists exactly while its nlookup > 0. Nodes come from slabs that are kept, so
 *            a warm table allocates nothing.
 * Threading: thread-safe; one leaf lock for each of NODE_PARTS parts.
 * Failure:   -ENOMEM from node_ref().
 */
#ifndef MNEME_FS_NODE_H
#define MNEME_FS_NODE_H

#include <stdint.h>

struct node_table;

int node_table_new(struct node_table **out);
void node_table_free(struct node_table *table);

/* One more reference of the kernel. */
int node_ref(struct node_table *table, uint64_t ino);
/* `count` fewer. Returns 1 when that was the last one of an orphan: remove it now. */
int node_unref(struct node_table *table, uint64_t ino, uint64_t count);
/* The inode lost its last name (orphan 1) or got one again (0). Returns 1 if an orphan is not known to
 * the kernel: remove it now. */
int node_set_orphan(struct node_table *table, uint64_t ino, int orphan);
/* A change of the inode is in the log below `lsn`. */
void node_set_lsn(struct node_table *table, uint64_t ino, uint64_t lsn);
/* Position up to which the log holds all changes of the inode; at least that. */
uint64_t node_get_lsn(struct node_table *table, uint64_t ino);
/* Number of nodes now. */
uint64_t node_count(struct node_table *table);

#endif
