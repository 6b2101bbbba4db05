#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mneme forget takes a memory away down to its bytes, and fsck.mnemefs --forgotten proves it, or says what is
# there yet; mneme pin keeps one from it; names that were not given stay.
. "$(dirname "$0")/lib.sh"
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no store to look into"

# status WANTED COMMAND...; what it said is in $work/said
status()
{
	local wanted=$1 got
	shift
	"$@" >"$work/said" 2>&1 </dev/null
	got=$?
	cat "$work/said"
	[ $got = "$wanted" ] || { echo "status $got instead of $wanted: $*"; return 1; }
}
says() { grep -q -- "$1" "$work/said" || { echo "not said: $1"; return 1; }; }
text() { echo "The $1 wrote the seventh letter to the harbour master in the year of the long frost."; }
number() { stat -c %i "$1"; }

fill()
{
	mkdir "$mnt/notes"
	for i in $(seq 20); do text "clerk $i" >"$mnt/notes/stays$i.md"; done
	{ text quiremaster; seq -f 'entry %g of the quiremaster is sealed' 400; } >"$mnt/notes/goes.md"
	echo 'It leads to [[notes/goes]] and back.' >"$mnt/notes/other.md"
	mneme link "$mnt/notes/goes.md" "$mnt/notes/stays1.md" 0.5
	{ text smuggler; seq -f 'line %g of the smuggler' 40; } >"$mnt/notes/twin.md"
	cp "$mnt/notes/twin.md" "$mnt/notes/twin2.md"
	echo 'plainly deleted, and by nobody forgotten: the rookery' >"$mnt/notes/deleted.md"
	echo short >"$mnt/notes/short.md"
	sync "$mnt"
}
store_new
store_mount
fill
goes=$(number "$mnt/notes/goes.md")
deleted=$(number "$mnt/notes/deleted.md")
twin=$(number "$mnt/notes/twin.md")

# Pinned, elsewhere, no file, not allowed: nothing happens.
check pin eval "mneme pin '$mnt/notes/goes.md' && getfattr --only-values -n user.mneme.pinned '$mnt/notes/goes.md' | grep -qx 1"
check pinned_is_kept eval "status 2 mneme forget '$mnt/notes/stays3.md' '$mnt/notes/goes.md' && says pinned && [ -e '$mnt/notes/stays3.md' ]"
check unpin eval "mneme unpin '$mnt/notes/goes.md' && mneme unpin '$mnt/notes/goes.md' && ! getfattr -n user.mneme.pinned '$mnt/notes/goes.md'"
ln "$mnt/notes/twin.md" "$mnt/twin.hard"
check other_names_stay eval "status 2 mneme forget '$mnt/notes/twin.md' && says 'has 1 other names' && [ -e '$mnt/notes/twin.md' ]"
check no_file eval "status 2 mneme forget '$mnt/notes' && says 'is no file'"
check not_mounted eval "status 2 mneme forget '$0' && says 'not in a mounted'"
check nobody_else_may eval "status 2 setpriv --reuid=12345 --regid=12345 --clear-groups env 'PATH=$PATH' mneme forget '$mnt/notes/goes.md' && says 'nothing was done' && [ -e '$mnt/notes/goes.md' ]"
check mounted_store_is_refused eval "status 8 fsck.mnemefs -n --forgotten $goes '$store' && says 'in use'"

# What is there is not forgotten, in all its parts; nor what was only deleted.
there()
{
	status 4 fsck.mnemefs -n --forgotten "$1" "$store" || return 1
	for part in 'a passage' 'a vector' 'a link of' 'a link from it' 'a name of' 'bytes of' 'page [0-9]* of the heap has'; do
		says "$part" || return 1
	done
	[ "$(ls "$store/index")" ] && says 'index/words has its words' && says 'index/vectors-[0-9a-f]* has [0-9]* vectors'
	says 'is not forgotten'
}
only_deleted() { status 4 fsck.mnemefs -n --forgotten "$deleted" "$store" && says 'not forgotten'; }
rm "$mnt/notes/deleted.md"
sync "$mnt"
store_unmount
check deleted_is_not_forgotten only_deleted
check says_what_is_there there "$goes"
store_mount

