# SPDX-License-Identifier: Apache-2.0
# Purpose:   runs test programs, each in its own process group, counts what they report, and leaves
#            nothing behind.
# Invariants: a program's report is printed whole, some time after the program has ended. `lanes`
#            programs run side by side, and as soon as one has ended the next begins: a program must
#            not touch what another one may see (each has a folder of its own, and mounts there).
#            A lane writes a line to the pipe $lane_ends when its program has ended.
#
# A test program reports with lines "ok NAME", "FAIL NAME[: why]" and "skipped: NAME: why"; a Check
# program does by its TAP log. One that reports nothing counts as one test, by its exit status (77:
# skipped, with "skipped: why" as a line of its output). A status other than 0 and 77 is always a
# failure.
passed=0
failed=0
skipped=0
lanes=$(($(nproc) + 1)) # some wait more than they work
lanes_used=0
export MNEME_TEST_RUN=""
export MNEME_TEST_TMP=""

uring_switch=/sys/module/fuse/parameters/enable_uring
uring_was_off=0

run_begin()
{
	if [ "$list" = 1 ]; then return; fi
	MNEME_TEST_TMP=$(mktemp -d "${TMPDIR:-/tmp}/mneme-test.XXXXXX") || exit 2
	chmod 755 "$MNEME_TEST_TMP"
	MNEME_TEST_RUN=$(basename "$MNEME_TEST_TMP")
	mkfifo "$MNEME_TEST_TMP/ends" || exit 2
	exec {lane_ends}<>"$MNEME_TEST_TMP/ends"
	trap run_clean EXIT
	trap 'echo "interrupted" >&2; exit 130' INT
	trap 'echo "terminated" >&2; exit 143' TERM HUP
	# FUSE over io_uring, which many kernels have and have off, for as long as the tests take.
	if [ "$(cat "$uring_switch" 2>/dev/null)" = N ] && echo Y 2>/dev/null >"$uring_switch"; then
		uring_was_off=1
	fi
}

# Mounts below a directory, innermost first.
mounts_below()
{
	awk -v d="$1/" 'index($5 "/", d) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

# kill_tagged TAG: ends the processes that carry this tag, or one that continues it after a slash, in
# their environment: those of a test that left its group too.
kill_tagged()
{
	local pid signal
	for signal in TERM KILL; do
		local found=0
		for pid in $(grep -lzE "^MNEME_TEST_RUN=$1(/|\$)" /proc/[0-9]*/environ \
			2>/dev/null | cut -d/ -f3); do
			is_own "$pid" && continue
			found=1
			kill "-$signal" "$pid" 2>/dev/null
		done
		[ $found = 1 ] || break
		[ $signal = KILL ] || sleep 0.3
	done
}

# A process that this shell is, or descends from.
is_own()
{
	local pid=$$
	[ "$1" = "$BASHPID" ] && return 0
	while [ "${pid:-0}" -gt 1 ]; do
		[ "$pid" = "$1" ] && return 0
		pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
	done
	return 1
}

clean_below()
{
	local m
	for m in $(mounts_below "$1"); do
		umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null
	done
}

run_clean()
{
	trap '' INT TERM HUP
	[ -n "$MNEME_TEST_TMP" ] || return
	# First the lanes, and the build if there is one: else they would report, and build on.
	# shellcheck disable=SC2046 # a list of processes
	kill $(jobs -rp) 2>/dev/null
	wait
	clean_below "$MNEME_TEST_TMP"
	kill_tagged "$MNEME_TEST_RUN"
	clean_below "$MNEME_TEST_TMP"
	chattr -R -i -a "$MNEME_TEST_TMP" 2>/dev/null
	[ "$uring_was_off" = 0 ] || echo N >"$uring_switch"
	rm -rf --one-file-system "$MNEME_TEST_TMP"
}

# wanted TIER/NAME: is it chosen? With --list, names it and answers no.
wanted()
{
	case $1 in *"$pattern"*) ;; *) return 1 ;; esac
	if [ "$list" = 1 ]; then
		echo "$1"
		return 1
	fi
}

report_ok() { passed=$((passed + 1)); echo "ok $1"; }
report_fail()
{
	failed=$((failed + 1))
	echo "FAIL $1" | tee -a "$MNEME_TEST_TMP/failures"
}
report_skip()
{
	if [ "${CI:-}" = true ] && ! may_skip "$1"; then
		report_fail "$1: skipped where it may not be: $2"
		return
	fi
	skipped=$((skipped + 1))
	echo "skipped: $1: $2"
}

may_skip()
{
	local line
	while read -r line; do
		case $line in ''|'#'*) continue ;; esac
		# shellcheck disable=SC2254 # a pattern by intent
		case $1 in $line) return 0 ;; esac
	done <"$here/optional.txt"
	return 1
}

# report_lines NAME: turns the lines of a program's report into results; sets `reported` and
# `reported_fail`.
report_lines()
{
	local kind rest
	while read -r kind rest; do
		reported=$((reported + 1))
		case $kind in
		ok) report_ok "$1: $rest" ;;
		FAIL) report_fail "$1: $rest"; reported_fail=$((reported_fail + 1)) ;;
		skipped:) report_skip "$1: ${rest%%: *}" "${rest#*: }" ;;
		esac
	done
}

