#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# user.mneme.durability of directories: what is strict is there after kill -9 without any sync.
. "$(dirname "$0")/lib.sh"
made() { # DIR: forty files, one named anew, one made longer
	local i
	for i in $(seq 40); do
		echo "$i of $1" >"$mnt/$1/$i" || return 1
	done
	mv "$mnt/$1/1" "$mnt/$1/one" && echo more >>"$mnt/$1/2"
}
is_there() # DIR
{
	local i
	for i in $(seq 3 40); do
		echo "$i of $1" | cmp - "$mnt/$1/$i" || return 1
	done
	[ ! -e "$mnt/$1/1" ] && [ "$(cat "$mnt/$1/one")" = "1 of $1" ] &&
		[ "$(tail -n 1 "$mnt/$1/2")" = more ]
}
log_waits() { # what the log has that is not on the disk, in KiB
	sed -n 's/^log .*, \([0-9.]*\) KiB not durable$/\1/p' "$mnt/.mneme/stats"
}

# On a mount that keeps no log at all, nothing but what is strict can be there.
store_new
store_mount durability=memory
mkdir "$mnt/strict" "$mnt/loose"
check set_it setfattr -n user.mneme.durability -v strict "$mnt/strict"
mkdir "$mnt/strict/below"
check made_strict made strict
check made_below made strict/below
made loose
echo moved >"$mnt/loose/moved" && mv "$mnt/loose/moved" "$mnt/strict/moved"
check all_of_it_is_there eval 'is_there strict && is_there strict/below && is_there loose'
made_last() { made strict/below; }
rm -r "$mnt/strict/below/"*
check made_last made_last
store_kill
store_mount durability=memory
check strict_is_there_after_a_kill is_there strict
check below_is_there_after_a_kill is_there strict/below
check moved_is_there test -e "$mnt/strict/moved"
check it_lasts grep -q '^durability=strict .*set above' "$mnt/strict/below/.mneme/config"
store_unmount
check store_is_whole store_check

# Beside a buffered mount; and what is refused.
store_mount durability=buffered
made_strict() { echo strict >"$mnt/strict/now" && [ "$(log_waits)" = 0.0 ]; }
check strict_waits_for_the_disk made_strict
check weaker mneme config -C "$mnt/strict/below" durability=buffered
check weaker_counts grep -q '^durability=buffered .*set here' "$mnt/strict/below/.mneme/config"
check memory_is_refused says_no 'durability wants buffered or strict .memory is of a whole mount' mneme config -C "$mnt/strict" durability=memory
check no_mode_is_refused says_no 'Invalid argument' setfattr -n user.mneme.durability -v always "$mnt/strict"
check taken_away eval 'mneme config -C "$mnt/strict/below" durability= && grep -q "^durability=strict .*set above" "$mnt/strict/below/.mneme/config"'
store_kill
store_mount
check is_there_after_a_kill test "$(cat "$mnt/strict/now")" = strict
store_unmount
check store_is_whole_at_the_end store_check
finish
