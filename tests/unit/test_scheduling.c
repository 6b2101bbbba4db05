/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of fs/scheduling.h without a mount: who is alone in its group, by what the kernel's
 *          files say; who waited too long. */
#include "fs/scheduling.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST "cgroup:[4026531835]"
#define OTHER "cgroup:[4026532600]"
#define MS 1000000u

static char root[64];

static void setup(void)
{
	strcpy(root, "/tmp/test_scheduling.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0);
}

/* Makes ROOT/NAME with that text, and the folders above it. */
static void put(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
		*at = 0;
		mkdir(path, 0755);
	}
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	fclose(file);
}

static void put_machine(const char *cgroup, const char *name_space, const char *autogroups)
{
	char path[512];

	put("proc/self/cgroup", cgroup);
	put("proc/self/ns/x", "");
	snprintf(path, sizeof(path), "%s/proc/self/ns/cgroup", root);
	unlink(path);
	ck_assert_int_eq(symlink(name_space, path), 0);
	put("proc/sys/kernel/sched_autogroup_enabled", autogroups);
}

static void put_processes(const char *folder, const char *others)
{
	char name[256], text[128];

	snprintf(name, sizeof(name), "sys/fs/cgroup/%s/cgroup.procs", folder);
	snprintf(text, sizeof(text), "%d\n%s", getpid(), others);
	put(name, text);
}

/* Is it shared, and does the reason say this? NULL: it is not. */
static void expect(const char *why)
{
	const char *got = sched_shared(root);

	if (!why)
		ck_assert_msg(!got, "%s", got);
	else
		ck_assert_msg(got && strstr(got, why), "%s", got ? got : "it is its own");
}

START_TEST(test_scheduling_a_session_of_its_own_is_a_group)
{
	static const char *const roots[] = {"0::/\n", "3:cpuacct,cpu:/\n0::/user.slice\n",
					    "2:memory:/deep\n1:cpu:/\n"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		put_machine(roots[i], FIRST, "1\n");
		expect(NULL);
		put_machine(roots[i], FIRST, "0\n");
		expect("autogroup");
		put_machine(roots[i], FIRST, "");
		expect("autogroup");
		put_machine(roots[i], OTHER, "1\n"); /* "/" is somewhere below the root there */
		expect("cgroup");
	}
}
END_TEST

START_TEST(test_scheduling_a_member_of_a_session_shares_it)
{
	put_machine("0::/\n", FIRST, "1\n");
	pid_t child = fork();
	if (!child)
		_exit(sched_shared(root) ? 0 : 1);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_scheduling_a_cgroup_is_a_group_where_it_has_the_controller)
{
	put_machine("0::/system.slice/memories.service\n", FIRST, "1\n");
	put_processes("system.slice/memories.service", "");
	put("sys/fs/cgroup/system.slice/cgroup.controllers", "memory pids\n");
	put("sys/fs/cgroup/system.slice/memories.service/cgroup.controllers", "memory pids\n");
	expect(NULL); /* the root's, so its session counts */
	put("sys/fs/cgroup/system.slice/cgroup.controllers", "cpuset cpu memory\n");
	expect("cgroup"); /* the slice's, with all in it */
	put("sys/fs/cgroup/system.slice/memories.service/cgroup.controllers", "cpu memory\n");
	put_machine("0::/system.slice/memories.service\n", FIRST, "0\n");
	expect(NULL);
	put_processes("system.slice/memories.service", "1\n");
	expect("cgroup");
}
END_TEST

START_TEST(test_scheduling_a_cgroup_with_others_is_shared)
{
	put_machine("4:cpu,cpuacct:/box\n0::/\n", OTHER, "1\n");
	put_processes("cpu/box", "");
	expect(NULL);
	put("sys/fs/cgroup/cpu/box/below/cgroup.procs", "");
	expect("cgroup");
	put_machine("4:cpu,cpuacct:/\n0::/\n", OTHER, "1\n");
	put_processes("cpu", "0\n"); /* one that this namespace of processes does not know */
	expect("cgroup");
	put_machine("4:cpu,cpuacct:/../other\n0::/\n", OTHER, "1\n");
	expect("cgroup");
}
END_TEST

START_TEST(test_scheduling_what_is_not_known_counts_as_shared)
{
	expect("not known");
	put_machine("", FIRST, "1\n");
	expect("not known");
	put_machine("nonsense\n1:cpu\n::\n", FIRST, "1\n");
	expect("not known");
	put_machine("0::/gone\n", OTHER, "1\n");
	expect("cgroup");
}
END_TEST

START_TEST(test_scheduling_who_waited_too_long)
{
	const struct sched_sample zero = {.ready = 1}, asleep = {0};
	const struct {
		struct sched_sample after;
		int starved;
	} rows[] = {
		{{.ran_ns = 60 * MS, .waited_ns = 39 * MS, .runs = 1000}, 0}, /* busy cores */
		{{.ran_ns = 1 * MS, .waited_ns = 98 * MS, .runs = 2}, 1},
		{{.ran_ns = 1 * MS, .waited_ns = 9 * MS, .runs = 1},
		 0}, /* once, and not for long */
		{{.ran_ns = 1 * MS, .waited_ns = 60 * MS, .runs = 1}, 1},
		{{.ready = 1}, 1}, /* all the time */
		{{.ready = 0}, 0}, /* not a look later: it was seen on its way to sleep */
		{{.ready = 1, .ran_ns = 100 * MS}, 0}, /* it runs */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(sched_starved(&zero, &rows[i].after, 100 * MS) == rows[i].starved,
			      "row %zu", i);
	ck_assert(!sched_starved(&asleep, &zero, 100 * MS)); /* it was woken just now */
}
END_TEST

START_TEST(test_scheduling_spare_time_of_the_machine)
{
	unsigned mean = 0;

	ck_assert(!sched_spare(0, mean));
	for (int i = 0; i < 3; i++)
		mean = sched_spare_mean(mean, 1);
	ck_assert(sched_spare(0, mean));
	for (int i = 0; i < 40; i++)
		mean = sched_spare_mean(mean, 1);
	ck_assert_uint_le(mean, 100);
	for (int i = 0; i < 10; i++)
		mean = sched_spare_mean(mean, 0);
	ck_assert(!sched_spare(0, mean));
	ck_assert(sched_spare(1, mean));
	for (int i = 0; i < 10; i++)
		mean = sched_spare_mean(mean, 0);
	ck_assert(!sched_spare(1, mean));
	/* one look in five is not enough to begin, and enough to go on */
	for (int i = 0; i < 100; i++)
		mean = sched_spare_mean(mean, i % 5 == 4);
	ck_assert(sched_spare(1, mean));
}
END_TEST

int main(void)
{
	/* in a process that leads its session */
	int status;
	pid_t child = fork();
	if (child > 0)
		return waitpid(child, &status, 0) != child || status;
	setsid();
	Suite *suite = suite_create("scheduling");
	TCase *tests = tcase_create("scheduling");
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_scheduling_a_session_of_its_own_is_a_group);
	tcase_add_test(tests, test_scheduling_a_member_of_a_session_shares_it);
	tcase_add_test(tests, test_scheduling_a_cgroup_is_a_group_where_it_has_the_controller);
	tcase_add_test(tests, test_scheduling_a_cgroup_with_others_is_shared);
	tcase_add_test(tests, test_scheduling_what_is_not_known_counts_as_shared);
	tcase_add_test(tests, test_scheduling_who_waited_too_long);
	tcase_add_test(tests, test_scheduling_spare_time_of_the_machine);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
