/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory/request.h and filter.h: what a line and a JSON object mean, patterns,
 *            front matter.
 */
#include "core/memory/filter.h"
#include "core/memory/request.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

/* A fresh request with the line. */
static struct request *parsed(const char *line, int want)
{
	struct request *r = request_new();

	ck_assert_ptr_nonnull(r);
	int rc = request_parse(r, line, strlen(line));
	if (rc == 0)
		rc = request_check(r);
	ck_assert_msg(rc == want, "%s: %d, not %d (%s)", line, rc, want, r->why);
	ck_assert_msg(want == 0 || r->why[0], "%s: no sentence", line);
	return r;
}

START_TEST(test_request_line_parts_words_and_options)
{
	struct request *r = parsed("  std::x mode:lexical bread\ttag:\"two words\" \"tag:a b\" "
				   "limit:7 fuse:rank explain:yes associate:yes name:*.md:x \n",
				   0);

	ck_assert_str_eq(r->text, "std::x bread \"tag:a b\"");
	ck_assert_int_eq(r->query.mode, MEMORY_LEXICAL);
	ck_assert_int_eq(r->query.limit, 7);
	ck_assert(r->query.rank_fusion && r->explain && r->query.associate);
	ck_assert_int_eq(r->query.filters_count, 2);
	ck_assert_str_eq(r->filters[0].value, "two words");
	ck_assert_str_eq(r->filters[1].value, "*.md:x");
	request_free(r);
}
END_TEST

START_TEST(test_request_json_says_the_same)
{
	struct request *r =
		parsed("{\"query\": \"bread name:a\", \"tag\": [\"x\", \"y\"], \"limit\": "
		       "5, \"explain\": true, \"attr\": \"n=v\", \"mode\": \"similar\"}",
		       0);

	ck_assert_str_eq(r->text, "bread");
	ck_assert_int_eq(r->query.filters_count, 4);
	ck_assert_int_eq(r->filters[1].kind, MEMORY_FILTER_TAG);
	ck_assert_str_eq(r->filters[3].value, "user.n=v");
	ck_assert(r->query.limit == 5 && r->explain && r->query.mode == MEMORY_SIMILAR);
	request_free(r);
	r = parsed("{\"text\": \"tag:x {\"}", 0);
	ck_assert_str_eq(r->text, "tag:x {");
	request_free(r);
	r = parsed("{\"vector\": [1, 2.5, -3]}", 0);
	ck_assert_int_eq(r->query.dim, 3);
	ck_assert(r->query.vector[1] == 2.5f);
	request_free(r);
	r = parsed("{\"like_hex\": \"61ff2f62\"}", 0);
	ck_assert_str_eq(r->like, "a\xff/b");
	request_free(r);
}
END_TEST

START_TEST(test_request_by_filters_alone)
{
	struct request *r = parsed("tag:x limit:3", 0);

	ck_assert_int_eq(request_check(r), 0);
	ck_assert_uint_eq(r->text_length, 0);
	ck_assert_uint_eq(r->query.filters_count, 1);
	request_free(r);
}
END_TEST

START_TEST(test_request_refuses_with_a_sentence)
{
	static const char *const bad[] = {
		"",
		"   ",
		"limit:3 mode:vector",
		"mode: x",
		"mode:Lexical x",
		"limit:0 x",
		"limit:1001 x",
		"limit:5x x",
		"attr:a x",
		"attr:=v x",
		"attr:user.=v x",
		"name: x",
		"after:x x",
		"after:2026-13 x",
		"after:2026-02-29 x",
		"after:2026-1-1 x",
		"after:2026-01-01T10 x",
		"after:2026-01-01T10:00:00Zz x",
		"before:-1d x",
		"before:3z x",
		"explain:maybe x",
		"associate:maybe x",
		"{",
		"{}",
		"{\"text\": 1}",
		"{\"nothing\": \"x\"}",
		"{\"text\": \"x\", \"text\": \"y\"}",
		"{\"text\": \"x\", \"vector\": [1]}",
		"{\"vector\": []}",
		"{\"vector\": [true]}",
		"{\"text\": \"x\", \"limit\": 1.5}",
		"{\"like\": \"\"}",
		"{\"like_hex\": \"abc\"}",
		"{\"text\": \"x\"} y",
	};
	char many[512] = "x";

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		request_free(parsed(bad[i], -EINVAL));
	for (int i = 0; i <= MEMORY_FILTERS_MAX; i++)
		strcat(many, " tag:a");
	request_free(parsed(many, -EINVAL));
}
END_TEST

