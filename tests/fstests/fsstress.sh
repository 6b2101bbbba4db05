#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fsstress of the project kdave/xfstests: 16 processes do everything at once; then the store is
# consistent, also after a kill in the middle. FSSTRESS_SECONDS: of each round (default 60, with
# --long 600).
. "$(dirname "$0")/../integration/lib.sh"
suite=${XFSTESTS_DIR:-}
[ -n "$suite" ] || skip_all "XFSTESTS_DIR is not set: get the project kdave/xfstests, build it (make)" \
	"and name its folder"
[ -x "$suite/ltp/fsstress" ] || skip_all "$suite/ltp/fsstress is not built"
seconds=60
[ "${MNEME_LONG:-0}" = 0 ] || seconds=600
seconds=${FSSTRESS_SECONDS:-$seconds}

stress() # SEED SECONDS
{
	mkdir -p "$mnt/$1"
	"$suite/ltp/fsstress" -d "$mnt/$1" -p 16 -s "$1" --duration="$2" >"$work/fsstress.log" 2>&1 ||
		{ tail -n 30 "$work/fsstress.log"; return 1; }
	is_mounted && kill -0 "$daemon"
}
listed() { find "$mnt" -ls >/dev/null; }

store_new
store_mount
check fsstress stress 1 "$seconds"
check everything_is_listed listed
store_unmount
check store_after_fsstress store_check
store_mount
check everything_is_there_again listed
stress 2 15 >"$work/round.log" 2>&1 & busy=$!
sleep 10
store_kill
wait $busy
check store_after_a_kill store_check
store_mount
check removed rm -rf "$mnt/1" "$mnt/2"
store_unmount
check store_at_the_end store_check
finish
