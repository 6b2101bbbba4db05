#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SQLite with each journal mode: four writers at once, a writer killed, integrity checks, a remount.
. "$(dirname "$0")/../lib.sh"
command -v sqlite3 >/dev/null || skip_all "sqlite3 is missing: apt-get install sqlite3"
store_new
store_mount
rows=100
[ "${MNEME_LONG:-0}" = 0 ] || rows=5000

writer()
{
	local i
	for i in $(seq $rows); do
		echo ".timeout 60000"
		echo "insert into t values ($1, $i, hex(randomblob(300)));"
	done | sqlite3 "$2"
}

load()
{
	local db=$mnt/$1.db w pids="" bad=0
	sqlite3 "$db" "pragma journal_mode=$1; create table t (w, i, data); create index x on t (data);" || return 1
	for w in 1 2 3 4; do
		writer $w "$db" & pids="$pids $!"
	done
	for w in $pids; do wait "$w" || bad=1; done
	[ $bad = 0 ] && [ "$(sqlite3 "$db" 'select count(*) from t')" = $((4 * rows)) ]
}

integrity() { [ "$(sqlite3 "$mnt/$1.db" 'pragma integrity_check')" = ok ]; }

killed()
{
	local db=$mnt/$1.db before after
	before=$(sqlite3 "$db" 'select count(*) from t')
	sqlite3 "$db" < <(echo "begin;"
		seq -f "insert into t values (9, %g, hex(randomblob(2000)));" 3000
		exec sleep 3) &
	sleep 0.7
	kill -KILL $! 2>/dev/null
	wait $! 2>/dev/null
	after=$(sqlite3 "$db" '.timeout 10000' 'select count(*) from t')
	[ "$before" = "$after" ]
}

for mode in wal delete truncate persist; do
	check "$mode" load $mode
	check "${mode}_integrity" integrity $mode
	check "${mode}_killed_writer" killed $mode
	check "${mode}_vacuum" sqlite3 "$mnt/$mode.db" "delete from t where i % 2; vacuum;"
done
store_unmount
store_mount
for mode in wal delete truncate persist; do
	check "${mode}_integrity_after_remount" integrity $mode
done
store_unmount
check store store_check
finish