START_TEST(test_request_limits_of_length)
{
	static char line[MEMORY_QUERY_MAX + 700];

	memset(line, 'x', MEMORY_QUERY_MAX);
	request_free(parsed(line, 0));
	line[MEMORY_QUERY_MAX] = 'x';
	request_free(parsed(line, -E2BIG));
	memset(line, 0, sizeof line);
	strcpy(line, "x tag:");
	memset(line + 6, 'y', REQUEST_VALUE_MAX);
	request_free(parsed(line, 0));
	line[6 + REQUEST_VALUE_MAX] = 'y';
	request_free(parsed(line, -EINVAL));
}
END_TEST

START_TEST(test_request_times)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} times[] = {{"after:1970 x", 0},
		     {"after:2026-03 x", 1772323200},
		     {"after:2024-02-29 x", 1709164800},
		     {"before:2026-01-31T12:34:56Z x", 1769862896},
		     {"before:2026-01-31T12:34 x", 1769862840}};

	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		struct request *r = parsed(times[i].text, 0);
		ck_assert_int_eq(r->filters[0].time_ns, times[i].seconds * 1000000000);
		request_free(r);
	}
	struct request *day = parsed("after:1d x", 0), *week = parsed("after:1w x", 0);
	ck_assert_int_eq((day->filters[0].time_ns - week->filters[0].time_ns + 500000000) /
				 1000000000,
			 6 * 86400);
	request_free(day);
	request_free(week);
}
END_TEST

START_TEST(test_filter_glob_is_that_of_shells)
{
	static const struct {
		const char *pattern, *name;
		int fits;
	} cases[] = {
		{"*", "", 1},
		{"", "", 1},
		{"", "a", 0},
		{"?", "a", 1},
		{"?", "\xc3\xa9", 1},
		{"??", "\xc3\xa9", 0},
		{"*.md", "a.md", 1},
		{"*.md", "a.mdx", 0},
		{"a*b*c", "axbxbc", 1},
		{"a*b*c", "axbxb", 0},
		{"[a-c]x", "bx", 1},
		{"[!a-c]x", "bx", 0},
		{"[^a]", "b", 1},
		{"[]]", "]", 1},
		{"[a", "[a", 1},
		{"\\*", "*", 1},
		{"\\*", "a", 0},
		{"a/*", "a/b/c", 1},
		{"**a**", "bab", 1},
		{"[a-]", "-", 1},
		{"*aaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		ck_assert_msg(filter_glob(cases[i].pattern, cases[i].name) == cases[i].fits,
			      "%s against %s", cases[i].pattern, cases[i].name);
}
END_TEST

START_TEST(test_filter_front_matter_has_tags)
{
	static const struct {
		const char *text, *tag;
		int has;
	} cases[] = {
		{"---\ntags: a, B c\n---\n", "b C", 1},
		{"---\ntitle: x\ntags: [\"a\", 'b', #c]\n---\n", "c", 1},
		{"---\r\ntags:\r\n  - a\r\n- b\r\n---\r\n", "b", 1},
		{"---\ntags:\nother:\n - a\n---\n", "a", 0},
		{"---\nx: y\n---\ntags: a\n", "a", 0},
		{"tags: a\n", "a", 0},
		{"---\ntags: abc", "ab", 0},
		{"---\ntags: ab", "ab", 1},
		{"---", "a", 0},
		{"---\n", "a", 0},
		{"---\ntags:\n-", "a", 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		ck_assert_msg(filter_front_matter(cases[i].text, strlen(cases[i].text),
						  cases[i].tag) == cases[i].has,
			      "case %zu", i);
}
END_TEST

UNIT_MAIN("request", test_request_line_parts_words_and_options, test_request_json_says_the_same,
	  test_request_by_filters_alone, test_request_refuses_with_a_sentence,
	  test_request_limits_of_length, test_request_times, test_filter_glob_is_that_of_shells,
	  test_filter_front_matter_has_tags)
