#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon under load: what was fsynced is there, nothing is half there, the store is
# consistent and mounts again for two seconds of processor time at most (a clock would tell what else
# the machine does).  usage: kill.sh [ROUNDS]
. "$(dirname "$0")/../lib.sh"
rounds=${1:-20}
[ "${MNEME_LONG:-0}" = 0 ] || rounds=${1:-1000}
oracle=$MNEME_BUILD/tests/integration/crash_oracle
slowest=0

# Mounts; what the daemon computed for it, in milliseconds.
timed_mount()
{
	local took
	store_mount "$@"
	took=$(awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$daemon/stat")
	[ $took -le $slowest ] || slowest=$took
}

one_round()
{
	local writer
	timed_mount "${modes[$(($1 % ${#modes[@]}))]}"
	"$oracle" verify "$mnt" "$work/notes" >"$work/verdict" 2>&1 || { cat "$work/verdict"; return 1; }
	"$oracle" write "$mnt" "$work/notes" "$1" & writer=$!
	sleep "$((RANDOM % 2)).$((RANDOM % 9))$((RANDOM % 9))"
	store_kill
	wait $writer
	store_check
}

modes=("" durability=strict)
RANDOM=42
store_new
for round in $(seq "$rounds"); do
	one_round "$round" >"$work/round.log" 2>&1 && continue
	echo "FAIL round_$round"
	cat "$work/round.log"
	failures=1
	break
done
[ "$failures" != 0 ] || echo "ok ${rounds}_rounds ($(stat -c %s "$work/notes") bytes of notes)"
if [ "$failures" = 0 ]; then
	timed_mount
	check last_state "$oracle" verify "$mnt" "$work/notes"
	check mounts_within_2_s test $slowest -lt 2000
	store_unmount
	check store store_check
fi
finish
