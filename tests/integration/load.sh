#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A short load of several processes, and questions meanwhile, on both transports; then a clean unmount and a sound
# store. For the daemons that the sanitizers watch: what they find ends the daemon.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
rounds=200
[ "${MNEME_LONG:-0}" = 0 ] || rounds=2000

asked() # while the load runs
{
	local i
	for i in $(seq 5); do
		cat "$mnt/.mneme/search/number $i.txt" "$mnt/.mneme/metrics" >"$work/answer" || return 1
	done
}
loaded()
{
	local load
	"$here/load.py" "$mnt/$1" 4 "$rounds" & load=$!
	asked || { wait $load; return 1; }
	wait $load && is_mounted && kill -0 "$daemon"
}

store_new
for transport in classic auto; do
	store_mount "transport=$transport,embedder=hash"
	check "load_$transport" loaded "$transport"
	store_unmount
	check "store_after_$transport" store_check
done
finish
