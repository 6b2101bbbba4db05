#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Power loss below the store: it lies on LazyFS, which forgets what was not synced. The daemon is killed
# under load, LazyFS told to forget, and what was fsynced through the mount is there.
# LAZYFS_BIN is the program of LazyFS (dsrhaslab/lazyfs, built by its own build.sh).  usage: lazyfs.sh [ROUNDS]
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/rounds.sh"
rounds=${1:-10}
[ "${MNEME_LONG:-0}" = 0 ] || rounds=${1:-200}
[ -x "${LAZYFS_BIN:-}" ] || skip_all "LAZYFS_BIN is not set to the program of LazyFS"
store=$work/lazy/store
lazyfs=""

lazyfs_start()
{
	mkdir "$work/below" "$work/lazy"
	mkfifo "$work/faults" "$work/done"
	cat >"$work/lazyfs.toml" <<-END
		[faults]
		fifo_path="$work/faults"
		fifo_path_completed="$work/done"
		[cache]
		apply_eviction=false
		[cache.simple]
		custom_size="1gb"
		blocks_per_page=1
		[filesystem]
		log_all_operations=false
		logfile="$work/lazyfs.log"
	END
	exec 8<>"$work/done"
	"$LAZYFS_BIN" "$work/lazy" --config-path "$work/lazyfs.toml" -o allow_other -o modules=subdir \
		-o "subdir=$work/below" -f >"$work/lazyfs.out" 2>&1 8>&- &
	lazyfs=$!
	for _ in $(seq 100); do
		mountpoint -q "$work/lazy" && return
		sleep 0.1
	done
	cat "$work/lazyfs.out"
	fatal "LazyFS does not mount"
}

lose_what_is_not_synced()
{
	local said
	echo "lazyfs::clear-cache" >"$work/faults"
	read -r -t 60 said <&8 || fatal "LazyFS does not answer"
	echo 3 >/proc/sys/vm/drop_caches
}

one_round()
{
	killed_while_writing store_mount "$1" "0.$((RANDOM % 9))$((RANDOM % 9))" &&
		lose_what_is_not_synced && store_check
}

lazyfs_start
store_new
all_rounds store_mount
[ "$failures" != 0 ] || { umount "$work/lazy" && wait "$lazyfs"; }
finish
