#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Requests that wait for an embedder, and all the others: those of the same core go on (over io_uring one
# thread takes all requests of a core), more than a queue holds get their answers, and a mount that ends
# keeps nobody. The program that embeds waits as long as the file "held" is there.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip_all "python3 is missing"

cat >"$work/embed.py" <<'END_OF_PROGRAM'
import json, os, sys, time
folder = sys.argv[1]
for line in sys.stdin:
    open(folder + "/asked", "w").close()
    while os.path.exists(folder + "/held"):
        time.sleep(0.02)
    text = json.loads(line)["text"].lower()
    print(json.dumps([1.0] + [3.0 * text.count(w) for w in ("heron", "stones")]), flush=True)
END_OF_PROGRAM
options="embedder_timeout=600,embedder=command,embedder_command=python3 $work/embed.py $work"
cores=$(seq 0 $(($(getconf _NPROCESSORS_ONLN) - 1)))

on() { taskset -c "$@"; }
hold() { rm -f "$work/asked"; : >"$work/held"; }
# starts COUNT: as many notes, and who waits for each to be embedded, on every core. $waiters.
starts()
{
	local core i
	waiters=
	hold
	for core in $cores; do
		for i in $(seq "$1"); do
			echo "A heron, $core of $i, between the stones." >"$mnt/note-$core-$i"
		done
	done
	for core in $cores; do
		for i in $(seq "$1"); do
			on "$core" sync "$mnt/note-$core-$i" 2>/dev/null &
			waiters="$waiters $!"
		done
	done
	for i in $(seq 300); do
		[ ! -e "$work/asked" ] || break
		sleep 0.1
	done
	sleep 1 # all of them are on their way
	[ -e "$work/asked" ]
}
wait_still() { local pid; for pid in $waiters; do kill -0 "$pid" || { echo "$pid of $waiters"; return 1; }; done; }
# ended WANTED: all of them, with that status or (any) with some.
ended()
{
	local pid status all=0
	for pid in $waiters; do
		wait "$pid"
		status=$?
		[ "$1" = any ] || [ "$status" = "$1" ] || { echo "one ends with $status"; all=1; }
	done
	waiters=
	return $all
}
# all_end WANTED NAME: the same as a check; only their own shell can wait for them.
all_end()
{
	if ended "$1"; then
		echo "ok $2"
	else
		echo "FAIL $2: see above"
		failures=$((failures + 1))
	fi
}
work_on()
{
	local d=$mnt/of-$1
	mkdir "$d" && echo text >"$d/a" && mv "$d/a" "$d/b" && grep -q text "$d/b" && ls -l "$d" &&
		setfattr -n user.colour -v grey "$d/b" && stat "$d/b" && rm -r "$d" &&
		mneme search -C "$mnt" mode:lexical heron
}
export -f work_on
export mnt
others_go_on()
{
	local core
	for core in $cores; do
		on "$core" timeout 60 bash -c "work_on $core" || { echo "core $core stands still"; return 1; }
	done
}

daemon_status=none
store_new
store_mount "$options"
starts 3 || fatal "nothing is asked of the embedder"
check others_go_on others_go_on
check they_wait_still wait_still
rm "$work/held"
all_end 0 all_are_answered
check found_then eval 'mneme search -C "$mnt" --grep "heron mode:vector" | grep -q note-0-1:'

# Searches by meaning, through a name, an attribute and the ioctl.
hold
waiters=
for core in $cores; do
	on "$core" cat "$mnt/.mneme/search/stones $core.txt" >"$work/text-$core" 2>/dev/null &
	waiters="$waiters $!"
	on "$core" getfattr --only-values -n "user.mneme.search:the stones $core" "$mnt" \
		>"$work/value-$core" 2>/dev/null &
	waiters="$waiters $!"
	on "$core" mneme search -C "$mnt" "of stones $core" >"$work/ioctl-$core" 2>/dev/null &
	waiters="$waiters $!"
done
sleep 1
check others_go_on_beside_searches others_go_on
check searches_wait_still wait_still
rm "$work/held"
all_end 0 searches_are_answered
answers_are_full() { local f; for f in "$work"/text-* "$work"/value-* "$work"/ioctl-*; do grep -q note- "$f" || return 1; done; }
check answers_are_full answers_are_full

# More than a queue of the kernel has places; who is killed does not wait on.
starts 20
ends_though_held()
{
	local i
	kill "-$1" "$2"
	for i in $(seq 100); do
		kill -0 "$2" 2>/dev/null || return 0
		grep -q '^State:.Z' "/proc/$2/status" && return 0
		sleep 0.1
	done
	cat "/proc/$2/stack"
	return 1
}
check is_killed ends_though_held KILL "${waiters##* }"
# of the first notes the text was embedded before: those are done
check is_terminated ends_though_held TERM "$(echo $waiters | cut -d ' ' -f 18)"
sync "$mnt" 2>/dev/null & # of all files
all_files=$!
sleep 0.5
check is_killed_for_all_files ends_though_held KILL "$all_files"
check they_go_on_waiting kill -0 "$(echo $waiters | cut -d ' ' -f 19)"
rm "$work/held"
ended any
check more_than_a_queue_holds eval 'others_go_on && sync "$mnt"'

# A mount that ends while they wait.
starts 12
kill -TERM "$daemon"
daemon_wait 300
check ends_on_sigterm [ "$daemon_status" = 0 ]
ended any
rm "$work/held"
is_mounted && umount -l "$mnt"
store_mount "$options"
starts 2
connection=/sys/fs/fuse/connections/$(mountpoint -d "$mnt" | cut -d : -f 2)
if [ -w "$connection/abort" ]; then
	echo 1 >"$connection/abort"
	ended any
	daemon_wait 600
	check ends_when_the_connection_is_gone [ -z "$daemon" ]
	umount "$mnt" 2>/dev/null || umount -l "$mnt"
	rm "$work/held"
	store_mount "$options"
else
	echo "skipped: ends_when_the_connection_is_gone: no /sys/fs/fuse/connections"
	rm "$work/held"
	ended any
fi
check embedded_by_the_next timeout 120 sync "$mnt"
check found_by_meaning eval 'mneme search -C "$mnt" -n 100 --grep "stones mode:vector" | grep -q note-0-20:'
store_unmount
check consistent store_check
finish
