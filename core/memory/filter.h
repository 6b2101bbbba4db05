/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the filters of a search (memory.h: struct memory_filter): does a file fit?
 * Threading: thread-safe; reads single records.
 * Failure:   what cannot be read does not fit.
 */
#ifndef MNEME_CORE_MEMORY_FILTER_H
#define MNEME_CORE_MEMORY_FILTER_H

#include "core/memory/memory.h"

/* 1: the path (relative to the scope) fits the query's name filters, or there are none. */
int filter_name(const struct memory_query *q, const char *path);
/* 1: the file fits all other filters. */
int filter_file(struct memory *mem, const struct memory_query *q, uint64_t inode);

/* Shell pattern: * ? [a-z] [!a-z] \c; '?' is one character of UTF-8, '*' also goes over '/'. */
int filter_glob(const char *pattern, const char *name);
/* 1: the front matter at the start of a markdown text has that tag. `text` ends with a zero byte. */
int filter_front_matter(const char *text, size_t length, const char *tag);

#endif
