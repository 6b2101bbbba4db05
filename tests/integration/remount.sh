#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mount that changes its options while it is used: by mnemefs -o remount, and by mount(8).
. "$(dirname "$0")/lib.sh"

by_tool() { mnemefs "$store" "$mnt" -o "remount,$1"; }
# What mount(8) hands its helper for "mount -o remount,$1 DIR" without a line in fstab: the mount table's.
by_helper()
{
	(exec -a mount.fuse.mnemefs mnemefs "$store" "$mnt" -o \
		"$(findmnt -n -o OPTIONS "$mnt" | sed 's/^r[ow],//'),remount,$1")
}
by_mount() { mount -i -o "remount,$1" "$mnt"; }
has() { findmnt -n -o OPTIONS "$mnt" | grep -qE "(^|,)$1(,|$)"; }

read_only() # BY
{
	"$1" ro && has ro && [ "$(cat "$mnt/file")" = "$(cat "$work/last")" ] &&
		says_no 'read-only' sh -c "echo x >'$mnt/file'" && says_no 'read-only' mkdir "$mnt/new" &&
		says_no 'read-only' setfattr -n user.a -v b "$mnt/file" && [ ! -e "$mnt/new" ]
}
read_write() # BY
{
	"$1" rw && has rw && echo "$1" >"$mnt/file" && echo "$1" >"$work/last" &&
		mkdir "$mnt/dir" && rmdir "$mnt/dir" && sync "$mnt/file"
}
busy_with_a_writer()
{
	local status=0
	exec 7>"$mnt/open"
	says_no 'busy' "$1" ro && has rw && echo still >&7 || status=1
	exec 7>&-
	[ $status = 0 ] && [ "$(cat "$mnt/open")" = still ]
}
# Access times are the daemon's: the mount table goes on to say what it does.
atime_stays()
{
	by_tool relatime && has noatime && by_tool ro && has noatime && by_tool rw && has noatime
}
# What a read-only mount showed is on the disk: the daemon may die.
durable_when_read_only()
{
	echo last >"$mnt/durable" && by_tool ro && store_kill || return 1
	store_check && store_mount && [ "$(cat "$mnt/durable")" = last ]
}
options_change()
{
	cp /bin/true "$mnt/true" && "$mnt/true" || return 1
	by_tool noexec,nosuid,nodev && has noexec && has nosuid && has nodev &&
		says_no 'permission denied' "$mnt/true" || return 1
	by_tool exec,suid,dev && "$mnt/true"
}

store_new
store_mount
echo first >"$mnt/file"
echo first >"$work/last"
for by in by_tool by_helper by_mount; do
	check "read_only_$by" read_only $by
	check "read_write_$by" read_write $by
	check "busy_$by" busy_with_a_writer $by
done
check options_change options_change
store_unmount
store_mount noatime
check atime_stays atime_stays
check foreign_directory_is_refused says_no '.' mnemefs "$store" "$work" -o remount,ro
durable_when_read_only >"$work/round.log" 2>&1 && echo "ok durable_when_read_only" ||
	fatal durable_when_read_only
store_unmount
check store_after_remounts store_check
store_mount ro
check a_store_opened_read_only_stays_so says_no 'unmount it' by_tool rw
check and_still_says_so has ro
store_unmount
finish
