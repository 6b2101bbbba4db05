/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a fuzz target defines besides LLVMFuzzerTestOneInput.
 * Failure:   none.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called with each input; returns 0. Any crash or sanitizer report is a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the `number`-th valid input (from 0) to `buffer` of `capacity` bytes and returns its
 * length, or 0 when there are no more. Deterministic. */
size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity);

#endif