# report_from NAME DIR: the results of the program whose output is DIR/log and TAP log DIR/tap.
report_from()
{
	if [ -s "$2/tap" ]; then
		sed -nE 's/^skipped: ([A-Za-z0-9_]+): .*/\1/p' "$2/log" >"$2/skips"
		grep -E '^skipped: [A-Za-z0-9_]+: ' "$2/log" | sort -u >"$2/lines"
		sed -nE 's/^ok [0-9]+ - [^:]*:[^:]*:([^:]*): .*/ok \1/p;
			s/^not ok [0-9]+ - ([^:]*:[^:]*):([^:]*): (.*)/FAIL \2: \1: \3/p' "$2/tap" |
			awk -v skips="$2/skips" 'BEGIN { while ((getline s <skips) > 0) skip[s] }
				!(($1 == "ok" ? $2 : substr($2, 1, length($2) - 1)) in skip)' >>"$2/lines"
	else
		grep -E '^(ok [^ ]|FAIL [^ ]|skipped: [^ ]+: )' "$2/log" >"$2/lines"
	fi
	reported=0
	reported_fail=0
	report_lines "$1" <"$2/lines"
}

# What a failed program said, besides the results that are shown already.
show_output()
{
	grep -vE '^(ok|FAIL|skipped:) ' "$1/log" | tail -n 120 | sed 's/^/    | /' >"$1/shown"
	cat "$1/shown"
	tail -n 25 "$1/shown" >>"$MNEME_TEST_TMP/failures"
}

# run_test TIER/NAME TIMEOUT_S COMMAND...: in a lane, as soon as one is free, with the environment of
# this moment.
run_test()
{
	wanted "$1" || return 0
	[ "$lanes_used" -lt "$lanes" ] || lane_wait
	run_in_lane "$@" &
	lanes_used=$((lanes_used + 1))
}

# Waits until a lane is free, and reports what has ended. (`wait -n` would miss what ended earlier.)
lane_wait()
{
	if read -r -t 60 -u "$lane_ends" _; then
		lanes_used=$((lanes_used - 1))
	else # one that was killed did not say that it ended
		lanes_used=$(jobs -rp | wc -l)
	fi
	lanes_report
}

run_in_lane()
{
	local report
	trap - INT TERM HUP
	trap 'echo >&"$lane_ends"' EXIT
	passed=0
	failed=0
	skipped=0
	report=$MNEME_TEST_TMP/$(echo "$1" | tr / -).report
	run_program "$@" >"$report.part"
	echo "$passed $failed $skipped" >>"$report.part"
	mv "$report.part" "$report"
}

# Prints and counts the reports of the programs that have ended; the last line of each is its counts.
lanes_report()
{
	local report of_passed of_failed of_skipped
	for report in "$MNEME_TEST_TMP"/*.report; do
		[ -f "$report" ] || continue
		read -r of_passed of_failed of_skipped <<<"$(tail -n 1 "$report")"
		passed=$((passed + of_passed))
		failed=$((failed + of_failed))
		skipped=$((skipped + of_skipped))
		sed '$d' "$report"
		rm -f "$report"
	done
}

# run_program TIER/NAME TIMEOUT_S COMMAND...
run_program()
{
	local name=$1 limit=$2 work status why begin=$SECONDS tag
	shift 2
	work=$MNEME_TEST_TMP/$(echo "$name" | tr / -)
	tag=$MNEME_TEST_RUN/${work##*/}
	mkdir -p "$work/tmp"
	chmod 755 "$work" "$work/tmp"
	CK_TAP_LOG_FILE_NAME=$work/tap TMPDIR=$work/tmp MNEME_TEST_DIR=$work/tmp MNEME_TEST_RUN=$tag \
		setsid timeout -k 10 "$limit" "$@" >"$work/log" 2>&1 </dev/null 9>&- {lane_ends}>&- &
	wait $!
	status=$?
	clean_below "$work"
	kill_tagged "$tag"
	clean_below "$work"
	report_from "$name" "$work"
	if [ "$status" = 77 ]; then
		why=$(sed -n 's/^skipped: //p' "$work/log" | tail -n 1)
		[ "$reported" -gt 0 ] || report_skip "$name" "${why:-it does not say why}"
	elif [ "$status" != 0 ]; then
		why="exit status $status"
		[ "$status" != 124 ] && [ "$status" != 137 ] || why="stopped after $limit s"
		[ "$reported_fail" -gt 0 ] || report_fail "$name: $why"
		show_output "$work"
	elif [ "$reported" = 0 ]; then
		report_ok "$name"
	elif [ "$reported_fail" -gt 0 ]; then
		show_output "$work"
	fi
	processor_taken
	echo "$((SECONDS - begin)) $processor $name" >>"$MNEME_TEST_TMP/seconds"
	chattr -R -i -a "$work" 2>/dev/null
	rm -rf --one-file-system "$work"
}

# Sets `processor` to the seconds of processor time, user's and system's, of what this shell has
# started and seen end.
processor_taken()
{
	local of=$MNEME_TEST_TMP/times.$BASHPID # in a pipe it would be that of another shell
	times >"$of"
	processor=$(awk 'NR == 2 { split($1 $2, t, /[ms]+/)
		printf "%.0f", 60 * t[1] + t[2] + 60 * t[3] + t[4] }' "$of")
	rm -f "$of"
}

# Waits for all, says what took longest and once more what failed (who has the end of the output alone
# has that), and last, on a line alone, the counts: the exit status.
report_end()
{
	while [ "$lanes_used" -gt 0 ]; do
		lane_wait
	done
	lanes_report
	if [ -f "$MNEME_TEST_TMP/seconds" ]; then
		processor_taken
		echo "# $SECONDS s, $processor s of processor time; the longest, and what they took of it:"
		sort -rn "$MNEME_TEST_TMP/seconds" | head -n 20 | sed 's/^/#   /'
	fi
	[ ! -s "$MNEME_TEST_TMP/failures" ] || { echo "# failed:"; cat "$MNEME_TEST_TMP/failures"; }
	local line="$passed passed, $failed failed"
	[ "$skipped" = 0 ] || line="$line, $skipped skipped"
	echo "$line"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}
