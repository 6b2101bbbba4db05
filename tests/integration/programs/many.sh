#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many files: made, listed, renamed, removed; afterwards the space is free again.
. "$(dirname "$0")/../lib.sh"
store_new
store_mount
count=20000
[ "${MNEME_LONG:-0}" = 0 ] || count=100000

make() { mkdir "$mnt/d" && cd "$mnt/d" && seq $count | split -l 1 -a 6 -d - f; }
list() { [ "$(ls -f "$mnt/d" | grep -c '^f')" = $count ] && [ "$(find "$mnt/d" -type f | wc -l)" = $count ]; }
glob() { cd "$mnt/d" && set -- f00000* && [ $# = 10 ]; }
content() { [ "$(cat "$mnt/d/f000041")" = 42 ]; }
tree() { for i in $(seq 100); do mkdir -p "$mnt/t/$((i % 10))/$i/x/y" || return 1; done; }

check make_$count make
check list list
check glob glob
check content content
check tree tree
store_unmount
store_mount
check list_after_remount list
check content_after_remount content
check remove rm -rf "$mnt/d" "$mnt/t"
check nothing_left test -z "$(ls -A "$mnt")"
store_unmount
check store store_check
finish
