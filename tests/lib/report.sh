# SPDX-License-Identifier: Apache-2.0
# Purpose:   runs one test program at a time in its own process group, counts what it reports, and
#            leaves nothing behind.
#
# A test program reports with lines "ok NAME", "FAIL NAME[: why]" and "skipped: NAME: why"; a Check
# program does by its TAP log. One that reports nothing counts as one test, by its exit status (77:
# skipped, with "skipped: why" as a line of its output). A status other than 0 and 77 is always a
# failure.
passed=0
failed=0
skipped=0
current=""
export MNEME_TEST_RUN=""
export MNEME_TEST_TMP=""

run_begin()
{
	if [ "$list" = 1 ]; then return; fi
	MNEME_TEST_TMP=$(mktemp -d "${TMPDIR:-/tmp}/mneme-test.XXXXXX") || exit 2
	chmod 755 "$MNEME_TEST_TMP"
	MNEME_TEST_RUN=$(basename "$MNEME_TEST_TMP")
	trap run_clean EXIT
	trap 'echo "interrupted" >&2; exit 130' INT
	trap 'echo "terminated" >&2; exit 143' TERM HUP
}

# Mounts below a directory, innermost first.
mounts_below()
{
	awk -v d="$1/" 'index($5 "/", d) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

# Ends the processes that this run started: the current test's group, and those that left it but
# carry the run's name in their environment.
kill_leftovers()
{
	local pid signal
	[ -z "$current" ] || kill -KILL -- "-$current" 2>/dev/null
	for signal in TERM KILL; do
		local found=0
		for pid in $(grep -lz "^MNEME_TEST_RUN=$MNEME_TEST_RUN\$" /proc/[0-9]*/environ \
			2>/dev/null | cut -d/ -f3); do
			is_own "$pid" && continue
			found=1
			kill "-$signal" "$pid" 2>/dev/null
		done
		[ $found = 1 ] || break
		[ $signal = KILL ] || sleep 0.3
	done
	current=""
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
	clean_below "$MNEME_TEST_TMP"
	kill_leftovers
	clean_below "$MNEME_TEST_TMP"
	chattr -R -i -a "$MNEME_TEST_TMP" 2>/dev/null
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
report_fail() { failed=$((failed + 1)); echo "FAIL $1"; }
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
	grep -vE '^(ok|FAIL|skipped:) ' "$1/log" | tail -n 120 | sed 's/^/    | /'
}

# run_test TIER/NAME TIMEOUT_S COMMAND...
run_test()
{
	local name=$1 limit=$2 work status why begin=$SECONDS
	shift 2
	wanted "$name" || return 0
	work=$MNEME_TEST_TMP/$(echo "$name" | tr / -)
	mkdir -p "$work/tmp"
	chmod 755 "$work" "$work/tmp"
	CK_TAP_LOG_FILE_NAME=$work/tap TMPDIR=$work/tmp MNEME_TEST_DIR=$work/tmp \
		setsid timeout -k 10 "$limit" "$@" >"$work/log" 2>&1 </dev/null 9>&- &
	current=$!
	wait "$current"
	status=$?
	clean_below "$work"
	kill_leftovers
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
		report_ok "$name ($((SECONDS - begin)) s)"
	elif [ "$reported_fail" -gt 0 ]; then
		show_output "$work"
	fi
	chattr -R -i -a "$work" 2>/dev/null
	rm -rf --one-file-system "$work"
}

# The last line, alone, and the exit status.
report_end()
{
	local line="$passed passed, $failed failed"
	[ "$skipped" = 0 ] || line="$line, $skipped skipped"
	echo "$line"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}
