#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is used is counted where a directory learns, and nowhere else, without a commit for each read; what is not
# used fades in the ranking where a directory says so, and is found all the same; what is pinned does not.
. "$(dirname "$0")/lib.sh"
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no memories"

get() { getfattr --only-values -n "user.mneme.$1" "$2" 2>/dev/null; }
is() { local got; got=$(get "$1" "$2"); echo "$1 of $2: '$got'"; [ "$got" = "$3" ]; }
ask() { cat "$mnt/.mneme/search/$1.txt" >"$work/answer"; }
refused() { ! setfattr -n "user.mneme.$1" -v "$2" "$3" 2>"$work/why"; }
commits() { awk '$1 == "mneme_commits_total" { print $2 }' "$mnt/.mneme/metrics"; }
order() # FIRST SECOND: so the answer names them
{
	cat "$work/answer"
	[ "$(grep -o 'heron[12]' "$work/answer" | head -n 1)" = "$1" ] && grep -q "$2" "$work/answer"
}

store_new
store_mount
mkdir "$mnt/d" "$mnt/other"
echo 'The heron waits at the weir for the eel.' >"$mnt/d/heron1.md"
echo 'The heron waits at the weir for the eels.' >"$mnt/d/heron2.md"
echo 'A wren sings in the hedge.' >"$mnt/other/wren.md"
sync "$mnt"

check defaults eval "is confidence '$mnt/d/heron1.md' 1 && is access_count '$mnt/d/heron1.md' 0 && is activation '$mnt/d/heron1.md' 1.0000 && ! get last_access '$mnt/d/heron1.md'"
check created eval "get created '$mnt/d/heron1.md' | grep -qx '20[0-9-]*T[0-9:]*Z'"
check confidence_is_set eval "setfattr -n user.mneme.confidence -v 0.25 '$mnt/d/heron2.md' && is confidence '$mnt/d/heron2.md' 0.25"
check no_confidence eval "refused confidence 1.5 '$mnt/d/heron1.md' && refused confidence much '$mnt/d/heron1.md' && refused confidence nan '$mnt/d/heron1.md'"
check computed_is_not_set eval "refused access_count 7 '$mnt/d/heron1.md' && refused activation 1 '$mnt/d/heron1.md' && refused pinned maybe '$mnt/d/heron1.md'"
check not_listed eval "! getfattr -d -m - '$mnt/d/heron1.md' | grep -E 'access|created|activation'"

# Off: nothing is counted, nothing is ranked by it.
ask 'heron mode:lexical'
check not_counted_unasked is access_count "$mnt/d/heron1.md" 0
check settings eval "mneme config -C '$mnt/d' learn=yes decay=10 && mneme config -C '$mnt/d' | grep -q 'decay=10 .*set here' && ! mneme config -C '$mnt/d' decay=-1 && ! mneme config -C '$mnt/d' learn=often"
mneme config -C "$mnt/d" decay=

before=$(commits)
ask 'heron mode:lexical'
check counted is access_count "$mnt/d/heron1.md" 1
check counted_of_both is access_count "$mnt/d/heron2.md" 1
check last_access eval "get last_access '$mnt/d/heron1.md' | grep -qx '20[0-9-]*T[0-9:]*Z'"
uses() { awk '$1 == "mneme_memory_uses_total" { print $2 }' "$mnt/.mneme/metrics"; }
check counted_in_metrics eval '[ "$(uses)" = 2 ]'
ask 'wren mode:lexical'
check not_counted_elsewhere is access_count "$mnt/other/wren.md" 0
check no_commit_for_a_read eval "[ '$before' ] && [ '$before' = \$(commits) ]"
store_unmount
check whole store_check
store_mount
check kept is access_count "$mnt/d/heron1.md" 1

# Faded: behind the other one, and found.
touch -d '2001-02-03' "$mnt/d/heron1.md"
sync "$mnt"
mneme config -C "$mnt/d" learn=
setfattr -x user.mneme.confidence "$mnt/d/heron2.md"
ask 'heron mode:lexical'
first=$(grep -o 'heron[12]' "$work/answer" | head -n 1)
second=heron$((3 - ${first#heron}))
touch -d '2001-02-03' "$mnt/d/$first.md"
touch "$mnt/d/$second.md"
check not_faded_unasked eval "ask 'heron mode:lexical' && order $first $second"
# the use of a moment ago counts too: a half-life that is short against it
mneme config -C "$mnt/d" decay=0.001
sleep 1
check confidence_counts eval "setfattr -n user.mneme.confidence -v 0.01 '$mnt/d/$first.md' && ask 'heron mode:lexical' && order $second $first"
check explained eval "mneme search -C '$mnt' --explain mode:lexical heron | grep -q faded && grep -q faded '$mnt/.mneme/search/heron mode:lexical explain:yes.txt' && mneme search -C '$mnt' --json mode:lexical heron | grep -q fade_part"
setfattr -x user.mneme.confidence "$mnt/d/$first.md"
mneme config -C "$mnt/d" decay=10
echo 'The heron waits at the weir, and once more: the heron.' >"$mnt/d/heron3.md"
touch -d '2001-02-03' "$mnt/d/heron3.md"
sync "$mnt"
check faded eval "is activation '$mnt/d/heron3.md' 0.0000"
check pinned_does_not_fade eval "mneme pin '$mnt/d/heron3.md' && is activation '$mnt/d/heron3.md' 1.0000"
check never_fades eval "mneme unpin '$mnt/d/heron3.md' && mneme config -C '$mnt/d' decay=never && is activation '$mnt/d/heron3.md' 1.0000"
check nothing_is_lost_by_it eval "mneme config -C '$mnt/d' decay=10 && ask 'heron mode:lexical' && [ \$(grep -c heron '$work/answer') = 3 ]"

# A file that goes takes its uses along, also those that wait to be written.
mneme config -C "$mnt/d" learn=yes
ask 'heron mode:lexical'
gone=$(stat -c %i "$mnt/d/heron2.md")
mneme forget "$mnt/d/heron2.md" >/dev/null
store_unmount
check forgotten_with_its_uses fsck.mnemefs -n --forgotten "$gone" "$store"
finish
