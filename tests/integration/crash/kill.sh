#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon under load: what was fsynced is there, nothing is half there, the store is
# consistent and mounts again for two seconds of processor time at most (a clock would tell what else
# the machine does).  usage: kill.sh [ROUNDS]
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/rounds.sh"
rounds=${1:-20}
[ "${MNEME_LONG:-0}" = 0 ] || rounds=${1:-1000}
slowest=0

# Mounts; what the daemon computed for it, in milliseconds.
timed_mount()
{
	local took
	store_mount "$@"
	took=$(awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$daemon/stat")
	[ $took -le $slowest ] || slowest=$took
}

one_round()
{
	killed_while_writing timed_mount "$1" "$((RANDOM % 2)).$((RANDOM % 9))$((RANDOM % 9))" && store_check
}

store_new
all_rounds timed_mount
[ "$failures" != 0 ] || check mounts_within_2_s test $slowest -lt 2000
finish