check forget mneme forget --receipt "$work/receipt" "$mnt/notes/goes.md"
check receipt_is_kept_from_others eval "[ \$(stat -c %a '$work/receipt') = 600 ]"
check receipt_holds_no_text eval "! grep -q quiremaster '$work/receipt'"
check gone eval "[ ! -e '$mnt/notes/goes.md' ] && ! cat '$mnt/.mneme/search/quiremaster mode:lexical.txt' | grep -q ."
check another_receipt_is_not_overwritten eval "status 2 mneme forget --receipt '$work/receipt' '$mnt/notes/short.md' && says exists && [ -e '$mnt/notes/short.md' ]"
check several_names mneme forget --receipt "$work/twins" "$mnt/notes/twin.md" "$mnt/twin.hard"
check short mneme forget --receipt "$work/brief" "$mnt/notes/short.md"

# A name that is given twice is one name.
echo 'known under two names' >"$mnt/notes/once.md"
ln "$mnt/notes/once.md" "$mnt/notes/once.hard"
check a_name_counts_once eval "status 2 mneme forget '$mnt/notes/once.md' '$mnt/notes/../notes/once.md' && says 'has 1 other names' && [ -e '$mnt/notes/once.md' ]"
check a_name_may_be_given_twice eval "status 0 mneme forget '$mnt/notes/once.md' '$mnt/notes/./once.md' '$mnt/notes/once.hard' && [ ! -e '$mnt/notes/once.md' ] && [ ! -e '$mnt/notes/once.hard' ]"

# What may not be removed is seen before anything is.
mkdir "$mnt/kept"
text keeper >"$mnt/kept/kept.md"
text fellow >"$mnt/fellow.md"
refused() # WORD COMMAND...: before it for the prefix of mneme
{
	local word=$1
	shift
	status 2 "$@" mneme forget --receipt "$work/refused" "$mnt/fellow.md" "$mnt/kept/kept.md" && says "$word" &&
		says 'nothing was forgotten' && [ -e "$mnt/fellow.md" ] && [ ! -e "$work/refused" ]
}
flagged() # FLAG FILE
{
	local rc=0
	chattr "+$1" "$2" || return 1
	refused 'chattr -' || rc=1
	chattr "-$1" "$2"
	return $rc
}
check immutable_is_seen flagged i "$mnt/kept/kept.md"
check append_only_is_seen flagged a "$mnt/kept/kept.md"
check immutable_directory_is_seen flagged i "$mnt/kept"
check append_only_directory_is_seen flagged a "$mnt/kept"
# The owner of the root directory may compact, but not write everywhere.
by_owner() # MODE WORD
{
	local rc=0
	chmod "$1" "$mnt/kept"
	chown 12345 "$mnt" "$mnt/fellow.md"
	refused "$2" setpriv --reuid=12345 --regid=12345 --clear-groups env "PATH=$PATH" || rc=1
	chown 0 "$mnt" "$mnt/fellow.md"
	return $rc
}
check write_permission_is_seen by_owner 755 'Permission denied'
check sticky_directory_is_seen by_owner 1777 'sticky'

# What cannot be removed all the same is said, and is not in the receipt. A mount on a file keeps its name.
half()
{
	local rc=0 fellow kept
	fellow=$(number "$mnt/fellow.md")
	kept=$(number "$mnt/kept/kept.md")
	mount --bind "$mnt/kept/kept.md" "$mnt/kept/kept.md" || return 1
	{ status 2 mneme forget --receipt "$work/half" "$mnt/fellow.md" "$mnt/kept/kept.md" && says "^forgotten: .*/fellow.md (memory $fellow)" &&
		says "^not forgotten: .*/kept.md (memory $kept): .*busy" && [ "$(grep '^memory' "$work/half")" = "memory $fellow" ]; } || rc=1
	umount "$mnt/kept/kept.md"
	[ -e "$mnt/kept/kept.md" ] && [ ! -e "$mnt/fellow.md" ] && return $rc
}
none()
{
	local rc=0
	ln "$mnt/kept/kept.md" "$mnt/kept/second" && mount --bind "$mnt/kept/kept.md" "$mnt/kept/kept.md" || return 1
	{ status 2 mneme forget --receipt "$work/none" "$mnt/kept/second" "$mnt/kept/kept.md" && says '^not forgotten: .*/kept.md .*busy' &&
		says '^not forgotten: .*/second .*the name is removed, but .*/kept.md stays' && [ ! -e "$work/none" ]; } || rc=1
	umount "$mnt/kept/kept.md"
	return $rc
}
check half_is_said half
check nothing_has_no_receipt none

