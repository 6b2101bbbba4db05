#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ranges that fallocate sets aside are one record however long they are, and are right after whatever is written,
# punched, zeroed or cut there, after a kill too.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
operations=150
[ "${MNEME_LONG:-0}" = 0 ] || operations=5000

operated() { python3 "$here/ranges.py" "$mnt/file" "$work/state" "$operations" "$1"; }
as_it_was() { python3 "$here/ranges.py" "$mnt/file" "$work/state"; }
log_bytes() { sed -n 's/^mneme_log_position_bytes \([0-9]*\).*/\1/p' "$mnt/.mneme/metrics"; }
one_record() # what is written to the log does not grow with the length
{
	local before after
	before=$(log_bytes)
	[ -n "$before" ] || return 1
	fallocate -l 512M "$mnt/long" || return 1
	sync "$mnt"
	after=$(log_bytes)
	[ $((after - before)) -lt 8192 ] || { echo "$((after - before)) bytes of log"; return 1; }
	[ "$(stat -c %b "$mnt/long")" = $((512 << 11)) ]
}
in_parts() # writes at both ends and in the middle leave the rest set aside
{
	local at
	for at in 0 16384 32767; do
		dd if=/dev/urandom of="$mnt/long" bs=16k seek=$at count=1 conv=notrunc,fsync status=none || return 1
	done
	[ "$(stat -c %b "$mnt/long")" = $((512 << 11)) ]
}
refused() # more than there is, at once and without a trace
{
	fallocate -l 15T "$mnt/huge" 2>"$work/said" && return 1
	grep -q "No space left" "$work/said" || { cat "$work/said"; return 1; }
	[ "$(stat -c %s.%b "$mnt/huge")" = 0.0 ] && rm "$mnt/huge"
}

store_new
store_mount
check one_record one_record
check in_parts in_parts
check more_than_there_is refused
check operations operated 1
store_kill
store_mount
check after_a_kill as_it_was
check more_operations operated 2
store_unmount
check store store_check
store_mount
check after_a_mount as_it_was
check removed rm "$mnt/long" "$mnt/file"
store_unmount
check store_at_the_end store_check
finish
