#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What files bring to mind, through every door of a mount: over links of all kinds, along the strongest
# path, as current as a sync; nothing of what another user could not read.
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || skip_all "setpriv is missing: apt-get install util-linux"
[ -x /usr/bin/python3 ] || skip_all "/usr/bin/python3 is missing: apt-get install python3"
store_new
store_mount
chmod 755 "$mnt"
cp "$(dirname "$0")/recall.py" "$work" && chmod 644 "$work/recall.py"
cd "$mnt" || fatal "cd"
eve=65501

# says FILE [LINE...]: what D/.mneme/recall/FILE.txt has, exactly; blanks for tabs.
says()
{
	local file=$1
	shift
	printf '%s\n' "$@" | sed '/^$/d' | sort >"$work/want"
	tr '\t' ' ' <".mneme/recall/${file//\//%2F}.txt" | sort >"$work/has" || return 1
	diff "$work/want" "$work/has"
}

mkdir notes recipes
echo 'Bread: flour, water, salt. See [[oven]].' >recipes/bread.md
echo 'The oven is hot.' >recipes/oven.md
echo 'Anna likes [bread](../recipes/bread.md).' >notes/anna.md
echo 'Bob.' >notes/bob.md
ln -s recipes/bread.md today
sync "$mnt"
mneme link notes/bob.md notes/anna.md 0.5
sync notes/bob.md
# In both directions what comes back over a link adds to what there is: anna's 0.7 and bob's 0.086.
check text says recipes/bread.md '0.786 notes/anna.md 1 recipes/bread.md' '0.700 recipes/oven.md 1 recipes/bread.md' \
	'0.700 today 1 recipes/bread.md' '0.245 notes/bob.md 2 recipes/bread.md > notes/anna.md'
check from_two_links_away says notes/bob.md '0.522 notes/anna.md 1 notes/bob.md' \
	'0.485 recipes/bread.md 2 notes/bob.md > notes/anna.md' \
	'0.172 recipes/oven.md 3 notes/bob.md > notes/anna.md > recipes/bread.md' \
	'0.172 today 3 notes/bob.md > notes/anna.md > recipes/bread.md'
links() # numbered links as near/ has them, which lead to the files; names of the strongest first
{
	ls .mneme/recall/notes%2Fbob.md/ >"$work/names" || return 1
	head -2 "$work/names"
	[ "$(head -1 "$work/names")" = '001 0.522 anna.md' ] || return 1
	[ "$(readlink '.mneme/recall/notes%2Fbob.md/001 0.522 anna.md')" = ../../../notes/anna.md ] || return 1
	grep -q Anna '.mneme/recall/notes%2Fbob.md/001 0.522 anna.md'
}
check links links
below() # of a directory, what lies below it
{
	(cd recipes && [ "$(tr '\t' ' ' <.mneme/recall/oven.md.txt)" = '0.700 bread.md 1 oven.md' ]) &&
		(cd notes && tr '\t' ' ' <.mneme/recall/bob.md.txt && [ "$(tr '\t' ' ' <.mneme/recall/bob.md.txt)" = '0.350 anna.md 1 bob.md' ])
	mneme recall -C recipes --json recipes/bread.md | grep -q oven.md
}
check below_a_directory below
outside() # the way there may lead outside of it
{
	echo '[[../recipes/oven]]' >notes/zoe.md && sync notes/zoe.md notes && (cd notes && tr '\t' ' ' <.mneme/recall/zoe.md.txt | grep 'anna.md 3 zoe.md > /recipes/oven.md > /recipes/bread.md$')
}
check way_outside outside
rm notes/zoe.md
check same_at_all_doors /usr/bin/python3 "$work/recall.py" same "$mnt" notes/bob.md
check refusals /usr/bin/python3 "$work/recall.py" refusals "$mnt" notes/bob.md

