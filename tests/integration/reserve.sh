#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fallocate sets room aside: df counts it as used, nobody else gets it, and what is written there later, and
# written again, finds it on a full disk, also after a kill; it is given back with the file.
. "$(dirname "$0")/lib.sh"
mkdir "$work/disk"
mount -t tmpfs -o size=96m disk "$work/disk"
store=$work/disk/store
store_new
store_mount

free_bytes() { sync "$mnt"; echo $(($(stat -f -c '%a * %S' "$mnt"))); }
# shown BYTES SINCE: that much more (or, negative, less) is free than SINCE, give or take 2 MiB, within two seconds
shown()
{
	local i difference
	for i in $(seq 20); do
		difference=$(($(free_bytes) - $2 - $1))
		[ "${difference#-}" -gt $((2 << 20)) ] || return 0
		sleep 0.1
	done
	echo "$difference bytes more are free than there should be"
	return 1
}
room() { echo $(($1 << 20)); } # MIB: what fallocate of that much takes

counts_as_used()
{
	local before
	before=$(free_bytes)
	fallocate -l 16M "$mnt/file" && shown -"$(room 16)" "$before" || return 1
	fallocate -l 16M "$mnt/file" && shown -"$(room 16)" "$before" || { echo "twice"; return 1; }
	fallocate -n -o 16M -l 4M "$mnt/file" && shown -"$(room 20)" "$before" || { echo "behind the end"; return 1; }
	fallocate -p -o 4M -l 4M "$mnt/file" && shown -"$(room 16)" "$before" || { echo "punched"; return 1; }
	# in pieces that go through the log: what was written once is free behind a checkpoint only
	dd if=/dev/urandom of="$mnt/file" bs=64k count=64 conv=notrunc,fsync status=none || return 1
	shown -$(((4 << 20) + $(room 12))) "$before" || { echo "written"; return 1; }
	truncate -s 8M "$mnt/file" && shown -$((4 << 20)) "$before" || { echo "cut"; return 1; }
	fallocate -l 8M "$mnt/other" && mv "$mnt/file" "$mnt/other" && shown -$((4 << 20)) "$before" ||
		{ echo "replaced"; return 1; }
	fallocate -z -o 4M -l 4M "$mnt/other" && shown -$(((4 << 20) + $(room 4))) "$before" || { echo "zeroed"; return 1; }
	rm "$mnt/other" && shown 0 "$before"
}
kept_when_open() # without a name, until it is closed
{
	local before
	before=$(free_bytes)
	fallocate -l 8M "$mnt/open" && exec 9<>"$mnt/open" && rm "$mnt/open" || return 1
	shown -"$(room 8)" "$before" && exec 9>&- && shown 0 "$before"
}
small_and_many() # of many files too small for the background
{
	local before i
	before=$(free_bytes)
	for i in $(seq 20); do
		: >"$mnt/small.$i" && fallocate -n -o $((i << 14)) -l 512K "$mnt/small.$i" || return 1
	done
	shown -"$(room 10)" "$before" && rm "$mnt"/small.* && shown 0 "$before"
}
fill() # by files of one size after the other
{
	local bs
	for bs in 1M 64k 4k; do
		timeout 60 dd if=/dev/zero of="$mnt/fill.$bs" bs=$bs oflag=direct status=none 2>"$work/dd"
		grep -q 'No space left' "$work/dd" || { cat "$work/dd"; return 1; }
	done
}
written() # FILE MIB BLOCK: with random bytes, in place; they are what is read
{
	head -c "$2M" /dev/urandom >"$work/bytes"
	timeout 120 dd if="$work/bytes" of="$mnt/$1" bs="$3" conv=notrunc,fsync status=none || return 1
	cmp "$work/bytes" "$mnt/$1"
}
scattered() # every second page of the rest is free
{
	python3 - "$mnt/holes" <<'END'
import os, sys
os.mkdir(sys.argv[1])
made = 0
try:
    while True:
        f = os.open(f"{sys.argv[1]}/{made}", os.O_CREAT | os.O_WRONLY)
        os.write(f, b"x" * 4000)
        os.fsync(f)
        os.close(f)
        made += 1
except OSError as e:
    assert e.errno == 28, e
for i in range(0, made, 2):
    if os.path.exists(f"{sys.argv[1]}/{i}"):
        os.unlink(f"{sys.argv[1]}/{i}")
END
}
mapped() # what a map writes has to get there
{
	python3 - "$mnt/mapped" <<'END'
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(f, 2 << 20)
for i in range(0, 2 << 20, 4096):
    m[i:i + 8] = b"%08d" % i
m.flush()
os.fsync(f)
END
}
refused() # "too little is left" by the one who asks, not by the one who has it
{
	fallocate -l 32M "$mnt/more" 2>"$work/said" && return 1
	grep -q "No space left" "$work/said" && rm -f "$mnt/more"
}

all_that_df_shows() # but half a MiB; and it is there, for as long as it is written again
{
	local left
	left=$((($(free_bytes) - (512 << 10)) >> 20))
	fallocate -l "${left}M" "$mnt/all" || return 1
	written all "$left" 1M && written all "$left" 64k && rm "$mnt/all"
}

check df_counts_what_is_set_aside counts_as_used
check kept_while_the_file_is_open kept_when_open
check small_files small_and_many
for file in first second third mapped behind; do
	fallocate -l 2M "$mnt/$file"
done
touch "$mnt/appended"
fallocate -n -l 2M "$mnt/appended"
sync "$mnt"
check fill fill
check what_is_not_there_is_refused refused
check written_on_a_full_disk written first 2 1M
check overwritten_on_a_full_disk written first 2 1M
check overwritten_in_small_pieces written first 2 4k
check by_a_map mapped
before=$(free_bytes)
store_kill
store_mount
check shown_after_a_kill shown 0 "$before"
check written_after_a_kill written second 2 4k
check appended_to written appended 1 64k
store_unmount
check store_with_room_set_aside store_check
store_mount
rm "$mnt/fill.64k"
check scattered scattered
check refilled fill
check written_where_only_single_pages_are_free written third 2 1M
check overwritten_there written third 2 64k
before=$(free_bytes)
rm "$mnt/behind"
check given_back shown "$(room 2)" "$before"
check removed_on_a_full_disk rm -r "$mnt/holes" "$mnt"/fill.*
store_unmount
check store_of_single_pages store_check
store_mount
rm -rf "$mnt"/*
check all_that_df_shows all_that_df_shows
store_unmount
check store store_check
finish
