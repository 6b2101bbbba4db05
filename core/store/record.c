/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   records of the log; see record.h.
 */
#include "core/store/record.h"
#include "pool/check.h"

#include <errno.h>

static uint32_t op_bytes(const struct commit_op *op)
{
	return sizeof(struct fmt_op) + op->key.sub_length +
	       (op->run ? sizeof(struct fmt_run) : op->length) +
	       (op->kind == FMT_OP_DELETE_RANGE ? FMT_KEY_HEAD + op->last.sub_length : 0);
}

static uint8_t *op_write(uint8_t *at, const struct commit_op *op)
{
	struct fmt_op head = {.kind = op->kind,
			      .type = op->key.type,
			      .sub_length = op->key.sub_length,
			      .value_length = op->length,
			      .inode = op->key.inode,
			      .offset = op->offset};

	if (op->kind == FMT_OP_DELETE_RANGE)
		head.value_length = FMT_KEY_HEAD + op->last.sub_length;
	if (op->run) {
		head.kind = FMT_OP_PUT_RUN;
		head.value_length = sizeof(struct fmt_run);
	}
	memcpy(at, &head, sizeof head);
	at += sizeof head;
	if (op->key.sub_length)
		memcpy(at, op->key.sub, op->key.sub_length);
	at += op->key.sub_length;
	if (op->kind == FMT_OP_DELETE_RANGE)
		store_encode_key(&op->last, at);
	else if (op->run)
		memcpy(at,
		       &(struct fmt_run){.page = op->run, .length = op->length, .crc = op->run_crc},
		       sizeof(struct fmt_run));
	else if (op->length)
		memcpy(at, op->value, op->length);
	return at + head.value_length;
}

int record_measure(const struct commit_op *ops, uint32_t count, uint32_t *bytes)
{
	uint64_t total = sizeof(struct fmt_record);

	if (count > COMMIT_OPS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < count; i++)
		total += op_bytes(&ops[i]);
	if (total > COMMIT_BYTES_MAX)
		return -E2BIG;
	*bytes = (uint32_t)total;
	return 0;
}

uint64_t record_append(struct mneme *m, const struct commit_op *ops, uint32_t count,
		       uint32_t promised)
{
	uint32_t bytes;
	int rc = record_measure(ops, count, &bytes);

	CHECK(rc == 0);
	uint8_t *at = wal_append_begin(&m->wal, bytes, promised);
	struct fmt_record head = {.length = bytes, .count = count};

	memcpy(at, &head, sizeof head);
	at += sizeof head;
	for (uint32_t i = 0; i < count; i++)
		at = op_write(at, &ops[SEEDED_BUG(17) ? count - 1 - i : i]);
	return wal_append_done(&m->wal);
}
