#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's connection is aborted under load: every caller gets an error, the daemon ends, and
# what was synced is there at the next mount.
. "$(dirname "$0")/../lib.sh"
rounds=10
[ "${MNEME_LONG:-0}" = 0 ] || rounds=200
control=/sys/fs/fuse/connections
mountpoint -q $control || mount -t fusectl fusectl $control 2>/dev/null
[ -d $control ] || skip_all "no $control"
store_new

# Writes and syncs until the mount is gone: the daemon is met while it waits for the disk.
sync_always() # NAME
{
	while dd if=/dev/zero of="$mnt/$1" bs=4k count=1 conv=fsync 2>/dev/null; do :; done
}

one_round()
{
	local device pids="" w stuck=0
	store_mount
	echo "$1" >"$mnt/synced" && sync "$mnt/synced" "$mnt" || return 1
	device=$(mountpoint -d "$mnt")
	device=${device#*:}
	for w in 1 2 3; do
		dd if=/dev/zero of="$mnt/big.$w" bs=64k count=100000 2>/dev/null & pids="$pids $!"
		sync_always "small.$w" & pids="$pids $!"
	done
	sleep 0.$((RANDOM % 5))1
	echo 1 >"$control/$device/abort" || return 1
	sleep 0.5
	for w in $pids; do
		local i
		for i in $(seq 50); do kill -0 "$w" 2>/dev/null || break; sleep 0.1; done
		kill -0 "$w" 2>/dev/null && { stuck=1; cat "/proc/$w/stack"; kill -KILL "$w"; }
		wait "$w" 2>/dev/null
	done
	umount "$mnt" || umount -l "$mnt"
	daemon_wait 300 || { echo "the daemon stays"; return 1; }
	[ $stuck = 0 ] || { echo "a caller is stuck"; return 1; }
	store_check || return 1
	store_mount
	[ "$(cat "$mnt/synced")" = "$1" ] || { echo "lost what was synced"; return 1; }
	rm -f "$mnt"/big.*
	store_unmount
}

for round in $(seq $rounds); do
	one_round "$round" >"$work/round.log" 2>&1 && continue
	echo "FAIL round_$round"
	tail -n 30 "$work/round.log"
	failures=1
	break
done
[ "$failures" != 0 ] || echo "ok ${rounds}_rounds"
finish
