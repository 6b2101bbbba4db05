# SPDX-License-Identifier: Apache-2.0
# Purpose:   the tiers of the tests: what each builds and which programs it runs. A function
#            tier_NAME runs the tier NAME through run_test.
tiers_default="lint unit integration conformance programs crash asan tsan fuzz"
tiers_all="$tiers_default fstests"

# build_tree NAME TARGETS OPTION...: configures $build_root/NAME and builds what the function TARGETS
# names, or all if it is "all". Reports a failure itself.
build_tree()
{
	local name=$1 targets=$2 dir=$build_root/$1 log=$build_root/$1.log
	shift 2
	if [ ! -f "$dir/build.ninja" ]; then
		rm -rf "$dir"
		get_libfuse
		# shellcheck disable=SC2086 # a list of options
		meson setup "$dir" "$source_dir" $libfuse_options "$@" >"$log" 2>&1 9>&- || { build_failed "$name" "$log"; return 1; }
	fi
	[ "$list" = 0 ] || return 0
	# In the background, so that a signal is heard at once; the lanes go on meanwhile.
	# shellcheck disable=SC2046 # a list of targets
	ninja -j"$jobs" -C "$dir" $("$targets" "$dir") >"$log" 2>&1 9>&- &
	wait $! || { build_failed "$name" "$log"; return 1; }
}

# FUSE over io_uring wants a newer libfuse than most distributions have; where it cannot be had the mounts
# are tested over /dev/fuse alone, and conformance/uring says why.
get_libfuse()
{
	[ -z "${libfuse_options+set}" ] || return 0
	libfuse_options=
	[ "$list" = 0 ] || return 0
	if ! pkg-config --atleast-version=3.18 fuse3 &&
		"$source_dir/mount-tools/get-libfuse" "$build_root/libfuse" >"$build_root/libfuse.log" 2>&1 9>&-; then
		libfuse_options=-Dlibfuse_prefix=$build_root/libfuse
	fi
}

# Why mounts here are not over io_uring; nothing: they are.
no_uring()
{
	if ! nm -D --defined-only "$bin_dir/mnemefs" | grep -q io_uring_submit_and_wait; then
		tail -n 1 "$build_root/libfuse.log" 2>/dev/null || echo "libfuse is older than 3.18"
	elif [ "$(cat "$uring_switch" 2>/dev/null)" != Y ]; then
		echo "the kernel has no FUSE over io_uring, or it is off and not ours to turn on"
	fi
}

build_failed()
{
	report_fail "build of the $1 tree"
	tail -n 60 "$2" | sed 's/^/    | /'
}

# build_main: the tree that the mount's tests use, built once.
build_main()
{
	[ -z "${bin_dir:-}" ] || return 0
	build_tree release everything || return 1
	bin_dir=$build_root/release/mount-tools
	export MNEME_BIN_DIR=$bin_dir MNEME_BUILD=$build_root/release MNEME_SOURCE=$source_dir
}

everything() { echo all; }

# The wide kernels, which no sanitizer instruments, are half of what a tree takes to compile: the other
# trees borrow those of the release tree.
borrows_kernels="-Dready_kernels=$build_root/release"
build_kernels() { [ -n "${bin_dir:-}" ] || build_tree release kernel_targets; }
kernel_targets() { ninja -C "$1" -t targets all 2>/dev/null 9>&- | sed -n 's;^\(\(simd/libsimd\|core/memory/libencoder\)_[a-z0-9]*\.a\): .*;\1;p'; }

