#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pairs, event logs and compare-and-swap writes on a mount: the ioctls case by case, who may use them,
# what a read-only mount says, what is left after unmount and after kill -9; the tool's verbs for them.
. "$(dirname "$0")/lib.sh"
cases=$MNEME_BUILD/tests/integration/records
keeper=$MNEME_BUILD/tests/integration/records_keeper
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no pairs"

store_new
store_mount
"$cases" "$mnt" || failures=1
check handlers_keep_to_their_stack grep -x 'mneme_stack_violations_total 0' "$mnt/.mneme/metrics"
check keep "$keeper" keep "$mnt"
store_unmount
check store_after_the_cases store_check

store_mount ro
check kept_over_unmount "$keeper" kept "$mnt"
check read_only_refuses_writes "$keeper" refused "$mnt"
store_unmount

# ---- the tool, on the mount (-C) and on the store (-S) ----

# says STATUS PATTERN COMMAND...: what it answers, on both outputs.
says()
{
	local wanted=$1 pattern=$2 got
	shift 2
	"$@" >"$work/said" 2>&1
	got=$?
	cat "$work/said"
	[ $got = "$wanted" ] || { echo "status $got instead of $wanted"; return 1; }
	grep -qE -- "$pattern" "$work/said"
}
kv_verbs() # WHERE: -C DIR or -S STORE
{
	says 1 "no pair 'tool'" mneme kv "$@" get tool || return 1
	says 0 'version 1' mneme kv "$@" put tool 'a value' || return 1
	[ "$(mneme kv "$@" get tool)" = 'a value' ] || return 1
	printf 'with\0zero' | mneme kv "$@" put tool --json | grep -q '"version": 2' || return 1
	mneme kv "$@" get tool | cmp - <(printf 'with\0zero') || return 1
	says 2 'version is another' mneme kv "$@" put --if-version 1 tool new || return 1
	says 0 'version 3' mneme kv "$@" put --if-version 2 tool new || return 1
	printf '\377' | mneme kv "$@" put tool/b >/dev/null || return 1
	mneme kv "$@" get --json tool/b | grep -q '"value_hex": "ff"' || return 1
	says 0 '^ +3 +3  tool$' mneme kv "$@" list tool || return 1
	[ "$(mneme kv "$@" list tool | wc -l)" = 2 ] || return 1
	mneme kv "$@" list --json tool | python3 -c '
import json, sys
assert [(p["key"], p["version"], p["length"]) for p in json.load(sys.stdin)] == [("tool", 3, 3), ("tool/b", 1, 1)]' || return 1
	says 1 '^$' sh -c 'mneme kv "$@" list "no such" && echo found || { s=$?; echo; exit $s; }' - "$@" || return 1
	mneme kv "$@" delete tool && mneme kv "$@" delete tool/b || return 1
	says 1 "no pair" mneme kv "$@" delete tool || return 1
}
log_verbs()
{
	local run=$1
	shift
	says 1 "no log" mneme log "$@" verify "$run" || return 1
	says 0 'event 1' mneme log "$@" append "$run" first || return 1
	printf 'second\nline' | mneme log "$@" append --json "$run" | grep -q '"sequence": 2' || return 1
	says 0 'event 3' mneme log "$@" append "$run" third || return 1
	says 0 '3 events' mneme log "$@" verify "$run" || return 1
	says 0 '^2 20.*Z second.x0aline$' mneme log "$@" replay "$run" || return 1
	[ "$(mneme log "$@" replay "$run" 3 | wc -l)" = 1 ] || return 1
	mneme log "$@" replay --json "$run" 2 | python3 -c '
import json, sys
events = json.load(sys.stdin)
assert [(e["sequence"], e["data"]) for e in events] == [(2, "second\nline"), (3, "third")]' || return 1
	says 2 'number of an event' mneme log "$@" replay "$run" x
}
tool_errors()
{
	says 2 'usage' mneme kv || return 1
	says 2 'usage' mneme kv -C "$mnt" frob x || return 1
	says 2 'usage' mneme kv -C "$mnt" get || return 1
	says 2 'usage' mneme log -C "$mnt" verify || return 1
	says 2 'not in a mounted mnemefs' mneme kv -C / list || return 1
	says 2 'not both' mneme kv -C "$mnt" -S "$store" list || return 1
	says 2 'in use by process' mneme kv -S "$store" put a b || return 1
	says 2 'does not know' mneme sync -S "$store" || return 1
	head -c 17000 /dev/zero >"$work/large"
	says 2 'too long' sh -c 'mneme kv -C "$1" put large <"$2"' - "$mnt" "$work/large" || return 1
	says 2 'root directory' setpriv --reuid 65501 --regid 65501 --clear-groups mneme kv -C "$mnt" put a b || return 1
	says 0 'kv .*log' sh -c 'mneme --help | tr "\n" " "'
}
large_value() { mneme kv -S "$store" put large <"$work/large" && mneme kv -S "$store" get large | cmp - "$work/large"; }
store_mount
check kv_of_a_mount kv_verbs -C "$mnt"
check log_of_a_mount log_verbs run-of-mount -C "$mnt"
check tool_errors tool_errors
store_unmount
check kv_of_a_store kv_verbs -S "$store"
check log_of_a_store log_verbs run-of-store -S "$store"
check large_value_of_a_store large_value
store_mount
check large_value_is_too_large_for_the_mount says 2 'too long' mneme kv -C "$mnt" get large
store_unmount
"$keeper" tamper "$store" run-of-mount 2 || fatal tamper
tampered() { says 2 'event 2 is missing or not as it was' mneme log "$@" verify run-of-mount; }
check broken_chain_of_a_store tampered -S "$store"
store_mount
check broken_chain_of_a_mount tampered -C "$mnt"
store_unmount

# One round: two processes put, append and swap until the daemon is killed, each step noted when it
# returned; then all of that is there.
kill_round() # MODE DAEMON_OPTIONS
{
	store_mount "$2"
	rm -f "$work/notes"
	"$keeper" write "$mnt" "$work/notes" "$1" &
	local writer=$!
	sleep 0.7
	store_kill
	wait $writer
	[ "$(stat -c %s "$work/notes")" -gt 200 ] || { echo "nothing was written"; return 1; }
	store_check || return 1
	store_mount
	"$keeper" verify "$mnt" "$work/notes" || return 1
	store_unmount
}
for round in 1 2; do
	for mode in strict mount sync; do
		options=""
		[ $mode != mount ] || options=durability=strict
		if kill_round $mode "$options" >"$work/round.log" 2>&1; then
			echo "ok kill_${mode}_$round"
		else
			fatal "kill_${mode}_$round"
		fi
	done
done
check store_at_the_end store_check
finish
