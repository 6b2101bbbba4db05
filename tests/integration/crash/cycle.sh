#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Mount and unmount under load: nothing hangs, nothing is lost, no process or mount stays.
. "$(dirname "$0")/../lib.sh"
rounds=20
[ "${MNEME_LONG:-0}" = 0 ] || rounds=200
store_new

load() # until the mount goes
{
	local i=0
	while [ -d "$mnt/d" ]; do
		echo "$1.$i" >"$mnt/d/$1.$((i % 50))" 2>/dev/null && cat "$mnt/d/$1.$((i % 50))" >/dev/null 2>&1
		i=$((i + 1))
	done
}

one_round()
{
	local pids="" w status=0
	store_mount
	mkdir -p "$mnt/d"
	echo "$1" >"$mnt/round"
	for w in 1 2 3; do
		load $w & pids="$pids $!"
	done
	sleep 0.$((RANDOM % 5))1
	umount -l "$mnt" || return 1
	for w in $pids; do
		local i
		for i in $(seq 100); do kill -0 "$w" 2>/dev/null || break; sleep 0.1; done
		kill -KILL "$w" 2>/dev/null && { echo "a caller is stuck"; status=1; }
		wait "$w" 2>/dev/null
	done
	daemon_wait 100 || { echo "the daemon stays"; return 1; }
	[ $status = 0 ] && [ "$daemon_status" = 0 ] && store_check
}

for round in $(seq $rounds); do
	one_round "$round" >"$work/round.log" 2>&1 && continue
	echo "FAIL round_$round"
	tail -n 30 "$work/round.log"
	failures=1
	break
done
[ "$failures" != 0 ] || echo "ok ${rounds}_rounds"
store_mount
check last_round_is_there test "$(cat "$mnt/round")" = "$rounds"
store_unmount
finish
