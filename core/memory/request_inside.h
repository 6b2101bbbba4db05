/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: what request.c and request_json.c share. */
#ifndef MNEME_CORE_MEMORY_REQUEST_INSIDE_H
#define MNEME_CORE_MEMORY_REQUEST_INSIDE_H

#include "core/memory/request.h"

/* The sentence, and -EINVAL. */
int request_refuse(struct request *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int request_parse_line(struct request *r, const char *line, size_t length);
int request_parse_json(struct request *r, const char *line, size_t length);

#endif
