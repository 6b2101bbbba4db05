/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the batcher has to know of the machine: caches and cores, from libcpuid, or from
 *            sysconf(3) where libcpuid knows nothing; and the memory's bandwidth, by trying.
 * Threading: the functions may be called by any thread; the answers never change.
 * Failure:   what nobody knows gets the value of a small machine, never 0.
 */
#ifndef MNEME_CORE_BRIDGE_MACHINE_H
#define MNEME_CORE_BRIDGE_MACHINE_H

#include <stddef.h>
#include <stdint.h>

struct machine_facts {
	size_t l1d_bytes; /* of one core */
	size_t l2_bytes;  /* of one core */
	size_t l3_bytes;  /* shared */
	unsigned cores;   /* that this process may use */
};

const struct machine_facts *machine_facts(void);
/* What one core reads from memory, in bytes a microsecond; measured by the first call (tens of
 * milliseconds), and never 0. */
uint64_t machine_bandwidth(void);

#endif
