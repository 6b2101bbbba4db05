/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   SEARCH_CLONES lets the compiler make a loop for several instruction sets and choose
 *            when the program starts, for loops too particular to be kernels of simd/. Not under
 *            the sanitizers, which are not ready when the choice is made.
 */
#ifndef MNEME_CORE_SEARCH_CLONES_H
#define MNEME_CORE_SEARCH_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SEARCH_CLONES                                                                              \
	__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3", "fast-math")))
#else
#define SEARCH_CLONES
#endif

#endif