# The programs of the unit tests, those of threads, and the fuzz targets, as ninja names them (a test
# that is a script of the source tree is not built).
unit_targets() { unit_tests "$1" | cut -f4 | cut -d' ' -f1 | sed -n "s|^$1/||p"; }
# What a test of the mount needs, where the mount is built.
mount_targets()
{
	! ninja -C "$1" -t targets all 2>/dev/null 9>&- | grep -q '^mount-tools/mnemefs:' ||
		echo mount-tools/mnemefs mount-tools/mkfs.mnemefs mount-tools/fsck.mnemefs mount-tools/mneme \
			tests/integration/conformance
}
daemon_targets() { mount_targets "$1" | grep -oE 'mount-tools/(mnemefs|mkfs.mnemefs|fsck.mnemefs)'; }
asan_targets() { unit_targets "$1"; mount_targets "$1"; }
thread_targets()
{
	local name
	daemon_targets "$1"
	unit_tests "$1" | while IFS=$'\t' read -r name _ _ command; do
		! uses_threads "$name" || echo "${command%% *}" | sed -n "s|^$1/||p"
	done
}
fuzz_targets() { ninja -C "$1" -t targets all 2>/dev/null 9>&- | sed -n 's|^\(tests/fuzz/fuzz_[a-z0-9_]*\): .*|\1|p'; }

# unit_tests DIR: lines "name<TAB>timeout<TAB>VAR=value ...<TAB>command" of the meson suite `unit`. No
# field is empty: read takes several tabs for one.
unit_tests()
{
	meson introspect --tests "$1" 2>/dev/null 9>&- | python3 -c '
import json, shlex, sys
for t in json.load(sys.stdin):
    if any(s.split(":")[-1] == "unit" for s in t["suite"]):
        env = " ".join(["LC_ALL=C"] + [shlex.quote(k + "=" + v) for k, v in t["env"].items()])
        print(t["name"], t["timeout"], env, " ".join(map(shlex.quote, t["cmd"])), sep="\t")
'
}

# run_unit TIER DIR FACTOR [FILTER]: every unit test of a tree; FACTOR stretches the time limits.
run_unit()
{
	local tier=$1 dir=$2 factor=$3 filter=${4:-true} name limit env cmd tests
	mapfile -t tests < <(unit_tests "$dir")
	for line in "${tests[@]}"; do
		IFS=$'\t' read -r name limit env cmd <<<"$line"
		"$filter" "$name" || continue
		run_test "$tier/$name" $((limit * factor)) sh -c "exec env $env CK_TIMEOUT_MULTIPLIER=$factor $cmd"
	done
}

tier_lint()
{
	run_test lint/style 120 "$here/lint" "$source_dir"
}

tier_unit()
{
	build_main || return
	run_test unit/simd_aarch64 300 "$here/cross/simd-aarch64"
	run_test unit/older_x86 300 "$here/cross/older-x86" "$build_root/release"
	run_unit unit "$build_root/release" 1
}

# Lines are all that a report needs of what a debugger knows: half the time to compile.
lines_only="-Ddebug=false -Dc_args=-g1"
sanitizer_options="$lines_only -Doptimization=1 -Ddefault_library=static -Ddebug_checks=true
	$borrows_kernels"

# The sanitizers see what the scalar kernels read (simd/meson.build). These tests are of the others, or
# would take minutes without them.
wants_wide_kernels() { case $1 in simd|encoder|memory|search_index) return 0 ;; esac; return 1; }
wants_any_kernels() { ! wants_wide_kernels "$1"; }

tier_asan()
{
	# shellcheck disable=SC2086 # a list of options
	build_kernels && build_tree asan asan_targets $sanitizer_options -Db_sanitize=address,undefined || return
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	run_unit asan "$build_root/asan" 4 wants_wide_kernels
	MNEME_SIMD=scalar run_unit asan "$build_root/asan" 4 wants_any_kernels
	run_sanitized_mount asan "$build_root/asan"
	unset ASAN_OPTIONS UBSAN_OPTIONS
}

# run_sanitized_mount TIER DIR: the daemon and the tools of a sanitizer's tree on a real mount. Races show
# under a load of several processes alone.
run_sanitized_mount()
{
	local bin_dir=$2/mount-tools
	local -x MNEME_SIMD=scalar MNEME_BIN_DIR=$bin_dir MNEME_BUILD=$2 MNEME_SOURCE=$source_dir
	can_mount "$1" || return 0
	if [ "$1" = tsan ]; then
		run_test "$1/mount_load" 600 "$here/integration/load.sh"
		return
	fi
	run_test "$1/mount_conformance" 600 "$here/integration/conformance/run" mount
	run_test "$1/mount_memories" 600 "$here/integration/memories.sh"
}

