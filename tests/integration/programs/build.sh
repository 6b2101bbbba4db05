#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The project is built on the mount, sources and objects both, and a unit test runs there. The daemon and
# one test stand for the other programs, unless MNEME_LONG=1.
. "$(dirname "$0")/../lib.sh"
store_new
store_mount
copy()
{
	mkdir "$mnt/source" && cd "$MNEME_SOURCE" &&
		tar c --exclude=./build --exclude=./.git . | tar x -C "$mnt/source"
}
check copy copy
check same diff -r --exclude=build --exclude=.git "$MNEME_SOURCE" "$mnt/source"
check configure meson setup "$mnt/build" "$mnt/source" -Ddefault_library=static -Dbuildtype=debug \
	-Dready_kernels="$MNEME_BUILD"
targets="mount-tools/mnemefs tests/unit/test_pool"
[ "${MNEME_LONG:-0}" = 0 ] || targets=all
# shellcheck disable=SC2086 # a list of targets
check build ninja -C "$mnt/build" $targets
check run_what_was_built "$mnt/build/tests/unit/test_pool"
check nothing_to_do sh -c "ninja -C '$mnt/build' $targets >'$work/said' && grep -q 'no work to do' '$work/said'"
touch "$mnt/source/pool/alloc.c"
check change_is_seen sh -c "ninja -C '$mnt/build' $targets >'$work/said' && grep -q alloc '$work/said'"
cd /
store_unmount
check store store_check
finish