# Links to it that were made as attributes go with it; who names it in a text is told.
echo 'The alchemist counts his coins.' >"$mnt/notes/zorkmid.md"
echo 'Nothing in here.' >"$mnt/linking.md"
echo 'As in [[notes/zorkmid]].' >"$mnt/naming.md"
mneme link "$mnt/linking.md" "$mnt/notes/zorkmid.md" 0.5
zorkmid=$(number "$mnt/notes/zorkmid.md")
linked()
{
	getfattr -d "$mnt/linking.md" 2>/dev/null | grep -q zorkmid || return 1
	status 0 mneme forget --receipt "$work/linked" "$mnt/notes/zorkmid.md" && says 'link removed: .*/linking.md' && says 'names it yet: .*/naming.md (wiki)' &&
		! getfattr -d "$mnt/linking.md" 2>/dev/null | grep zorkmid
}
check links_go_with_it linked
many() { status 2 mneme forget $(seq 257) && says 'at most 256' && mneme --help | grep -q 'at most 256'; }
check limit_is_said many

proven()
{
	status 0 fsck.mnemefs -n --forgotten "$goes" "$store" && says "memory $goes is forgotten" &&
		status 0 fsck.mnemefs -n --forgotten "$work/receipt" "$store" && says 'none of [1-9][0-9]* marks' &&
		status 0 fsck.mnemefs -n --forgotten "$deleted" "$store" &&
		status 0 fsck.mnemefs -n --forgotten "$work/brief" "$store" &&
		status 0 fsck.mnemefs -n --forgotten "$work/twins" "$store" && says 'others hold the same' && says "memory $twin is" &&
		status 0 fsck.mnemefs -n --forgotten "$work/linked" "$store" && says "memory $zorkmid is" && says 'name in other files is not sought'
}
# A number that was never given out proves nothing.
never() { status 8 fsck.mnemefs -n --forgotten 99999999 "$store" && says 'never gave out' && ! says 'is forgotten'; }
no_receipt() { status 8 fsck.mnemefs -n --forgotten "$0" "$store" && says 'no receipt'; }
store_unmount
check proven proven
check no_receipt no_receipt
check never_given_out never
store_mount
check rest_is_there eval "text 'clerk 7' | cmp - '$mnt/notes/stays7.md' && grep -q stays7 '$mnt/.mneme/search/clerk 7.txt'"

# The proof sees bytes wherever they lie: behind the heap, in the log, in an index file.
planted()
{
	local file proofs=0
	for file in heap "$(cd "$store" && ls wal/* | head -n 1)" index/words; do
		rm -rf "$work/copy"
		cp -a "$store" "$work/copy"
		seq -f 'entry %g of the quiremaster is sealed' 190 200 >>"$work/copy/$file"
		fsck.mnemefs -n "$work/copy" >/dev/null || continue # found damaged: no proof either
		status 4 fsck.mnemefs -n --forgotten "$work/receipt" "$work/copy" &&
			says "$file has bytes of memory $goes" || return 1
		proofs=$((proofs + 1))
	done
	[ $proofs -ge 2 ]
}
store_unmount
check planted_bytes_are_found planted
other_store() { mkfs.mnemefs "$work/store2" >/dev/null && status 8 fsck.mnemefs -n --forgotten "$work/receipt" "$work/store2" && says 'another store'; }
check another_stores_receipt other_store
finish
