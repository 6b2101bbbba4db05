#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The scheduling class of the daemon: SCHED_IDLE where nobody shares its scheduling group, the usual one
# elsewhere and where requests waited; every thread but the watch has it.
. "$(dirname "$0")/lib.sh"
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no daemon"
core=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')

says() { taskset -c "$core" sed -n 's/^scheduling //p' "$mnt/.mneme/stats"; }
# policies: those of all threads of the daemon, "NUMBER of POLICY" in a line each; 0 is SCHED_OTHER, 5 SCHED_IDLE
policies() { sed 's/.*) //' "/proc/$daemon/task"/*/stat | awk '{ n[$39]++ } END { for (p in n) print n[p], "of", p }' | sort; }
# waits_for PATTERN: until the mount says so. Each look is a request, and so is what moves the watch on.
waits_for()
{
	for i in $(seq 100); do
		says | grep -qE "$1" && return 0
		sleep 0.1
	done
	says
	return 1
}
# mounts with a daemon that leads its session. Beside it there is a program that computes on the first core
# while $work/hog is there.
mount_leading()
{
	mkdir -p "$mnt"
	# shellcheck disable=SC2016 # they are the inner shells' own
	setsid sh -c 'taskset -c "$1" sh -c "$2" "$0" & shift 2; exec mnemefs "$@"' "$work" "$core" \
		'while [ -d "$0" ]; do while [ -e "$0/hog" ]; do :; done; sleep 0.1; done' \
		"$store" "$mnt" -f -o private >>"$work/daemon.log" 2>&1 </dev/null 3>&- &
	daemon=$!
	for i in $(seq 600); do
		is_mounted && return 0
		daemon_runs || break
		sleep 0.05
	done
	fatal "mount: it does not come up"
}

all_normal() { ! policies | grep -qv 'of 0'; }
in_its_own_session()
{
	# the machine may have become so busy just then that it is taken back: it says so
	for i in $(seq 100); do
		says | grep -q '^idle' && policies | grep -qx '1 of 0' && [ "$(policies | wc -l)" = 2 ] && return 0
		says | grep -qE '^normal .(requests|no core)' && all_normal && return 0
		sleep 0.1
	done
	says
	policies
	return 1
}
# on a busy machine it does not come to ask whose the group is
as_a_member() { says | grep -qE '^normal \((it shares its session|no core is idle)' && all_normal; }
asked_for() { says | grep -qx 'normal (sched=normal), taken back 0 times' && all_normal; }
# one that computes in its group, on the core of its client; where no core is idle it leaves the class too
with_a_hog()
{
	touch "$work/hog"
	waits_for 'taken back [1-9]|^normal .no core' || return 1
	for i in $(seq 100); do
		all_normal && return 0
		sleep 0.1
	done
	policies
	return 1
}
figures() { [ "$(grep -cE '^mneme_sched_(idle [01]|taken_back_total [0-9]+)$' "$mnt/.mneme/metrics")" = 2 ]; }

store_new
store_mount sched=normal
check asked_for asked_for
check figures figures
store_unmount
check unknown_class says_no "sched=batch" mnemefs "$store" "$mnt" -o sched=batch
store_mount
waits_for '^normal .it' >/dev/null
check member_of_a_session as_a_member
store_unmount
# What follows is about who gets a core and when, so the machine must have one for it all the time.
if [ "${MNEME_LONG:-0}" != 1 ]; then
	echo "skipped: own_session: it wants an idle machine, with nothing beside: --long -k scheduling"
	finish
fi
mount_leading
waits_for '^(idle|normal .(it|the))' >/dev/null
case $(says) in
idle*)
	check own_session in_its_own_session
	check hog_in_the_session with_a_hog
	;;
*) echo "skipped: own_session: $(says)" ;;
esac
rm -f "$work/hog"
store_unmount
finish
