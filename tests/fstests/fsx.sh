#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fsx of the project kdave/xfstests: random operations on one file against a copy in memory, in several
# modes; each works on a copy of the settings that the kernel caches differently. FSX_OPS: operations
# of each mode (default 100,000, and 10,000 of those that take longer; with --long 1,000,000 of all but the two
# that reopen the file: before that fsx drops the caches of the whole machine, which may take seconds, so there
# they are 100,000). FSX_MOUNT: mount options besides (transport=classic).
. "$(dirname "$0")/../integration/lib.sh"
suite=${XFSTESTS_DIR:-}
[ -n "$suite" ] || skip_all "XFSTESTS_DIR is not set: get the project kdave/xfstests, build it (make)" \
	"and name its folder"
[ -x "$suite/ltp/fsx" ] || skip_all "$suite/ltp/fsx is not built"
ops=${FSX_OPS:-100000}
reopened=$ops
slow=$((ops / 10))
[ "${MNEME_LONG:-0}" = 0 ] || { ops=${FSX_OPS:-1000000}; slow=$ops; }

# What FUSE does not have may be dropped; anything else has to run.
may_miss='COLLAPSE_RANGE|INSERT_RANGE|UNSHARE_RANGE|clone|dedupe|exchange|DONTCACHE|dontcache|atomic'

fsx() # NAME OPERATIONS OPTION...
{
	local name=$1 count=$2
	shift 2
	mkdir -p "$mnt/$name" "$work/fsx.$name"
	"$suite/ltp/fsx" -N "$count" -P "$work/fsx.$name" "$@" "$mnt/$name/file" >"$work/fsx.log" 2>&1 ||
		{ tail -n 60 "$work/fsx.log"; return 1; }
	grep -iE 'not support|disabling' "$work/fsx.log" | grep -vE "$may_miss" && return 1
	grep -q 'All [0-9]* operations completed' "$work/fsx.log"
}

store_new
store_mount "${FSX_MOUNT:-}"
check plain fsx plain "$ops" -S 1
check large fsx large "$ops" -S 2 -l 10000000 -o 300000
check without_maps fsx without_maps "$ops" -S 3 -R -W
check reopened fsx reopened "$reopened" -S 4 -c 50
check dropped_cache fsx dropped_cache "$ops" -S 5 -f
check direct fsx direct "$ops" -S 6 -Z -R -W -r 512 -w 512 -t 512
check direct_pages fsx direct_pages "$ops" -S 7 -Z -R -W -r 4096 -w 4096 -t 4096
check aio fsx aio "$ops" -S 8 -A
check aio_direct fsx aio_direct "$ops" -S 9 -A -Z -R -W -r 512 -w 512
check uring fsx uring "$ops" -S 10 -U
check small_truncates fsx small_truncates "$ops" -S 11 -s 1
check behind_the_end fsx behind_the_end "$ops" -S 12 -e 1
check synchronous fsx synchronous "$slow" -S 13 -y
check compared_each_time fsx compared_each_time "$slow" -S 14 -X
store_unmount
store_mount "create=cached,open=checked${FSX_MOUNT:+,$FSX_MOUNT}"
check checked_open fsx checked_open "$reopened" -S 15 -c 50
store_unmount
check store store_check
finish
