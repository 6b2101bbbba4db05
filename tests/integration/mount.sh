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

# The helper of umount(8): when it returns the daemon has closed the store.
ln -s "$(command -v mnemefs)" "$work/umount.mnemefs"
many_files()
{
	mkdir -p "$mnt/many"
	seq 2000 | (cd "$mnt/many" && split -l 1 -a 4 -d - "$1")
}
copy_has_all() # PREFIX: of a copy of the store that is made at once
{
	local n
	cp -a "$store" "$work/copy" && mnemefs "$work/copy" "$mnt" -o memory=off || return 1
	n=$(cat "$mnt/many/$1"* | sort -n | uniq | wc -l)
	"$work/umount.mnemefs" "$mnt" && rm -r "$work/copy" && echo "$n files" && [ "$n" = 2000 ]
}
helper_waits() # PREFIX OPTIONS ARGUMENT...
{
	local prefix=$1 options=$2
	shift 2
	mnemefs "$store" "$mnt" -o "memory=off,durability=memory$options" && many_files "$prefix" || return 1
	"$work/umount.mnemefs" "$mnt" "$@" && copy_has_all "$prefix"
}
fuser_waits() # the way of the documents after another umount
{
	mnemefs "$store" "$mnt" -o memory=off,durability=memory && many_files later &&
		fuser -s "$store/lock" && umount "$mnt" || return 1
	while fuser -s "$store/lock"; do sleep 0.1; done
	copy_has_all later
}
lazily() # the daemon cannot end: a file is open
{
	store_mount
	exec 7<"$mnt/file"
	timeout 20 "$work/umount.mnemefs" -l "$mnt" || return 1
	! is_mounted && daemon_runs || return 1
	exec 7<&-
	daemon_wait 600
}
busy_is_said()
{
	local status
	"$work/umount.mnemefs" "$1" 7<"$mnt/file" >"$work/said" 2>&1
	status=$?
	cat "$work/said"
	[ $status = 32 ] && grep -q busy "$work/said" && is_mounted
}
busy_becomes_read_only()
{
	"$work/umount.mnemefs" -r "$mnt" 7<"$mnt/file" && says_no read-only touch "$mnt/no"
}
copy_of_the_mount_goes_alone() # the daemon goes on
{
	mkdir -p "$work/bound"
	mount --bind "$mnt/many" "$work/bound" && timeout 20 "$work/umount.mnemefs" -v "$work/bound" &&
		[ "$(cat "$mnt/file")" = content ] && daemon_runs
}
check umount_helper_waits helper_waits plain ""
check umount_helper_waits_whatever_the_source helper_waits source ,fsname=elsewhere -v
check umount_helper_waits_when_forced helper_waits forced "" -f
if command -v fuser >/dev/null; then
	check fuser_waits fuser_waits
fi
check umount_helper_wants_a_mount says_no 'no mnemefs is mounted' "$work/umount.mnemefs" "$work/plain"
check umount_helper_wants_ours says_no 'no mnemefs is mounted' "$work/umount.mnemefs" /proc
check umount_helper_lazily lazily
store_mount
check umount_helper_of_a_bind copy_of_the_mount_goes_alone
check umount_helper_says_busy busy_is_said "$mnt"
check umount_helper_read_only busy_becomes_read_only
store_unmount
store_mount
kill -KILL "$daemon"
daemon_wait 50
check umount_helper_of_a_dead_mount timeout 20 "$work/umount.mnemefs" "$mnt"

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
