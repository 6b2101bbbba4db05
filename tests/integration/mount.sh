#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tools' life cycle: make, mount, unmount, mount again, refuse, say why, end by signal.
. "$(dirname "$0")/lib.sh"

check no_store_is_said says_no 'nowhere' timeout 10 mnemefs "$work/nowhere" "$work" -f
check usage_is_said says_no 'usage|--help' timeout 10 mnemefs
mkdir "$work/plain" "$work/full"
echo x >"$work/full/file"
check foreign_directory_is_no_store says_no 'store' timeout 10 mnemefs "$work/plain" "$work" -f
check mkfs_keeps_what_is_there says_no '.' mkfs.mnemefs "$work/full"
check mkfs_kept_it test "$(cat "$work/full/file")" = x
for owner in -1:5 5:-1 4294967295:5 5 5:x 5:5x; do
	check "owner_${owner}_is_refused" says_no 'UID:GID' mkfs.mnemefs -o "$owner" "$work/owned"
done
store_new
check mkfs_twice_is_refused says_no '.' mkfs.mnemefs "$store"
check fsck_of_a_new_store store_check
mkdir -p "$mnt"
check no_mount_point_is_said says_no 'absent' timeout 10 mnemefs "$store" "$work/absent" -f
check file_is_no_mount_point says_no 'not a directory' timeout 10 mnemefs "$store" "$work/full/file" -f
check unknown_option_is_named says_no 'nosuchoption' timeout 10 mnemefs "$store" "$mnt" -f -o nosuchoption
store_mount
echo content >"$mnt/file"
mkdir "$mnt/dir"
check type_in_mount_table grep -q " $mnt .* - fuse.mnemefs $store " /proc/self/mountinfo
check second_mount_names_the_holder says_no "$daemon" timeout 10 mnemefs "$store" "$work/plain" -f
command -v fsck.mnemefs >/dev/null &&
	check fsck_of_a_mounted_store_is_refused says_no '.' fsck.mnemefs -y "$store"
check df df "$mnt"
check sync sync "$mnt"
store_unmount
check fsck_after_unmount store_check
store_mount
check content_is_there test "$(cat "$mnt/file")" = content
store_unmount

store_mount ro
check read_only_reads test "$(cat "$mnt/file")" = content
check read_only_refuses_to_write says_no 'read-only' sh -c "echo x >'$mnt/file'"
check read_only_refuses_to_make says_no 'read-only' mkdir "$mnt/new"
store_unmount

store_mount noexec,nosuid,nodev
cp /bin/true "$mnt/true"
check noexec_is_kept says_no 'permission denied' "$mnt/true"
store_unmount

store_mount durability=strict
check strict_takes_no_ring sh -c "tail -n 1 '$work/daemon.log' | grep 'transport classic'"
store_unmount

long_path() # LENGTH: no option is lost behind a long path of the store
{
	local path=$store status=0
	while [ ${#path} -lt "$1" ]; do path=/$path; done
	mnemefs "$path" "$mnt" -o ro,noexec || return 1
	findmnt -n -o OPTIONS "$mnt" | grep -q '^ro,noexec,.*default_permissions,allow_other$' || status=1
	umount "$mnt"
	return $status
}
for length in 955 967 979 4000; do
	check "long_path_$length" long_path $length
done
daemon_mode() { # without -f: returns when the mount is there
	mnemefs "$store" "$mnt" -o allow_other && mountpoint -q "$mnt" && [ "$(cat "$mnt/file")" = content ]
}
gone() # no daemon has the store any more
{
	local i
	for i in $(seq 50); do
		pgrep -f "^(/[^ ]*/)?mnemefs $store " >"$work/daemons" || return 0
		sleep 0.1
	done
	cat "$work/daemons"
	return 1
}
check daemon_mode daemon_mode
check daemon_unmount umount "$mnt"
check daemon_lets_go_of_the_store gone

for signal in TERM INT HUP; do
	store_mount
	echo "$signal" >"$mnt/signal"
	kill -$signal "$daemon"
	check "ends_by_$signal" daemon_wait 100
	daemon=""
	check "not_mounted_after_$signal" sh -c "! mountpoint -q '$mnt'"
	check "clean_after_$signal" store_check
	store_mount
	check "kept_after_$signal" test "$(cat "$mnt/signal")" = $signal
	store_unmount
done

store_mount
echo durable >"$mnt/durable"
sync "$mnt/durable" "$mnt"
exec 7<"$mnt/durable"
kill -KILL "$daemon"
daemon_wait 50
not_connected() # within a second: the kernel closes the daemon's rings a little after its end
{
	local i
	for i in $(seq 10); do
		says_no 'not connected' timeout 1 stat "$mnt/other" && return 0
		sleep 0.1
	done
	return 1
}
check killed_daemon_answers_enotconn not_connected
exec 7<&-
umount "$mnt" || umount -l "$mnt"
store_mount
check synced_is_there_after_kill test "$(cat "$mnt/durable")" = durable
store_unmount
check clean_after_kill store_check

each_read_counts()
{
	local before
	echo read >"$mnt/read"
	for _ in 1 2; do
		before=$(stat -c %x "$mnt/read")
		sleep 0.02
		cat "$mnt/read" && [ "$(stat -c %x "$mnt/read")" != "$before" ] || return 1
	done
}
store_mount strictatime
check strictatime each_read_counts
store_unmount

remount_at_once() # umount(8) returns before the daemon has closed the store
{
	local i
	for i in $(seq 10); do
		mnemefs "$store" "$mnt" || return 1
		head -c 20M /dev/zero >"$mnt/dirty" && umount "$mnt" || return 1
	done
	fsck.mnemefs -n "$store"
}
check remount_at_once remount_at_once

if command -v mount.mnemefs >/dev/null; then
	by_mount()
	{
		mount -t fuse.mnemefs "$store" "$mnt" -o allow_other &&
			[ "$(cat "$mnt/file")" = content ] && umount "$mnt"
	}
	if [ -x /sbin/mount.fuse.mnemefs ] || [ -x /sbin/mount.fuse ] || [ -x /sbin/mount.fuse3 ]; then
		check mount_by_type by_mount
		gone
	fi
fi
finish
