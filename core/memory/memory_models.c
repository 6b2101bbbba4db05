/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   memory_models.h.
 */
#include "core/memory/memory_models.h"

#include "core/memory/memory_inside.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_MS = 5000, SUB_MAX = 16, TIMEOUT_MS = 10000, ATTEMPTS = 2 };

static const char *const way_names[MEMORY_WAYS] = {"hash", "builtin", "http", "command", "none"};

static uint64_t now_ms(void)
{
	return memory_now_ns() / 1000000;
}

static uint32_t number_of(const char *name)
{
	return crc32c(0, name, strlen(name));
}

/* ---- records ---- */

struct noted {
	uint32_t dim;
	char name[EMBEDDER_NAME];
};

static struct mneme_key model_key(uint32_t number, char sub[SUB_MAX])
{
	uint32_t big = __builtin_bswap32(number);

	memcpy(sub, "model", 5);
	memcpy(sub + 5, &big, sizeof big);
	return (struct mneme_key){.type = MNEME_TYPE_COLLECTION, .sub = sub, .sub_length = 9};
}

/* -ENOENT: there are no vectors of that model. */
static int noted_read(struct memory *mem, uint32_t number, struct noted *out)
{
	char sub[SUB_MAX];
	struct mneme_key key = model_key(number, sub);
	size_t length;
	int rc = mneme_get(mem->engine, &key, out, sizeof *out, &length);

	if (rc == 0 && (length <= sizeof out->dim || length >= sizeof *out))
		rc = -EUCLEAN;
	if (rc == 0)
		out->name[length - sizeof out->dim] = 0;
	return rc;
}

static int noted_write(struct memory *mem, struct memory_model *m)
{
	struct noted noted = {.dim = memory_model_dim(m)};
	char sub[SUB_MAX];
	struct mneme_key key = model_key(m->number, sub);

	if (atomic_load_explicit(&m->is_noted, memory_order_relaxed))
		return 0;
	memcpy(noted.name, m->name, sizeof noted.name);
	int rc = mneme_put(mem->engine, &key, &noted, sizeof noted.dim + strlen(noted.name),
			   MNEME_DURABILITY_DEFAULT);
	if (rc == 0)
		atomic_store_explicit(&m->is_noted, 1, memory_order_relaxed);
	return rc;
}

/* ---- the set of models ---- */

struct memory_model *memory_model_find(struct memory *mem, uint32_t number)
{
	for (unsigned i = 0; i < mem->models.count; i++)
		if (mem->models.all[i].number == number)
			return &mem->models.all[i];
	return NULL;
}

static int workers_make(struct memory_model *m)
{
	m->work = embedder_worker_new(m->embedder);
	m->query = embedder_worker_new(m->embedder);
	if (!m->work || !m->query)
		return -ENOMEM;
	struct passage_settings settings = {.count = embedder_count, .count_context = m->work};
	m->splitter = passages_new(&settings, NULL, NULL);
	return m->splitter ? 0 : -ENOMEM;
}

/* Takes the embedder over, also when that fails. */
static int model_add(struct memory *mem, const char *name, struct embedder *e,
		     struct memory_model **out)
{
	struct memory_models *all = &mem->models;
	uint32_t number = number_of(name);
	struct noted noted;

	*out = memory_model_find(mem, number);
	if (*out || all->count == MEMORY_MODELS_MAX) {
		embedder_close(e);
		return *out ? 0 : -ENOSPC;
	}
	struct memory_model *m = &all->all[all->count++];
	m->number = number;
	m->embedder = e;
	pthread_mutex_init(&m->asking, NULL);
	questions_init(&m->questions);
	snprintf(m->name, sizeof m->name, "%s", name);
	int rc = noted_read(mem, number, &noted);
	atomic_init(&m->is_noted, rc == 0);
	atomic_init(&m->dim, e && embedder_dim(e) ? embedder_dim(e) : rc == 0 ? noted.dim : 0);
	*out = m;
	return e ? workers_make(m) : 0;
}

/* ---- ways ---- */

/* Of http or command, as the mount has set it up. */
static struct embedder_settings partner_settings(const struct memory_options *o,
						 enum memory_way way)
{
	struct embedder_settings s = *o->embedder;

