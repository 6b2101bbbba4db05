#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The exit status of fsck.mnemefs is that of fsck(8), -n changes nothing, -y repairs, and the mount works
# again with what was there.
. "$(dirname "$0")/lib.sh"

# status WANTED COMMAND...
status()
{
	local wanted=$1 got
	shift
	"$@" </dev/null
	got=$?
	[ $got = "$wanted" ] || { echo "status $got instead of $wanted: $*"; return 1; }
}
sums() { find "$1" -type f -print0 | sort -z | xargs -0 sha256sum; }
generation() { od -An -t u8 -j $(($1 + 48)) -N 8 "$store/super"; }
older_superblock() { [ $(generation 0) -lt $(generation 4096) ] && echo 0 || echo 4096; }
overwrite() { printf 'damage' | dd of="$store/$1" bs=1 seek="$2" conv=notrunc status=none; }

usage() { status 16 fsck.mnemefs && status 16 fsck.mnemefs -n -y "$store" && status 16 fsck.mnemefs -Z "$store"; }
help() { fsck.mnemefs --help | grep -q 'Exit status'; }
no_store() { status 8 fsck.mnemefs -n "$work/nothing"; }
busy() { status 8 fsck.mnemefs -n "$store" && fsck.mnemefs -y "$store" 2>&1 | grep -q 'in use by process'; }
fill() { mkdir -p "$mnt/a/b" && cp -r "$(dirname "$0")" "$mnt/a/b/" && sync "$mnt/a"; }
clean() { status 0 fsck.mnemefs -n "$store" && status 0 fsck.mnemefs -p -f -v "$store"; }
unchanged() # damaged superblock and bitmap: found, and nothing written
{
	overwrite super $(($(older_superblock) + 100))
	overwrite heap 200
	sums "$store" >"$work/before"
	status 4 fsck.mnemefs -n "$store" && status 4 fsck.mnemefs "$store" || return 1
	sums "$store" >"$work/after"
	cmp "$work/before" "$work/after"
}
repaired() { status 1 fsck.mnemefs -y "$store" && status 0 fsck.mnemefs -n "$store"; }
same_files() { diff -r "$(dirname "$0")" "$mnt/a/b/$(basename "$(dirname "$0")")"; }

# No superblock: -n promises no repair. No file of that name: no new store is advised.
hopeless()
{
	cp -r "$store" "$work/copy" && dd if=/dev/zero of="$work/copy/super" bs=8192 count=1 conv=notrunc status=none
	status 4 fsck.mnemefs -n "$work/copy" | tee "$work/said"
	grep -q 'cannot repair that' "$work/said" && ! grep -q -- '-y repairs' "$work/said" || return 1
	rm "$work/copy/super"
	status 8 fsck.mnemefs -n "$work/copy" 2>&1 | tee "$work/said"
	grep -q 'the file super of this store is missing' "$work/said" && ! grep -q mkfs "$work/said"
}

[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no store to check"
store_new
store_mount
check fill fill
check a_mounted_store_is_refused busy
store_unmount
check usage usage
check help help
check no_store no_store
check clean clean
check hopeless hopeless
check n_changes_nothing unchanged
check y_repairs repaired
store_mount
check files_are_as_before same_files
store_unmount
finish