# ---- parameters ----
recall() { mneme recall "$@" | grep -v via | awk '{ printf "%s:%s ", $2, $1 }' | sed "s,$mnt/,,g"; }
gives() # WANT COMMAND...
{
	local want=$1 has
	shift
	has=$("$@")
	[ "$has" = "$want" ] || { echo "has:   $has"; echo "wants: $want"; return 1; }
}
check hops gives 'notes/anna.md:0.350 ' recall --hops 1 notes/bob.md
check decay gives 'notes/anna.md:0.250 recipes/bread.md:0.125 ' recall --direction out --decay 0.5 --hops 2 notes/bob.md
check threshold gives 'notes/anna.md:0.350 recipes/bread.md:0.245 ' recall --direction out --threshold 0.2 notes/bob.md
check direction_out gives 'notes/anna.md:0.350 recipes/bread.md:0.245 recipes/oven.md:0.172 ' recall --direction out notes/bob.md
check direction_in gives 'notes/anna.md:0.700 today:0.700 notes/bob.md:0.245 ' recall --direction in recipes/bread.md
check kinds gives 'recipes/oven.md:0.700 today:0.700 ' recall --kind wiki --kind symlink recipes/bread.md
check limit gives 'notes/anna.md:0.522 ' recall -n 1 notes/bob.md
check several_files gives 'notes/anna.md:0.175 recipes/bread.md:0.123 ' recall --direction out notes/bob.md recipes/oven.md
check budget_says_so eval 'mneme recall --nodes 2 notes/bob.md 2>&1 | grep -q "more than --nodes"'
check nothing_is_status_1 eval 'echo alone >alone.md; mneme recall alone.md; [ $? = 1 ]'
check wrong_decay says_no 'decay wants' mneme recall --decay 2 notes/bob.md
check wrong_kind says_no 'kinds are' mneme recall --kind hard notes/bob.md
check no_number says_no 'wants a number' mneme recall --hops x notes/bob.md
check no_such_file says_no 'No such file' mneme recall nosuch
check of_a_directory says_no 'directory' mneme recall notes
check option_of_search says_no 'does not know' mneme search --decay 1 x
check deadline_that_is_kept gives 'notes/anna.md:0.350 ' recall --deadline 60000 --hops 1 notes/bob.md

# ---- it follows ----
mv recipes/oven.md recipes/stove.md
check renamed says recipes/stove.md '1.000 recipes/bread.md 1 recipes/stove.md' '0.550 notes/anna.md 2 recipes/stove.md > recipes/bread.md' \
	'0.490 today 2 recipes/stove.md > recipes/bread.md' '0.172 notes/bob.md 3 recipes/stove.md > recipes/bread.md > notes/anna.md'
echo 'Bread without.' >recipes/bread.md && sync recipes/bread.md
check link_removed_from_the_text says recipes/stove.md ''
mneme link notes/bob.md notes/anna.md 1 && sync notes/bob.md
check weight_changed says notes/bob.md '1.000 notes/anna.md 1 notes/bob.md' '0.730 recipes/bread.md 2 notes/bob.md > notes/anna.md' \
	'0.343 today 3 notes/bob.md > notes/anna.md > recipes/bread.md'
ln notes/anna.md ann-too.md
check hard_link_is_the_same_memory says ann-too.md '1.000 recipes/bread.md 1 ann-too.md' '0.700 notes/bob.md 1 ann-too.md' \
	'0.490 today 2 ann-too.md > recipes/bread.md'
rm ann-too.md
gone() # deleting takes a while to reach the links: nothing is led over what has no name, at once
{
	rm notes/anna.md && says notes/bob.md ''
}
check removed gone
setfattr -x user.mneme.link.anna.md notes/bob.md
echo '[[bread]] [[stove]]' >recipes/list.md
sync "$mnt"
opted() { setfattr -n user.xdg.robots.index -v false recipes/bread.md && says recipes/list.md '0.700 recipes/stove.md 1 recipes/list.md'; }
check opted_out opted
setfattr -x user.xdg.robots.index recipes/bread.md