# Does the test of this name use threads? One whose source is not found is taken as if it did.
uses_threads()
{
	local source=$here/unit/test_$1.c
	[ -f "$source" ] || source=$here/crash/test_$1.c
	[ ! -f "$source" ] || grep -qE 'pthread_create|bridge|worker' "$source"
}

tier_tsan()
{
	# shellcheck disable=SC2086 # a list of options
	build_kernels && build_tree tsan thread_targets $sanitizer_options -Db_sanitize=thread || return
	export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
	run_unit tsan "$build_root/tsan" 8 uses_threads
	run_sanitized_mount tsan "$build_root/tsan"
	unset TSAN_OPTIONS
}

# can_mount: whether mounts can be tested here; if not, skips TIER/all with the reason.
can_mount()
{
	local why=""
	if [ "$list" = 1 ]; then return 0; fi
	if [ ! -x "$bin_dir/mnemefs" ]; then
		why="this tree has no mount program"
	elif [ "$(id -u)" != 0 ]; then
		why="mounting wants root: run tests/run as root"
	elif [ ! -c /dev/fuse ]; then
		why="no /dev/fuse: load the module (modprobe fuse), or give the container the device"
	fi
	[ -n "$why" ] || return 0
	report_skip "$1/all" "$why"
	return 1
}

# run_scripts TIER DIR TIMEOUT_S: each executable DIR/*.sh.
run_scripts()
{
	local script
	for script in "$2"/*.sh; do
		[ -x "$script" ] || continue
		run_test "$1/$(basename "$script" .sh)" "$3" "$script"
	done
}

tier_integration()
{
	build_main || return
	can_mount integration || return
	run_scripts integration "$here/integration" 300
}

tier_conformance()
{
	[ -x "$here/integration/conformance/run" ] || return
	build_main || return
	run_test conformance/control 300 "$here/integration/conformance/run" control
	can_mount conformance || return
	run_test conformance/mount 600 "$here/integration/conformance/run" mount
	local why=""
	[ "$list" = 1 ] || why=$(no_uring)
	if [ -n "$why" ]; then
		wanted conformance/uring && report_skip conformance/uring "$why"
		return
	fi
	MNEME_TEST_OPTIONS=transport=classic run_test conformance/classic 600 "$here/integration/conformance/run" mount
}

tier_programs()
{
	build_main || return
	can_mount programs || return
	run_scripts programs "$here/integration/programs" 600
}

tier_crash()
{
	local limit=600
	[ "$MNEME_LONG" = 0 ] || limit=14400
	build_main || return
	run_test crash/seeded_bugs $limit "$here/crash/seeded" "$build_root/seeded"
	can_mount crash || return
	run_scripts crash "$here/integration/crash" $limit
}

tier_fuzz()
{
	if ! command -v clang >/dev/null; then
		[ "$list" = 1 ] || report_skip fuzz/all "clang is missing: apt-get install clang"
		return
	fi
	build_kernels || return
	# shellcheck disable=SC2086 # a list of options
	CC=clang build_tree fuzz fuzz_targets $lines_only -Doptimization=1 -Ddefault_library=static \
		-Db_lundef=false -Dfuzz=true -Ddebug_checks=true $borrows_kernels || return
	local seconds=5 target
	[ "$MNEME_LONG" = 0 ] || seconds=600
	for target in "$build_root"/fuzz/tests/fuzz/fuzz_*; do
		[ -x "$target" ] && [ -f "$target" ] || continue
		MNEME_SIMD=scalar run_test "fuzz/$(basename "$target")" $((seconds * 2 + 60)) \
			"$here/fuzz/smoke" "$target" $seconds
	done
}

tier_fstests()
{
	build_main || return
	can_mount fstests || return
	run_scripts fstests "$here/fstests" 14400
}
