/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: a folder for each test of a program that links the shared library. */
#ifndef MNEME_TESTS_UNIT_LIBRARY_H
#define MNEME_TESTS_UNIT_LIBRARY_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FOLDER_SIZE = 300, PATH_SIZE = FOLDER_SIZE + 20 };

static inline void folder_make(char folder[FOLDER_SIZE])
{
	const char *base = getenv("TMPDIR");

	snprintf(folder, FOLDER_SIZE, "%.250s/test_library.XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void folder_remove(const char folder[FOLDER_SIZE])
{
	char command[FOLDER_SIZE + 20];

	snprintf(command, sizeof command, "rm -r '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

#endif
