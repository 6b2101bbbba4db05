/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: LMDB, SQLite and RocksDB for bench_engine; see engine_peers.h. */
#include "tests/bench/engine_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			exit(2);                                                                   \
		}                                                                                  \
	} while (0)

#ifdef HAVE_LMDB
#include <lmdb.h>

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
};

static void *lmdb_open(const char *path, enum peer_class class)
{
	struct lmdb *l = calloc(1, sizeof *l);
	MDB_txn *txn;
	unsigned flags = class == PEER_STRICT ? 0 : MDB_NOSYNC;

	if (class == PEER_MEMORY)
		flags |= MDB_WRITEMAP | MDB_MAPASYNC;
	MUST(mkdir(path, 0700) == 0);
	MUST(mdb_env_create(&l->env) == 0);
	MUST(mdb_env_set_mapsize(l->env, 32ull << 30) == 0);
	MUST(mdb_env_open(l->env, path, flags, 0600) == 0);
	MUST(mdb_txn_begin(l->env, NULL, 0, &txn) == 0);
	MUST(mdb_dbi_open(txn, NULL, 0, &l->dbi) == 0);
	MUST(mdb_txn_commit(txn) == 0);
	return l;
}

static void lmdb_put(void *store, const void *key, size_t key_length, const void *value,
		     size_t length)
{
	struct lmdb *l = store;
	MDB_val k = {key_length, (void *)key}, v = {length, (void *)value};
	MDB_txn *txn;

	MUST(mdb_txn_begin(l->env, NULL, 0, &txn) == 0);
	MUST(mdb_put(txn, l->dbi, &k, &v, 0) == 0);
	MUST(mdb_txn_commit(txn) == 0);
}

static int lmdb_get(void *store, const void *key, size_t key_length, void *value, size_t capacity)
{
	struct lmdb *l = store;
	MDB_val k = {key_length, (void *)key}, v;
	MDB_txn *txn;

	MUST(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn) == 0);
	int rc = mdb_get(txn, l->dbi, &k, &v);
	if (rc == 0)
		memcpy(value, v.mv_data, v.mv_size < capacity ? v.mv_size : capacity);
	mdb_txn_abort(txn);
	return rc;
}

static void lmdb_close(void *store)
{
	struct lmdb *l = store;

	mdb_env_close(l->env);
	free(l);
}

static const struct peer lmdb_peer = {"lmdb", lmdb_open, lmdb_put, lmdb_get, lmdb_close};
#endif

#ifdef HAVE_SQLITE
#include <sqlite3.h>

struct sqlite {
	sqlite3 *db;
	sqlite3_stmt *put, *get;
};

static void *sqlite_open(const char *path, enum peer_class class)
{
	struct sqlite *s = calloc(1, sizeof *s);
	char file[512];
	const char *sync = class == PEER_STRICT     ? "PRAGMA synchronous=FULL"
			   : class == PEER_BUFFERED ? "PRAGMA synchronous=NORMAL"
						    : "PRAGMA synchronous=OFF";

	MUST(mkdir(path, 0700) == 0);
	snprintf(file, sizeof file, "%s/db", path);
	MUST(sqlite3_open(file, &s->db) == SQLITE_OK);
	MUST(sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_exec(s->db, sync, NULL, NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_exec(s->db, "PRAGMA cache_size=-262144", NULL, NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_exec(s->db, "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID", NULL,
			  NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO kv VALUES(?,?)", -1, &s->put,
				NULL) == SQLITE_OK);
	MUST(sqlite3_prepare_v2(s->db, "SELECT v FROM kv WHERE k=?", -1, &s->get, NULL) ==
	     SQLITE_OK);
	return s;
}

static void sqlite_put(void *store, const void *key, size_t key_length, const void *value,
		       size_t length)
{
	struct sqlite *s = store;

	sqlite3_bind_blob(s->put, 1, key, (int)key_length, SQLITE_STATIC);
	sqlite3_bind_blob(s->put, 2, value, (int)length, SQLITE_STATIC);
	MUST(sqlite3_step(s->put) == SQLITE_DONE);
	sqlite3_reset(s->put);
}

static int sqlite_get(void *store, const void *key, size_t key_length, void *value, size_t capacity)
{
	struct sqlite *s = store;

	sqlite3_bind_blob(s->get, 1, key, (int)key_length, SQLITE_STATIC);
	int found = sqlite3_step(s->get) == SQLITE_ROW;
	if (found) {
		size_t n = sqlite3_column_bytes(s->get, 0);
		memcpy(value, sqlite3_column_blob(s->get, 0), n < capacity ? n : capacity);
	}
	sqlite3_reset(s->get);
	return !found;
}

static void sqlite_close(void *store)
{
	struct sqlite *s = store;

	sqlite3_finalize(s->put);
	sqlite3_finalize(s->get);
	MUST(sqlite3_close(s->db) == SQLITE_OK);
	free(s);
}

static const struct peer sqlite_peer = {"sqlite", sqlite_open, sqlite_put, sqlite_get,
					sqlite_close};
#endif

#ifdef HAVE_ROCKSDB
#include <rocksdb/c.h>

struct rocks {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *write;
	rocksdb_readoptions_t *read;
};

static void *rocks_open(const char *path, enum peer_class class)
{
	struct rocks *r = calloc(1, sizeof *r);
	char *error = NULL;

	r->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_increase_parallelism(r->options, 2);
	rocksdb_options_set_compression(r->options, rocksdb_no_compression);
	r->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(r->write, class == PEER_STRICT);
	rocksdb_writeoptions_disable_WAL(r->write, class == PEER_MEMORY);
	r->read = rocksdb_readoptions_create();
	r->db = rocksdb_open(r->options, path, &error);
	MUST(!error);
	return r;
}

static void rocks_put(void *store, const void *key, size_t key_length, const void *value,
		      size_t length)
{
	struct rocks *r = store;
	char *error = NULL;

	rocksdb_put(r->db, r->write, key, key_length, value, length, &error);
	MUST(!error);
}

static int rocks_get(void *store, const void *key, size_t key_length, void *value, size_t capacity)
{
	struct rocks *r = store;
	char *error = NULL;
	size_t length;
	char *found = rocksdb_get(r->db, r->read, key, key_length, &length, &error);

	MUST(!error);
	if (!found)
		return 1;
	memcpy(value, found, length < capacity ? length : capacity);
	rocksdb_free(found);
	return 0;
}

static void rocks_close(void *store)
{
	struct rocks *r = store;

	rocksdb_close(r->db);
	rocksdb_writeoptions_destroy(r->write);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_options_destroy(r->options);
	free(r);
}

static const struct peer rocks_peer = {"rocksdb", rocks_open, rocks_put, rocks_get, rocks_close};
#endif

const struct peer *const peers[] = {
#ifdef HAVE_LMDB
	&lmdb_peer,
#endif
#ifdef HAVE_SQLITE
	&sqlite_peer,
#endif
#ifdef HAVE_ROCKSDB
	&rocks_peer,
#endif
	NULL,
};
