#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A store on a full disk says so, loses nothing, and recovers when files are deleted.
. "$(dirname "$0")/lib.sh"
mkdir "$work/disk"
mount -t tmpfs -o size=4m disk "$work/disk"
store=$work/disk/store
check no_room_for_a_store says_no 'No space left' mkfs.mnemefs "$store"
check nothing_stays_of_it test "$(du -s "$work/disk" | cut -f 1)" -le 8
mount -o remount,size=64m "$work/disk"
store_new
store_mount

fill() # until ENOSPC; what was written whole stays readable
{
	local i=0
	mkdir -p "$mnt/fill"
	while timeout 30 dd if=/dev/urandom of="$mnt/fill/$i" bs=64k count=8 conv=fsync status=none 2>"$work/dd"; do
		sha256sum "$mnt/fill/$i" >>"$work/sums"
		i=$((i + 1))
		[ $i -lt 1000 ] || { echo "it never fills"; return 1; }
	done
	cat "$work/dd"
	grep -q 'No space left' "$work/dd" && [ $i -gt 20 ]
}
keep() { echo precious >"$mnt/precious" && sync "$mnt/precious" "$mnt"; }
intact() { sha256sum -c --quiet "$work/sums" && [ "$(cat "$mnt/precious")" = precious ]; }
remove() { rm -rf "$mnt/fill"; }
writable_again() # the freed space comes back within some checkpoints
{
	local i
	for i in $(seq 40); do
		timeout 30 dd if=/dev/zero of="$mnt/again" bs=64k count=64 conv=fsync status=none 2>"$work/dd" && return 0
		sleep 0.5
	done
	cat "$work/dd"
	return 1
}
free_bytes() { echo $(($(stat -f -c '%a * %S' "$mnt"))); }
shown() # BYTES: df tells of that much within two seconds
{
	local i
	for i in $(seq 20); do
		[ "$(free_bytes)" -lt "$1" ] || return 0
		sleep 0.1
	done
	echo "$(free_bytes) bytes are free, not $1"
	return 1
}
deletion() # what it frees is shown and can be written to, though the store has no reason for a checkpoint
{
	local size free
	for _ in 1 2 3 4; do
		dd if=/dev/urandom of="$mnt/one" bs=1M status=none 2>"$work/dd"
		size=$(stat -c %s "$mnt/one")
		free=$(free_bytes)
		[ "$size" -gt $((8 << 20)) ] && rm "$mnt/one" && shown $((free + size / 2)) || return 1
		dd if=/dev/urandom of="$mnt/next" bs=1M count=$((size / 2 >> 20)) status=none || return 1
		rm "$mnt/next"
	done
}
mixed() # files of all sizes until the disk is full, every second one removed, again; what stays is right
{
	local round i kib
	mkdir -p "$mnt/mixed"
	for round in 1 2 3 4; do
		for ((i = 0; i < 3000; i++)); do
			kib=$((1 + (i * 7919 + round * 31) % 97))
			[ $((i % 3)) = 0 ] && kib=4
			head -c $((kib * 1024 - i % 500)) "$work/random" >"$mnt/mixed/$round.$i" 2>/dev/null || break
		done
		[ "$i" -lt 3000 ] || { echo "it never fills"; return 1; }
		rm -f "$mnt/mixed/$round.$i"
		find "$mnt/mixed" -name "*[02468]" -delete || return 1
		sync -f "$mnt/precious" || return 1
	done
	for i in "$mnt"/mixed/*; do
		cmp -n "$(stat -c %s "$i")" "$i" "$work/random" || return 1
	done
	rm -rf "$mnt/mixed" && echo more >"$mnt/after" && sync "$mnt/after"
}
cut_many() # more chunks than one transaction could once remove, in a file of 16 TiB
{
	python3 - "$mnt/many" <<'END'
import os, sys
CHUNKS, SIZE = 70000, 1 << 44
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for i in range(CHUNKS):
    os.pwrite(f, b"x", i * 16384 * 3)
os.ftruncate(f, SIZE)
os.pwrite(f, b"end", SIZE - 3)
os.ftruncate(f, 16384 + 1)
assert os.fstat(f).st_size == 16385
assert os.pread(f, 2, 0) == b"x\0"
os.ftruncate(f, SIZE)
assert os.pread(f, 1, 16384 * 3) == b"\0" and os.pread(f, 3, SIZE - 3) == b"\0\0\0"
assert os.fstat(f).st_blocks == 1, os.fstat(f)
END
}
filled_up() # by writes of every size; then df shows at most what one small write may want, and what a deletion
{ # has brought
	local name=0 option shown
	dd if=/dev/urandom of="$mnt/given" bs=256k count=1 status=none || return 1
	for option in bs=1M bs=4k "bs=4k oflag=sync"; do
		# shellcheck disable=SC2086 # options
		timeout 60 dd if=/dev/zero of="$mnt/filled.$((name += 1))" $option status=none 2>"$work/dd"
		grep -q 'No space left' "$work/dd" || { cat "$work/dd"; return 1; }
	done
	shown=$(free_bytes)
	[ "$shown" -le $((256 << 10)) ] || { echo "$shown bytes are shown on a full disk"; return 1; }
	sync "$mnt" || return 1 # what cannot be indexed is durable all the same
	rm "$mnt/given" && shown=$(free_bytes) && [ "$shown" -ge $((128 << 10)) ] ||
		{ echo "$shown bytes are shown after a deletion"; return 1; }
}
truthful() { # df shows what can be had
	local free
	free=$(stat -f -c '%a * %S' "$mnt")
	[ $((free)) -gt $((8 << 20)) ] && [ $((free)) -lt $((64 << 20)) ]
}

check statfs_is_true truthful
too_much() # a reservation of more than there is
{
	timeout 10 fallocate -l 1T "$mnt/huge" 2>"$work/said" && return 1
	cat "$work/said"
	grep -q 'No space left' "$work/said" && [ "$(stat -c %s "$mnt/huge")" = 0 ] && rm "$mnt/huge"
}
check reservation_of_too_much too_much
check keep keep
check cut_many_chunks cut_many
rm -f "$mnt/many"
check deletion_gives_space deletion
check df_of_a_full_disk filled_up
rm -f "$mnt/given" "$mnt"/filled.*
for round in 1 2 3; do
	rm -f "$work/sums"
	check "fill_$round" fill
	check "intact_$round" intact
	check "remove_$round" remove
	check "writable_again_$round" writable_again
	check "precious_$round" test "$(cat "$mnt/precious")" = precious
	rm -f "$mnt/again"
done
head -c 102400 /dev/urandom >"$work/random"
check mixed_sizes mixed
store_unmount
check store_after_mixed_sizes store_check
store_mount
check precious_after_remount test "$(cat "$mnt/precious")" = precious
rm -f "$work/sums"
check fill_after_remount fill
store_unmount
store_mount
check full_store_mounts intact
check remove_after_remount remove
check writable_after_remount writable_again
store_unmount
check store store_check
umount "$work/disk"

# The log of a burst of writes would take half of this disk: df counts that as free, and files get it.
mount -t tmpfs -o size=400m disk "$work/disk"
store_new
store_mount
total_bytes() { echo $(($(stat -f -c '%b * %S' "$mnt"))); }
large_again() # a file of two thirds of the disk, and again
{
	local total round
	total=$(total_bytes)
	for round in 1 2 3; do
		dd if=/dev/zero of="$mnt/large" bs=1M count=260 status=none || return 1
		[ $(($(total_bytes) - total)) -ge $((-8 << 20)) ] || { echo "$total bytes, then $(total_bytes)"; return 1; }
		rm "$mnt/large" || return 1
	done
}
check log_gives_its_room large_again
check df_of_a_full_disk_behind_large_files filled_up
store_unmount
check store_after_large_files store_check
umount "$work/disk"
finish
