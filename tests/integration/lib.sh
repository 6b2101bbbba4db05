# SPDX-License-Identifier: Apache-2.0
# Purpose:   what the scripts with a real mount share. A script sources this file, makes a store,
#            mounts it, and prints "ok NAME", "FAIL NAME: why" or "skipped: NAME: why".
#            MNEME_TEST_OPTIONS are mount options for all mounts; MNEME_TEST_ON=tmpfs mounts a tmpfs in its place: a test that fails there is wrong.
# Invariants: everything lies below $work; when the script ends, however it does, its mount is gone
#            and its daemon has ended.
export LC_ALL=C
set -u
: "${MNEME_BIN_DIR:?run me through tests/run}"
export PATH="$MNEME_BIN_DIR:$PATH"
work=$(mktemp -d "${MNEME_TEST_DIR:-${TMPDIR:-/tmp}}/work.XXXXXX") || exit 2
chmod 755 "$work"
# Other users run the programs, too: where the tree lies out of their reach (/root), they get copies.
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=65534 --clear-groups test -x "$MNEME_BIN_DIR/mneme" 2>/dev/null; then
	mkdir "$work/bin" && cp "$MNEME_BIN_DIR/mneme" "$work/bin/" && PATH=$work/bin:$PATH
fi
store=$work/store
mnt=$work/mnt
daemon=""
failures=0
exec 3>&1
trap work_clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

work_clean()
{
	# Not in a child that a signal meets before it has laid off its parent's traps.
	if [ "$BASHPID" = $$ ]; then
		work_clean_now
	fi
}

work_clean_now()
{
	trap '' INT TERM HUP
	cd /
	if [ "$failures" != 0 ] && [ -f "$work/daemon.log" ]; then
		{ echo "the daemon said:"; tail -n 40 "$work/daemon.log"; } >&3
	fi
	awk -v d="$work/" 'index($5 "/", d) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r m; do umount "$m" 2>/dev/null || umount -l "$m"; done
	[ -z "$daemon" ] || { daemon_wait 50 || kill -KILL "$daemon" 2>/dev/null; }
	rm -rf --one-file-system "$work"
}

skip_all()
{
	echo "skipped: $*"
	exit 77
}

# check NAME COMMAND...: runs it in a shell of its own; its output is shown when it fails.
check()
{
	local name=$1
	shift
	if ( "$@" ) >"$work/check.log" 2>&1 </dev/null; then
		echo "ok $name"
	else
		echo "FAIL $name: status $? of: $*"
		sed 's/^/  /' "$work/check.log" | tail -n 40
		failures=$((failures + 1))
		return 1
	fi
}

# The end of a script that used check.
finish()
{
	[ "$failures" = 0 ]
	exit
}

# Ends the script, with its own words though they may be redirected.
fatal()
{
	failures=$((failures + 1))
	[ ! -f "$work/round.log" ] || tail -n 20 "$work/round.log" >&3
	echo "FAIL $*" >&3
	exit 1
}

# store_new [OPTION...]: a store at $store.
store_new()
{
	[ "${MNEME_TEST_ON:-}" != tmpfs ] || return 0
	mkfs.mnemefs "$@" "$store" >"$work/mkfs.log" 2>&1 ||
		{ cat "$work/mkfs.log"; fatal "mkfs.mnemefs"; }
}

is_mounted()
{
	grep -q " $mnt .* - fuse" /proc/self/mountinfo
}

# store_mount [OPTIONS]: mounts $store at $mnt with a daemon in the foreground, $daemon.
store_mount()
{
	local i
	mkdir -p "$mnt"
	if [ "${MNEME_TEST_ON:-}" = tmpfs ]; then
		mountpoint -q "$mnt" || mount -t tmpfs test "$mnt"
		return
	fi
	mnemefs "$store" "$mnt" -f -o "allow_other,default_permissions,dev,suid${MNEME_TEST_OPTIONS:+,$MNEME_TEST_OPTIONS}${1:+,$1}" \
		>>"$work/daemon.log" 2>&1 </dev/null 3>&- &
	daemon=$!
	for i in $(seq 600); do
		is_mounted && return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.05
	done
	is_mounted && return 0
	tail -n 40 "$work/daemon.log"
	fatal "mount: it does not come up"
}

# Has it not ended? The shell may take its end note at any moment: then there is no state to read.
daemon_runs()
{
	local state
	state=$(awk '{ print $3 }' "/proc/$daemon/stat" 2>/dev/null)
	[ -n "$state" ] && [ "$state" != Z ]
}

# daemon_wait TENTHS: waits until the daemon has ended.
daemon_wait()
{
	local i
	for i in $(seq "$1"); do
		daemon_runs || break
		sleep 0.1
	done
	! daemon_runs || return 1
	wait "$daemon" 2>/dev/null
	daemon_status=$?
	daemon=""
}

# Unmounts and waits until the daemon has written everything.
store_unmount()
{
	local i
	[ "${MNEME_TEST_ON:-}" != tmpfs ] || return 0
	for i in 1 2 3 4 5; do
		umount "$mnt" 2>"$work/umount.log" && break
		sleep 0.2
	done
	if is_mounted; then
		cat "$work/umount.log"
		fatal "umount"
	fi
	daemon_wait 600 || fatal "the daemon does not end after umount"
	[ "$daemon_status" = 0 ] || fatal "the daemon ends with status $daemon_status"
}

# kill -9, and the dead mount taken away.
store_kill()
{
	kill -KILL "$daemon"
	daemon_wait 50
	umount "$mnt" 2>/dev/null || umount -l "$mnt"
}

# Is the (unmounted) store consistent? Nothing is asked where there is no fsck.mnemefs.
store_check()
{
	command -v fsck.mnemefs >/dev/null || return 0
	[ "${MNEME_TEST_ON:-}" != tmpfs ] || return 0
	fsck.mnemefs -n "$store" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; return 1; }
}

# says_no PATTERN COMMAND...: it fails, and what it says matches.
says_no()
{
	local pattern=$1
	shift
	"$@" >"$work/said" 2>&1 && { echo "it succeeds"; return 1; }
	cat "$work/said"
	grep -qiE -- "$pattern" "$work/said"
}