	s.kind = way_names[way];
	if (!s.timeout_ms)
		s.timeout_ms = TIMEOUT_MS;
	if (!s.attempts)
		s.attempts = ATTEMPTS;
	return s;
}

/* Opens it, of the dimensions that the store has of its name. */
static int partner_open(struct memory *mem, struct embedder_settings s, struct embedder **out,
			char *why)
{
	struct noted noted;
	int rc = embedder_open(&s, out, why);

	if (rc < 0 || noted_read(mem, number_of(embedder_name(*out)), &noted) < 0)
		return rc;
	if (s.dim && s.dim != noted.dim)
		rc = -EMEDIUMTYPE;
	if (rc < 0)
		snprintf(why, EMBEDDER_WHY,
			 "the store has vectors of %s with %u dimensions, and %u are asked for: "
			 "give the other model another name (embedder_model=)",
			 embedder_name(*out), noted.dim, s.dim);
	embedder_close(*out);
	*out = NULL;
	s.dim = noted.dim;
	return rc < 0 ? rc : embedder_open(&s, out, why);
}

static const char *model_file(const struct memory_options *o, char path[PATH_MAX])
{
	const char *model = o->model ? o->model : getenv("MNEME_MODEL");

	if (model || !o->store)
		return model;
	snprintf(path, PATH_MAX, "%s/model", o->store);
	return path;
}

/* -ENODEV: it is not set up. */
static int way_open(struct memory *mem, const struct memory_options *o, enum memory_way way,
		    struct embedder **out, char *why)
{
	struct embedder_settings s = {.kind = way_names[way]};
	char path[PATH_MAX];

	if (way == MEMORY_WAY_BUILTIN) {
		s.model = model_file(o, path);
		s.or_hash = 1;
	}
	if (way != MEMORY_WAY_HTTP && way != MEMORY_WAY_COMMAND)
		return embedder_open(&s, out, why);
	if (!o->embedder || !(way == MEMORY_WAY_HTTP ? o->embedder->url : o->embedder->command)) {
		snprintf(why, EMBEDDER_WHY, "embedder=%s wants %s=", way_names[way],
			 way == MEMORY_WAY_HTTP ? "embedder_url" : "embedder_command");
		return -ENODEV;
	}
	return partner_open(mem, partner_settings(o, way), out, why);
}

static int ways_open(struct memory *mem, const struct memory_options *o, char *why)
{
	const char *kind = o->embedder && o->embedder->kind ? o->embedder->kind : "builtin";
	struct memory_models *all = &mem->models;
	char said[EMBEDDER_WHY];

	snprintf(why, EMBEDDER_WHY,
		 "there is no embedder '%.40s': builtin, hash, http, command, none", kind);
	for (int way = 0; way < MEMORY_WAYS; way++) {
		int is_standard = !strcmp(kind, way_names[way]);
		struct embedder *e = NULL;
		int rc = way_open(mem, o, way, &e, said);
		if (rc == 0 && is_standard)
			snprintf(all->note, sizeof all->note, "%s", embedder_note(e));
		if (rc == 0)
			rc = model_add(mem, embedder_name(e), e, &all->ways[way]);
		else if (rc == -ENODEV && !is_standard)
			continue;
		if (rc < 0) {
			snprintf(why, EMBEDDER_WHY, "%s", e ? strerror(-rc) : said);
			return rc;
		}
		if (is_standard)
			all->standard = all->ways[way];
	}
	return all->standard ? 0 : -EINVAL;
}

static const struct mneme_key chosen_key = {
	.type = MNEME_TYPE_COLLECTION, .sub = "embedder", .sub_length = 8};

int memory_models_open(struct memory *mem, const struct memory_options *options,
		       struct mneme_error *error)
{
	char why[EMBEDDER_WHY] = "";
	size_t length;
	int rc = ways_open(mem, options, why);

	mem->models_options = options;
	if (rc < 0 && error)
		snprintf(error->message, sizeof error->message,
			 "the embedder cannot be opened: %.250s", why);
	if (rc == 0 && mneme_get(mem->engine, &chosen_key, NULL, 0, &length) == 0)
		atomic_store_explicit(&mem->models.chosen, 1, memory_order_relaxed);
	return rc;
}

/* ---- models of before ---- */

