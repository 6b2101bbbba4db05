#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# PostgreSQL keeps a cluster on the mount: initdb, pgbench, a crash of the server, a remount.
. "$(dirname "$0")/../lib.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
[ -x "$bin/initdb" ] && [ -x "$bin/pgbench" ] || skip_all "PostgreSQL is missing: apt-get install postgresql"
id postgres >/dev/null 2>&1 || skip_all "no user postgres on this machine"
store_new
store_mount
mkdir "$mnt/pg" "$work/socket"
chown postgres "$mnt/pg" "$work/socket"
seconds=5
[ "${MNEME_LONG:-0}" = 0 ] || seconds=60

as_postgres() { (cd / && setpriv --reuid postgres --regid postgres --clear-groups env -u LC_ALL PATH="$bin:$PATH" PGHOST="$work/socket" "$@"); }
start() { as_postgres pg_ctl -D "$mnt/pg/data" -w -t 60 -l "$mnt/pg/log" -o "-k $work/socket -c listen_addresses=''" start || { cat "$mnt/pg/log"; return 1; }; }
stop() { as_postgres pg_ctl -D "$mnt/pg/data" -w -t 60 -m "$1" stop; }
bench() { as_postgres pgbench -n -c 4 -j 2 -T $seconds postgres; }
sums() {
	local s
	s=$(as_postgres psql -Atc 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)' postgres)
	[ "$s" = t ]
}

check initdb as_postgres initdb -D "$mnt/pg/data" -A trust
check start start
check pgbench_init as_postgres pgbench -i -s 2 -q postgres
check pgbench bench
check sums sums
check crash stop immediate
check recover start
check sums_after_crash sums
check pgbench_again bench
check stop stop fast
check checksums as_postgres pg_controldata "$mnt/pg/data"
store_unmount
store_mount
check start_after_remount start
check sums_after_remount sums
check stop_again stop fast
store_unmount
check store store_check
finish
