#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compaction: after `mneme compact` no byte of a deleted or overwritten memory is in the store's files: text,
# words, names, attributes, links, vectors; those that stay are found as before; killed in the middle, nothing is
# lost and the next one ends it.
. "$(dirname "$0")/lib.sh"
gone=qvanishedx # in all that goes, and in nothing else

# vector_of FILE: the vector that the store keeps of a text (f16), as the bytes to look for.
vector_of()
{
	getfattr --only-values -n user.mneme.vector "$1" | python3 -c '
import struct, sys
raw = sys.stdin.buffer.read()
floats = struct.unpack("<%df" % (len(raw) // 4), raw)
sys.stdout.write(struct.pack("<%de" % len(floats), *floats).lstrip(b"\0")[:96].hex() + "\n")'
}
# store_has FILE: prints what the files of the store have of the word, and of the bytes (hexadecimal) in
# that file.
store_has()
{
	python3 - "$store" "$gone" "$1" <<'END'
import os, sys
store, word, hexes = sys.argv[1:]
wanted = [word.encode()] + [bytes.fromhex(x) for x in open(hexes).read().split()]
for folder, _, names in os.walk(store):
    for name in names:
        path = os.path.join(folder, name)
        data = open(path, "rb").read()
        parts = (data[at : at + 65536] for at in range(0, len(data), 65536))
        data = b"".join(part for part in parts if part.strip(b"\0"))  # nothing is sought in zeros
        for w in wanted:
            for case in {w, w.upper()}:
                if case in data:
                    print(os.path.relpath(path, store), case[:24])
END
}
# The same as a verdict: with / without.
with() { store_has "$work/bytes" >"$work/has" && cat "$work/has" && [ -s "$work/has" ]; }
without() { store_has "$work/bytes" >"$work/has" && cat "$work/has" && [ ! -s "$work/has" ]; }
has() { echo "$1"; [ "$1" = "$2" ]; }

# What goes: all kinds of it; what stays beside it.
fill()
{
	local i
	mkdir "$mnt/notes" "$mnt/$gone"
	for i in $(seq 40); do
		echo "The kestrel number $i nests in the tower." >"$mnt/notes/stays$i.md"
		echo "A $gone of the harbour, number $i, with [[$gone$i]] in it." >"$mnt/notes/goes$i.md"
		echo "Number $i is a $gone at first." >"$mnt/notes/changes$i.md"
	done
	echo x >"$mnt/$gone/inside-$gone"
	setfattr -n "user.$gone" -v y "$mnt/notes/stays1.md"
	setfattr -n user.value -v "$gone" "$mnt/notes/stays1.md"
	setfattr -n "user.mneme.link.$gone" -v 0.5 "$mnt/notes/stays2.md"
	ln -s "$gone-target" "$mnt/notes/link"
	python3 -c '
import sys
word = sys.argv[2].encode()
open(sys.argv[1] + "/notes/goes.f32", "wb").write(word[:8] * 64)
open(sys.argv[1] + "/notes/large", "wb").write((word + b" and more of it\n") * 200000)' "$mnt" "$gone"
	sync "$mnt"
	vector_of "$mnt/notes/goes1.md" >"$work/bytes"
	vector_of "$mnt/notes/changes1.md" >>"$work/bytes"
}
spoil()
{
	local i
	rm -r "$mnt/notes/"goes* "${mnt:?}/$gone" "$mnt/notes/link" "$mnt/notes/large"
	for i in $(seq 40); do
		echo "Number $i is something else now." >"$mnt/notes/changes$i.md"
	done
	setfattr -x "user.$gone" "$mnt/notes/stays1.md"
	setfattr -n user.value -v other "$mnt/notes/stays1.md"
	setfattr -x "user.mneme.link.$gone" "$mnt/notes/stays2.md"
}
# All that stays is there, and is found by words and by meaning.
stays()
{
	local i
	for i in $(seq 40); do
		echo "The kestrel number $i nests in the tower." | cmp - "$mnt/notes/stays$i.md" || return 1
		echo "Number $i is something else now." | cmp - "$mnt/notes/changes$i.md" || return 1
	done
	cat "$mnt/.mneme/search/kestrel mode:lexical limit:100.txt" | grep -c stays | grep -qx 40 &&
		grep -q 'stays7.md' "$mnt/.mneme/search/kestrel number 7 nests mode:vector.txt" &&
		has "$(cat "$mnt/.mneme/search/$gone mode:lexical.txt")" ''
}

store_new
store_mount
fill
store_unmount # the indexes are in files now
store_mount
check all_is_there_before with
spoil
mneme sync "$mnt"
check deleted_is_still_in_the_files with
check nobody_else_may eval "says_no 'only root' setpriv --reuid=12345 --regid=12345 --clear-groups env 'PATH=$PATH' mneme compact '$mnt'"
check compact mneme compact "$mnt"
check no_byte_is_left without
check rest_is_there stays
store_unmount
check store_is_whole store_check
check no_byte_is_left_after_the_unmount without
store_mount
check rest_is_there_after_a_mount stays
check overwrites_little_when_nothing_is_gone mneme compact "$mnt"

# An open file keeps what it holds, and it is said.
echo "$gone is open" >"$mnt/open"
exec 7<"$mnt/open"
rm "$mnt/open"
check says_what_is_open says_no 'still open' mneme compact "$mnt"
check open_file_is_there has "$(cat <&7)" "$gone is open"
exec 7<&-
check closed_file_is_gone eval "mneme compact '$mnt' && without"

# Killed in the middle of it, again and again; each time something else has gone.
killed() # ROUND
{
	local running status
	python3 -c '
import sys
for i in range(30):
    open("%s/round%d" % (sys.argv[1], i), "wb").write((sys.argv[2] * 20).encode() * 4000)' "$mnt" "$gone"
	sync "$mnt"
	rm "$mnt"/round*
	mneme compact "$mnt" >"$work/killed.log" 2>&1 &
	running=$!
	sleep "0.$1"
	store_kill
	wait "$running"
	status=$?
	echo "status $status"
	store_check && store_mount && stays
}
for round in 002 02 08; do
	killed "$round" >"$work/round.log" 2>&1 && echo "ok killed_after_0.$round" ||
		fatal "killed after 0.$round s"
done
check ended_by_the_next_one eval "mneme compact '$mnt' && without"
check rest_is_there_at_the_end stays

# A store that is not mounted; the same with memory=off.
fill_again() { for i in $(seq 30); do echo "$gone $i" >"$mnt/again$i.md"; done; sync "$mnt"; rm "$mnt"/again*; }
fill_again
store_unmount
check unmounted_has_bytes with
check unmounted_compact mneme compact -S "$store"
check unmounted_no_byte_is_left without
check unmounted_store_is_whole store_check
store_mount
check unmounted_rest_is_there stays
store_unmount
store_mount ro
check read_only_is_refused says_no 'read-only' mneme compact "$mnt"
check in_use_is_no_store says_no '.' mneme compact "$work"
store_unmount
finish