/* Opens it, if that is the model. */
static struct embedder *former_try(struct embedder_settings s, uint32_t number)
{
	struct embedder *e;
	char why[EMBEDDER_WHY];

	if (embedder_open(&s, &e, why) < 0)
		return NULL;
	if (number_of(embedder_name(e)) == number)
		return e;
	embedder_close(e);
	return NULL;
}

/* An encoder whose file is STORE/model (where another one is used) or STORE/model.former; another
 * model of the same server. */
static struct embedder *former_open(const struct memory_options *o, uint32_t number,
				    const struct noted *noted)
{
	static const char *const files[] = {"model", "model.former"};
	struct embedder *e = NULL;
	char path[PATH_MAX];

	for (unsigned i = 0; i < 2 && o->store && !e; i++) {
		snprintf(path, sizeof path, "%s/%s", o->store, files[i]);
		e = former_try((struct embedder_settings){.kind = "builtin", .model = path},
			       number);
	}
	if (!e && o->embedder && o->embedder->url && !strncmp(noted->name, "http:", 5)) {
		struct embedder_settings s = partner_settings(o, MEMORY_WAY_HTTP);
		s.model = noted->name + 5;
		s.dim = noted->dim;
		e = former_try(s, number);
	}
	return e;
}

struct memory_model *memory_model_meet(struct memory *mem, uint32_t number, uint32_t dim)
{
	struct memory_model *m = memory_model_find(mem, number);
	struct noted noted = {.dim = dim};

	if (!m) {
		if (noted_read(mem, number, &noted) < 0)
			snprintf(noted.name, sizeof noted.name, "a model of before (%08x)", number);
		struct embedder *e = former_open(mem->models_options, number, &noted);
		if (e)
			snprintf(noted.name, sizeof noted.name, "%s", embedder_name(e));
		if (model_add(mem, noted.name, e, &m) < 0)
			return NULL;
		m->number = number; /* that of a name that is not known is another one */
	}
	if (!memory_model_dim(m))
		atomic_store_explicit(&m->dim, dim, memory_order_relaxed);
	return memory_model_dim(m) == dim ? m : NULL;
}

/* ---- directories ---- */

static int way_of(const char *value, size_t length)
{
	for (int way = 0; way < MEMORY_WAYS; way++)
		if (strlen(way_names[way]) == length && !memcmp(way_names[way], value, length))
			return way;
	return -1;
}

int memory_embedder_check(struct memory *mem, const void *value, size_t length, char *why)
{
	static const char *const options[MEMORY_WAYS] = {
		[MEMORY_WAY_HTTP] = "embedder_url", [MEMORY_WAY_COMMAND] = "embedder_command"};
	int way = way_of(value, length), rc = way < 0 ? -EINVAL : 0;

	if (rc == 0 && !mem->models.ways[way]) {
		snprintf(why, MEMORY_REASON_MAX, "embedder %s is not set up at this mount (-o %s=)",
			 way_names[way], options[way] ? options[way] : "embedder");
		return -EINVAL;
	}
	if (rc < 0) {
		snprintf(why, MEMORY_REASON_MAX,
			 "embedder wants builtin, hash, http, command or none, or nothing");
		return rc;
	}
	if (atomic_load_explicit(&mem->models.chosen, memory_order_relaxed))
		return 0;
	rc = mneme_put(mem->engine, &chosen_key, "", 0, MNEME_DURABILITY_DEFAULT);
	if (rc == 0)
		atomic_store_explicit(&mem->models.chosen, 1, memory_order_relaxed);
	else
		snprintf(why, MEMORY_REASON_MAX, "%s", strerror(-rc));
	return rc;
}

int memory_embedder_of(struct memory *mem, uint64_t inode, char *value)
{
	if (!atomic_load_explicit(&mem->models.chosen, memory_order_relaxed))
		return 0;
	do {
		if (memory_setting_get(mem, inode, MEMORY_SETTING_EMBEDDER, value) == 0)
			return 1;
	} while ((inode = memory_parent(mem, inode)));
	return 0;
}

struct memory_model *memory_model_wanted(struct memory *mem, uint64_t inode, char *why)
{
	char value[MEMORY_SETTING_MAX];

