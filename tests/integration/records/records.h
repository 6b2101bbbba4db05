/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   calls of core/mneme_ioctl.h for the tests of pairs, logs and compare-and-swap writes.
 * Invariants: a call uses the process's one request buffer, which the caller may look at afterwards.
 * Failure:   as ioctl(2): -1 and errno.
 */
#ifndef TESTS_INTEGRATION_RECORDS_H
#define TESTS_INTEGRATION_RECORDS_H

#include "core/mneme_ioctl.h"

#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

union records_request {
	struct mneme_ioc_kv kv;
	struct mneme_ioc_scan scan;
	struct mneme_ioc_log log;
	struct mneme_ioc_write write;
	uint8_t bytes[MNEME_IOC_SIZE_MAX];
};
extern union records_request request;
extern uint8_t records_durability; /* of the calls below: MNEME_IOC_DURABILITY_*, 0 */

/* Sends the first `size` bytes of the request. */
static inline int records_send(int fd, unsigned number, size_t size)
{
	return ioctl(fd, MNEME_IOC_SIZED(number, size), &request);
}

/* A kv request with a value and `room` bytes behind the key (at least the value's). */
static inline int records_kv(int fd, unsigned number, const char *key, const void *value,
			     size_t length, size_t room, uint64_t version)
{
	size_t key_length = strlen(key);

	memset(&request.kv, 0, sizeof request.kv);
	request.kv.version = MNEME_IOC_VERSION;
	request.kv.durability = records_durability;
	request.kv.key_length = (uint16_t)key_length;
	request.kv.value_length = (uint32_t)length;
	request.kv.pair_version = version;
	memcpy(request.kv.data, key, key_length);
	if (length)
		memcpy(request.kv.data + key_length, value, length);
	return records_send(fd, number, sizeof request.kv + key_length + room);
}

static inline int kv_put(int fd, const char *key, const char *value)
{
	return records_kv(fd, MNEME_IOC_NR_KV_PUT, key, value, strlen(value), strlen(value), 0);
}

static inline int kv_swap(int fd, const char *key, uint64_t version, const char *value)
{
	return records_kv(fd, MNEME_IOC_NR_KV_SWAP, key, value, strlen(value), strlen(value),
			  version);
}

static inline int kv_delete(int fd, const char *key)
{
	return records_kv(fd, MNEME_IOC_NR_KV_DELETE, key, NULL, 0, 0, 0);
}

/* The value, NUL-terminated, until the next call; NULL and errno. */
static inline const char *kv_get(int fd, const char *key)
{
	size_t key_length = strlen(key), room = sizeof request - sizeof request.kv - key_length - 1;

	if (records_kv(fd, MNEME_IOC_NR_KV_GET, key, NULL, 0, room, 0))
		return NULL;
	request.kv.data[key_length + request.kv.value_length] = 0;
	return (const char *)request.kv.data + key_length;
}

/* A log request with `length` bytes of data and at least `room` bytes behind the run's name. */
static inline int records_log(int fd, unsigned number, const char *run, const void *data,
			      size_t length, size_t room, uint64_t sequence)
{
	size_t run_length = strlen(run);

	memset(&request.log, 0, sizeof request.log);
	request.log.version = MNEME_IOC_VERSION;
	request.log.durability = records_durability;
	request.log.run_length = (uint16_t)run_length;
	request.log.data_length = (uint32_t)length;
	request.log.sequence = sequence;
	memcpy(request.log.data, run, run_length);
	if (length)
		memcpy(request.log.data + run_length, data, length);
	return records_send(fd, number, sizeof request.log + run_length + room);
}

static inline int log_append(int fd, const char *run, const char *text)
{
	return records_log(fd, MNEME_IOC_NR_LOG_APPEND, run, text, strlen(text), strlen(text), 0);
}

static inline int log_verify(int fd, const char *run)
{
	return records_log(fd, MNEME_IOC_NR_LOG_VERIFY, run, NULL, 0, 0, 0);
}

#endif