# ---- blended into a search ----
mkdir zoo
echo 'Zebra zebra stripes. [[savanna]] [[horse]]' >zoo/zebra.md
echo 'Grass and heat.' >zoo/savanna.md
echo 'A donkey beside a zebra, once seen.' >zoo/donkey.md
echo 'A horse beside a zebra, once seen.' >zoo/horse.md
for i in $(seq 12); do echo "Something else entirely, number $i." >"zoo/$i.md"; done
sync "$mnt"
found() { mneme search -C zoo --grep mode:lexical "$@" | cut -d: -f1 | tr '\n' ' '; }
check search_alone eval 'found zebra | grep -x "zoo/zebra.md zoo/\(donkey\|horse\).md zoo/\(donkey\|horse\).md "'
check search_associates gives 'zoo/zebra.md zoo/horse.md zoo/donkey.md zoo/savanna.md ' found --associate zebra
check search_associates_in_the_question gives 'zoo/zebra.md zoo/horse.md zoo/donkey.md zoo/savanna.md ' found zebra associate:yes
check search_associates_within_filters gives 'zoo/zebra.md zoo/horse.md ' found --associate --name 'z*' --name 'h*' zebra
blend() # savanna is led to by the best alone: half of its score, less what is lost at the link; and explained
{
	cat 'zoo/.mneme/search/zebra associate:yes mode:lexical explain:yes.txt' >"$work/blend"
	cat "$work/blend"
	awk -F'\t' '/^[0-9]/ { score[$2] = $1 } END { for (f in score) if (f ~ /savanna/) s = score[f]; else if (f ~ /zebra/) z = score[f]
		exit !(s > 0.1 && z > 2 * s) }' "$work/blend" && grep -q 'links' "$work/blend"
}
check blend blend
without() { mneme search -C zoo --json mode:lexical zebra | grep -q links_part && return 1; mneme search -C zoo --json --associate mode:lexical zebra | grep -q links_part; }
check links_part_where_it_was_asked_for without
rm -r zoo

# ---- another user ----
mkdir open shut
chmod 755 open && chmod 700 shut
echo '[[../shut/secret]] [[c]] [[../open/weak]]' >open/a.md
echo '[[../open/b]]' >shut/secret.md
echo 'b' >open/b.md; echo 'c' >open/c.md; echo weak >open/weak.md
echo '[[../open/a]]' >shut/spy.md
echo '[[a]]' >open/mine.md && chmod 600 open/mine.md
sync "$mnt"
mneme link shut/spy.md open/c.md 1; sync shut/spy.md
as_eve() { setpriv --reuid=$eve --regid=$eve --clear-groups -- env "PATH=$PATH" "$@"; }
tells() # all doors, from the open files, as eve
{
	as_eve sh -c 'for f in a b c weak; do
			cat "$1/.mneme/recall/open%2F$f.md.txt" "$1/.mneme/recall/open%2F$f.md.json" "$1/open/.mneme/recall/$f.md.txt"
			ls -l "$1/.mneme/recall/open%2F$f.md/"
			mneme recall --json -n 1000 "$1/open/$f.md"
			mneme search -C "$1" -n 100 --associate --grep c weak | cut -d: -f1
			mneme recall --fan-out 1 "$1/open/$f.md"
			/usr/bin/python3 "$2/recall.py" dump "$1" "open/$f.md"
		done' sh "$mnt" "$work" 2>&1
}
leak()
{
	tells >"$work/told"
	grep -q 'these were the binary doors' "$work/told" && grep -q 'open/c.md' "$work/told" || { cat "$work/told"; return 1; }
	! grep -aE 'shut|secret|spy|mine' "$work/told"
}
control() { mneme recall -n 100 open/a.md >"$work/told" && grep -q shut/secret "$work/told" && grep -q 'open/b.md' "$work/told" && grep -q mine "$work/told"; }
check control_root control
check no_leak leak
not_over() { [ -z "$(as_eve mneme recall open/b.md)" ]; } # b is led to over a closed file only
check not_over_what_is_closed not_over
no_place() # strongest first: what is closed takes no place of the fan-out, of the budget, of the results
{
	local few
	few=$(as_eve mneme recall --direction in --fan-out 1 -n 1 --nodes 3 open/c.md 2>&1 | sed "s,$mnt/,,")
	echo "$few"
	echo "$few" | grep -q 'open/a.md' && ! echo "$few" | grep -q 'more than'
}
check closed_takes_no_place no_place
refused() { as_eve "$@" >"$work/said" 2>/dev/null && return 1; [ ! -s "$work/said" ]; }
check from_a_closed_file refused cat "$mnt/.mneme/recall/open%2Fmine.md.txt"
check from_behind_a_closed_directory refused cat "$mnt/.mneme/recall/shut%2Fspy.md.txt"
same_refusal()
{
	local a b
	a=$(as_eve cat "$mnt/.mneme/recall/shut%2Fspy.md.txt" 2>&1 | sed 's/.*: //')
	b=$(as_eve cat "$mnt/.mneme/recall/shut%2Fnothing.md.txt" 2>&1 | sed 's/.*: //')
	echo "$a / $b"
	[ "$a" = "$b" ]
}
check existence_behind_closed same_refusal
by_inode() # an inode number opens nothing
{
	[ "$(as_eve /usr/bin/python3 "$work/recall.py" inode "$mnt" "$(stat -c %i shut/spy.md)")" = 0 ] &&
		[ "$(/usr/bin/python3 "$work/recall.py" inode "$mnt" "$(stat -c %i shut/spy.md)")" != 0 ]
}
check by_inode_number by_inode