	if (!memory_embedder_of(mem, inode, value))
		return mem->models.standard;
	int way = way_of(value, strlen(value));
	if (way >= 0 && mem->models.ways[way])
		return mem->models.ways[way];
	if (why)
		snprintf(why, EMBEDDER_WHY,
			 "the embedder of the directory, %s, is not set up at this mount", value);
	return NULL;
}

uint32_t memory_models_choice(const struct memory *mem)
{
	uint32_t crc = mem->models.standard->number;

	for (int way = 0; way < MEMORY_WAYS; way++) {
		uint32_t number = mem->models.ways[way] ? mem->models.ways[way]->number : 0;
		crc = crc32c(crc, &number, sizeof number);
	}
	return crc;
}

/* ---- one model ---- */

int memory_model_ready(struct memory *mem, struct memory_model *m, char *why)
{
	int rc = 0;

	if (!strcmp(m->name, way_names[MEMORY_WAY_NONE]))
		return 0;
	if (!embedder_dim(m->embedder))
		rc = embedder_probe(m->work, why);
	if (rc == 0 && memory_model_dim(m) && memory_model_dim(m) != embedder_dim(m->embedder)) {
		snprintf(why, EMBEDDER_WHY, "%s answers with %u dimensions, the store has %u of it",
			 m->name, embedder_dim(m->embedder), memory_model_dim(m));
		return -EMEDIUMTYPE;
	}
	if (rc == 0) {
		atomic_store_explicit(&m->dim, embedder_dim(m->embedder), memory_order_relaxed);
		rc = noted_write(mem, m);
	}
	return rc;
}

int memory_model_rests(const struct memory_model *m)
{
	uint64_t failed = atomic_load_explicit(&m->failed_ms, memory_order_relaxed);

	return failed && now_ms() < failed + REST_MS;
}

void memory_model_failed(struct memory_model *m, const char *why)
{
	if (why)
		snprintf(m->why, sizeof m->why, "%s", why);
	atomic_store_explicit(&m->failed_ms, now_ms(), memory_order_relaxed);
}

void memory_model_works(struct memory_model *m)
{
	atomic_store_explicit(&m->failed_ms, 0, memory_order_relaxed);
}

uint64_t memory_model_rows(const struct memory_model *m)
{
	struct vectors_stats rows = {0};

	if (m->vectors)
		vectors_get_stats(collection_vectors(m->vectors), &rows);
	return rows.alive;
}

int memory_model_collection(struct memory_model *m)
{
	struct vectors_config config = {
		.dim = memory_model_dim(m), .metric = VECTORS_COSINE, .type = VECTORS_F16};

	return m->vectors ? 0 : collection_new(&config, &m->vectors);
}

/* ---- questions ---- */

int memory_model_ask(struct memory_model *m, const char *text, size_t length, float *vector, char *why)
{
	const uint32_t dim = memory_model_dim(m);
	int rc = -EAGAIN;

	if (questions_find(&m->questions, text, length, vector, dim))
		return 0;
	pthread_mutex_lock(&m->asking);
	if (questions_find(&m->questions, text, length, vector, dim))
		rc = 0;
	else if (!memory_model_rests(m) &&
		 (embedder_dim(m->embedder) == dim ||
		  (embedder_probe(m->query, why) == 0 && embedder_dim(m->embedder) == dim)))
		rc = embedder_embed(m->query, &text, &length, 1, vector, why);
	if (rc == 0)
		questions_keep(&m->questions, text, length, vector, dim);
	else if (rc != -ECANCELED && rc != -EBADMSG && !memory_model_rests(m))
		memory_model_failed(m, NULL);
	pthread_mutex_unlock(&m->asking);
	return rc;
}

/* ---- end ---- */

void memory_models_stop(struct memory *mem)
{
	for (unsigned i = 0; i < mem->models.count; i++)
		if (mem->models.all[i].embedder)
			embedder_stop(mem->models.all[i].embedder);
}

void memory_models_close(struct memory *mem)
{
	for (unsigned i = 0; i < mem->models.count; i++) {
		struct memory_model *m = &mem->models.all[i];
		passages_free(m->splitter);
		embedder_worker_free(m->work);
		embedder_worker_free(m->query);
		questions_free(&m->questions);
		pthread_mutex_destroy(&m->asking);
		embedder_close(m->embedder);
		collection_free(m->vectors);
	}
	mem->models.count = 0;
}
