/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   memory_texts.h.
 */
#include "tests/bench/memory_texts.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	VOCABULARY_MAX = 8192,
	WORD_MAX = 24,
	PARTS = 5,
	WORDS_OF_PART = 30,
	NOTE_BYTES = 1900, /* of real text */
	REPLACED = 5,      /* every so manieth word */
};

static char vocabulary[VOCABULARY_MAX][WORD_MAX];
static unsigned vocabulary_count;
static uint64_t seed = 88172645463325252ull;
static struct {
	char *text; /* of all files, one behind the other */
	size_t length, capacity;
} real;

static void fail(const char *what)
{
	fprintf(stderr, "bench_memory: %s (%s)\n", what, strerror(errno));
	exit(2);
}

unsigned texts_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 16);
}

/* ---- random words ---- */

static void words_of(const char *name)
{
	char path[512], word[WORD_MAX];
	unsigned length = 0;
	int c;

	snprintf(path, sizeof(path), "%s/%s", getenv("MNEME_SOURCE"), name);
	FILE *f = fopen(path, "r");
	if (!f)
		return;
	do {
		c = fgetc(f);
		if (c != EOF && isalpha(c) && length + 1 < WORD_MAX) {
			word[length++] = (char)tolower(c);
			continue;
		}
		word[length] = 0;
		unsigned i = 0;
		while (i < vocabulary_count && strcmp(vocabulary[i], word) != 0)
			i++;
		if (length > 2 && i == vocabulary_count && i < VOCABULARY_MAX)
			memcpy(vocabulary[vocabulary_count++], word, length + 1);
		length = 0;
	} while (c != EOF);
	fclose(f);
}

size_t texts_words(char *out, unsigned count)
{
	size_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned a = texts_random() % vocabulary_count,
			 b = texts_random() % vocabulary_count;
		length += (size_t)sprintf(out + length, "%s%c", vocabulary[a < b ? a : b],
					  i + 1 < count ? ' ' : 0);
	}
	return length - 1;
}

static size_t note_of_words(char *out)
{
	size_t length = 0;

	for (unsigned part = 0; part < PARTS; part++) {
		length += (size_t)sprintf(out + length, "# ");
		length += texts_words(out + length, 2);
		length += (size_t)sprintf(out + length, "\n\n");
		for (unsigned s = 0; s < 3; s++) {
			length += texts_words(out + length, WORDS_OF_PART / 3);
			length += (size_t)sprintf(out + length, ".\n");
		}
		length += (size_t)sprintf(out + length, "\n");
	}
	return length;
}

/* ---- real text ---- */

static void file_append(const char *path, size_t bytes)
{
	FILE *f = fopen(path, "r");

	if (!f)
		return;
	if (real.length + bytes + 1 > real.capacity) {
		real.capacity = 2 * (real.length + bytes + 1);
		real.text = realloc(real.text, real.capacity);
		if (!real.text)
			fail("memory");
	}
	bytes = fread(real.text + real.length, 1, bytes, f);
	fclose(f);
	if (memchr(real.text + real.length, 0, bytes)) /* no text */
		return;
	real.length += bytes;
	real.text[real.length++] = '\n';
}

static void folder_append(const char *folder)
{
	struct dirent **entries;
	struct stat st;
	char path[4096];
	int count = scandir(folder, &entries, NULL, alphasort);

	if (count < 0)
		fail(folder);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
		if (name[0] != '.' && n > 0 && (size_t)n < sizeof(path) && lstat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				folder_append(path);
			else if (S_ISREG(st.st_mode))
				file_append(path, (size_t)st.st_size);
		}
		free(entries[i]);
	}
	free(entries);
}

/* Where the note n of the real texts begins and ends: at ends of lines, where they are near. */
static size_t note_begin(unsigned n, unsigned *times)
{
	size_t at = (size_t)n * NOTE_BYTES, usable = real.length / NOTE_BYTES * NOTE_BYTES;
	const char *line;

	*times = (unsigned)(at / usable);
	at %= usable;
	line = at ? memchr(real.text + at, '\n', NOTE_BYTES / 4) : NULL;
	return line ? (size_t)(line - real.text) + 1 : at;
}

static size_t word_at(size_t at, char *out)
{
	size_t n = 0;

	while (at < real.length && !isalpha((unsigned char)real.text[at]))
		at++;
	for (; at < real.length && n + 1 < WORD_MAX && isalpha((unsigned char)real.text[at]); at++)
		out[n++] = real.text[at];
	return n;
}

/* Each fifth word of `in` for another one. */
static size_t words_replace(const char *in, size_t length, unsigned note, char *out)
{
	uint64_t from = note * 0x9e3779b97f4a7c15ull;
	size_t used = 0;
	unsigned words = 0;

	for (size_t at = 0; at < length && used + WORD_MAX < TEXTS_NOTE_MAX;) {
		size_t n = 0;
		while (at + n < length && isalpha((unsigned char)in[at + n]))
			n++;
		if (!n || n >= WORD_MAX || ++words % REPLACED) {
			n += !n;
			memcpy(out + used, in + at, n);
			used += n;
		} else {
			from = from * 6364136223846793005ull + 1442695040888963407ull;
			used += word_at((from >> 16) % (real.length - 4096), out + used);
		}
		at += n;
	}
	return used;
}

static size_t note_of_text(unsigned n, char *out)
{
	unsigned times, unused;
	size_t begin = note_begin(n, &times), end = note_begin(n + 1, &unused);

	if (end <= begin) /* of the last one */
		end = real.length;
	if (end - begin > TEXTS_NOTE_MAX / 2)
		end = begin + TEXTS_NOTE_MAX / 2;
	if (times)
		return words_replace(real.text + begin, end - begin, n, out);
	memcpy(out, real.text + begin, end - begin);
	return end - begin;
}

/* ---- both ---- */

void texts_load(const char *folder)
{
	words_of("README.md");
	words_of("docs/ARCHITECTURE.md");
	words_of("docs/FORMAT.md");
	words_of("docs/mount.md");
	if (vocabulary_count < 500)
		fail("the documents of the source tree");
	if (folder)
		folder_append(folder);
	if (folder && real.length < 1 << 20)
		fail("less than 1 MiB of text there");
}

size_t texts_note(unsigned n, char out[TEXTS_NOTE_MAX])
{
	uint64_t former = seed;

	if (real.text)
		return note_of_text(n, out);
	seed = 88172645463325252ull ^ (n + 1ull) * 0x9e3779b97f4a7c15ull;
	size_t length = note_of_words(out);
	seed = former;
	return length;
}

void texts_question(unsigned notes, char out[TEXTS_QUESTION_MAX])
{
	char note[TEXTS_NOTE_MAX];
	size_t used = 0;
	unsigned words = 0, taken = 0;

	if (!real.text) {
		texts_words(out, TEXTS_QUESTION_WORDS);
		return;
	}
	size_t length = texts_note(texts_random() % notes, note);
	for (size_t at = texts_random() % (length / 2); at < length; at++) {
		size_t n = 0;
		while (at + n < length && isalpha((unsigned char)note[at + n]))
			n++;
		if (n > 1 && n < WORD_MAX && taken < TEXTS_QUESTION_WORDS && ++words % 2) {
			used += (size_t)sprintf(out + used, "%s%.*s", used ? " " : "", (int)n,
						note + at);
			taken++;
		}
		at += n;
	}
	if (taken < TEXTS_QUESTION_WORDS) /* the end of a note, or a table of numbers */
		texts_question(notes, out);
}