# ---- figures ----
metric() { awk -v m="mneme_recall_$1" '$1 == m { print $2 }' .mneme/metrics; }
metrics()
{
	local runs links
	runs=$(metric runs_total) links=$(metric links)
	mneme recall open/a.md >/dev/null
	[ "$(metric runs_total)" = $((runs + 1)) ] && [ "$links" -gt 3 ] && [ "$(metric memories)" -gt 4 ] &&
		[ "$(metric 'latency_seconds_count{of="recall"}')" -gt "$runs" ] && [ "$(metric 'records{state="in_use"}')" = 0 ] &&
		[ "$(metric 'records{state="high_water"}')" -gt 0 ] && grep -q '^recall .* runs' .mneme/stats
}
check metrics metrics
known() # CONFIDENCE PINNED: so the answer says of open/c.md
{
	cat '.mneme/recall/open%2Fa.md.json' >"$work/known"
	cat "$work/known"
	grep 'open/c.md' "$work/known" | grep -q "\"confidence\": $1, \"pinned\": $2"
}
check not_described known 1 false
check confidence eval 'setfattr -n user.mneme.confidence -v 0.25 open/c.md && mneme pin open/c.md && known 0.25 true'
check confidence_goes eval 'setfattr -x user.mneme.confidence open/c.md && mneme unpin open/c.md && known 1 false'

# ---- after a crash, on a read-only mount, on a store that is not mounted ----
says open/a.md >/dev/null 2>&1
cp "$work/has" "$work/before"
sync "$mnt"
cd /
store_kill
store_mount
cd "$mnt" || fatal "cd"
again() { says open/a.md >/dev/null 2>&1; diff "$work/before" "$work/has"; }
check after_a_crash again
cd /
store_unmount
check unmounted eval 'mneme recall -S "$store" -n 20 open/a.md | grep -q shut/secret.md'
store_mount ro
cd "$mnt" || fatal "cd"
check read_only again
check read_only_tool eval 'mneme recall --hops 1 open/a.md | grep -q open/c.md'
cd /
store_unmount
store_mount memory=off
check memory_off_says_so says_no 'memory=off' mneme recall "$mnt/open/a.md"
store_unmount
check store store_check
finish
