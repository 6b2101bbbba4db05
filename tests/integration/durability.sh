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

# Many at once: their answers are handed over to other threads, and none comes before the disk has it.
client() # NUMBER: says what it has made
{
	local i d=$mnt/strict/client-$1
	mkdir "$d" || return
	for i in $(seq 1000); do
		echo "$i of $1" >"$d/new" && mv "$d/new" "$d/$i" && echo "$i" >>"$work/said-$1" || return
	done 2>/dev/null
}
said_is_there()
{
	local k i
	for k in $(seq 16); do
		for i in $(cat "$work/said-$k"); do
			echo "$i of $k" | cmp - "$mnt/strict/client-$k/$i" || return 1
		done
	done
	wc -l "$work"/said-*
}
store_mount durability=memory
clients=
for k in $(seq 16); do
	: >"$work/said-$k"
	client "$k" &
	clients="$clients $!"
done
for i in $(seq 600); do
	[ "$(cat "$work"/said-* | wc -l)" -lt 800 ] || break
	sleep 0.1
done
store_kill
# shellcheck disable=SC2086 # a list
wait $clients
store_mount durability=memory
check many_at_once said_is_there
check many_have_made_some test "$(cat "$work"/said-* | wc -l)" -ge 800
store_unmount
check store_is_whole_after_many store_check

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
