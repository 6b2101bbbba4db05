#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Links that nobody has written: files that are used together where a directory learns, files near by meaning where
# it wants neighbours; recall follows them by kind, a remount keeps them, and they go with their files.
. "$(dirname "$0")/lib.sh"
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no memories"

# leads KIND FROM TO: recall over that kind alone brings it to mind (soon).
leads()
{
	local i
	for i in $(seq 100); do
		mneme recall --kind "$1" "$mnt/$2" >"$work/recalled" 2>&1 && grep -q "$3" "$work/recalled" && return 0
		sleep 0.1
	done
	cat "$work/recalled"
	return 1
}
leads_not() { mneme recall --kind "$1" "$mnt/$2" >"$work/recalled" 2>&1; cat "$work/recalled"; ! grep -q "$3" "$work/recalled"; }

store_new
store_mount
mkdir "$mnt/d" "$mnt/other"
echo 'The kestrel hovers above the meadow and looks for voles.' >"$mnt/d/kestrel.md"
echo 'The invoice of the plumber was paid in March; no kestrel.' >"$mnt/d/invoice.md"
echo 'A falcon hovers above a meadow and looks for mice.' >"$mnt/d/falcon.md"
echo 'The kestrel is no bird of this directory.' >"$mnt/other/stranger.md"
sync "$mnt"
check nothing_unasked eval "leads_not coaccess d/kestrel.md invoice && leads_not neighbour d/kestrel.md falcon"
check unknown_kind says_no 'neighbour and coaccess' mneme recall --kind friend "$mnt/d/kestrel.md"

mneme config -C "$mnt/d" learn=yes neighbours=1
check settings_are_shown eval "mneme config -C '$mnt/d' | grep -q 'neighbours=1 .*set here' && ! mneme config -C '$mnt/d' neighbours=17"
check neighbours_of_what_was_there leads neighbour d/kestrel.md falcon
cat "$mnt/.mneme/search/kestrel mode:lexical.txt" >"$work/answer"
kestrel=$(stat -c %i "$mnt/d/kestrel.md")
store_unmount # what waits is written
check whole store_check
store_mount
check used_together leads coaccess d/kestrel.md invoice
check not_with_what_does_not_learn leads_not coaccess d/kestrel.md stranger
check neighbours_are_kept leads neighbour d/kestrel.md falcon
check all_kinds eval "mneme recall '$mnt/d/kestrel.md' | grep -q invoice"

# A file that changes gets others; one that goes takes them along, at both ends.
echo 'The plumber has sent an invoice, to be paid in March.' >"$mnt/d/falcon.md"
sync "$mnt"
check neighbours_follow leads neighbour d/falcon.md invoice
mneme forget "$mnt/d/kestrel.md" >/dev/null
check gone_from_recall leads_not coaccess d/invoice.md kestrel
mneme config -C "$mnt/d" neighbours=
none() { for i in $(seq 100); do leads_not neighbour d/falcon.md invoice >/dev/null && return 0; sleep 0.1; done; return 1; }
check neighbours_end_with_the_setting none
store_unmount
check forgotten_with_its_links fsck.mnemefs -n --forgotten "$kestrel" "$store"
finish
