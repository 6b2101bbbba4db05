#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A watcher sees what others on this machine do on the mount.
. "$(dirname "$0")/../lib.sh"
command -v inotifywait >/dev/null || skip_all "inotifywait is missing: apt-get install inotify-tools"
store_new
store_mount
mkdir "$mnt/d"
inotifywait -m -r -q --format '%e %f' "$mnt/d" >"$work/events" 2>&1 &
watcher=$!
sleep 0.5
cd "$mnt/d" || fatal cd
echo text >a
cat a >/dev/null
mv a b
chmod 600 b
mkdir e
rm b
rmdir e
cd /
sleep 0.5
kill $watcher
for event in 'CREATE a' 'MODIFY a' 'CLOSE_WRITE,CLOSE a' 'OPEN a' 'MOVED_FROM a' 'MOVED_TO b' 'ATTRIB b' \
	'CREATE,ISDIR e' 'DELETE b' 'DELETE,ISDIR e'; do
	check "$(echo "$event" | tr ' ,' '__')" grep -qx "$event" "$work/events"
done
[ "$failures" = 0 ] || cat "$work/events"
store_unmount
finish
