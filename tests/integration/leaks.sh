#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No door of search tells a caller anything of a file that the caller could not read: ways to leak,
# tried as another user; each with a control by somebody who may.
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || skip_all "setpriv is missing: apt-get install util-linux"
command -v setfacl >/dev/null || skip_all "setfacl is missing: apt-get install acl"
[ -x /usr/bin/python3 ] || skip_all "/usr/bin/python3 is missing: apt-get install python3"
store_new
store_mount
cp "$(dirname "$0")/doors.py" "$work" && chmod 644 "$work/doors.py"
chmod 755 "$mnt"
eve=65501 ann=65502 club=65503

as() { # UID GROUPS COMMAND...
	local uid=$1 groups=$2
	shift 2
	if [ -n "$groups" ]; then groups="--groups $groups"; else groups=--clear-groups; fi
	# shellcheck disable=SC2086 # options
	setpriv --reuid "$uid" --regid "$uid" $groups -- "$@"
}

# Everything that any door tells UID (with GROUPS) below DIR for the question: text, links and targets,
# JSON, attributes, and what is near to the files of bait/.
tells() { # UID GROUPS DIR
	as "$1" "$2" sh -c '
		for d in "$1" "$2"; do
			cat "$d/.mneme/search/$3.txt" "$d/.mneme/search/$3.json"
			ls -l "$d/.mneme/search/$3/"
			cat "$d/.mneme/search/$3/"*
			getfattr --only-values -n "user.mneme.search:$3" "$d"
			mneme search -C "$d" -n 100 "$3"
			mneme search -C "$d" -n 100 --json "$3"
			mneme search -C "$d" -n 100 --json "$3 name:*.txt after:2000-01-01 mode:similar"
			/usr/bin/python3 "$4/doors.py" dump "$d" "$3"
		done
		for f in "$1"/bait/*; do
			getfattr --only-values -n user.mneme.similar "$f"
			mneme near -n 100 "$f"
			cat "$1/.mneme/near/bait%2F${f##*/}.json"
		done' sh "$mnt" "$3" 'secret mandrake' "$work" 2>/dev/null
}
hidden() { # MARK [UID [GROUPS [DIR]]]: none of the answers has MARK
	tells "${2:-$eve}" "${3:-}" "${4:-$mnt}" >"$work/told"
	grep -q 'these were the binary doors' "$work/told" && grep -q 'bait/' "$work/told" || { echo "not even the bait is found"; cat "$work/told"; return 1; }
	! grep -a -- "$1" "$work/told"
}
shown() { # MARK UID [GROUPS]
	tells "$2" "${3:-}" "$mnt" >"$work/told"
	grep -aq -- "$1" "$work/told"
}
# put PATH MARK: a secret with the mark in its text and in its name's directory.
put() { mkdir -p "$(dirname "$mnt/$1")" && echo "the secret mandrake grows, says $2" >"$mnt/$1"; }

put bait/bait bait
chmod 644 "$mnt/bait/bait"

put mode/mode-a.txt mode-a && chmod 600 "$mnt/mode/mode-a.txt"
put parent/parent-b.txt parent-b && chmod 700 "$mnt/parent"
put deep/x/y/z/deep-c.txt deep-c && chmod 744 "$mnt/deep/x"
put acl/acl-d.txt acl-d && chmod 644 "$mnt/acl/acl-d.txt" && setfacl -m u:$eve:--- "$mnt/acl/acl-d.txt"
put gacl/gacl-e.txt gacl-e && chmod 644 "$mnt/gacl/gacl-e.txt" && setfacl -m g:$club:--- "$mnt/gacl/gacl-e.txt"
put mask/mask-f.txt mask-f && chmod 600 "$mnt/mask/mask-f.txt" &&
	setfacl -m u:$eve:r "$mnt/mask/mask-f.txt" && setfacl -m m::--- "$mnt/mask/mask-f.txt"
put dacl/dacl-g.txt dacl-g && setfacl -m u:$eve:r-- "$mnt/dacl"
put group/group-h.txt group-h && chgrp $club "$mnt/group/group-h.txt" && chmod 640 "$mnt/group/group-h.txt"
put owner/owner-i.txt owner-i && chown $eve "$mnt/owner/owner-i.txt" && chmod 044 "$mnt/owner/owner-i.txt"
put ingroup/ingroup-j.txt ingroup-j && chgrp $club "$mnt/ingroup/ingroup-j.txt" && chmod 604 "$mnt/ingroup/ingroup-j.txt"
put link/from/link-k.txt link-k && mkdir "$mnt/link/open" && chmod 600 "$mnt/link/from/link-k.txt" &&
	ln "$mnt/link/from/link-k.txt" "$mnt/link/open/link-k.txt"
put half/closed/half-l.txt half-l && mkdir "$mnt/half/open" &&
	ln "$mnt/half/closed/half-l.txt" "$mnt/half/open/seen.txt" && chmod 700 "$mnt/half/closed"
ln -s "$mnt/mode/mode-a.txt" "$mnt/bait/link-to-mode"
put later/later-m.txt later-m
put move/move-n.txt move-n && mkdir -m 700 "$mnt/moved"
put xonly/xonly-o.txt xonly-o && chmod 600 "$mnt/xonly/xonly-o.txt" && chmod 711 "$mnt/xonly"
chmod 600 "$mnt/bait/link-to-mode" 2>/dev/null
chmod 644 "$mnt/later/later-m.txt" "$mnt/move/move-n.txt" "$mnt/half/closed/half-l.txt"
for f in bait/open mode/secret-q parent/secret-r; do # rows of vector files are results, too
	python3 -c 'import struct,sys; sys.stdout.buffer.write(struct.pack("<3f", 1, 2, 3))' >"$mnt/$f.f32"
done
chmod 600 "$mnt/mode/secret-q.f32"
sync "$mnt"

check control_root shown parent-b 0
check control_bait shown bait $eve
check file_mode hidden mode-a
check file_mode_name hidden mode/
check closed_parent hidden parent-b
check closed_far_above hidden deep-c
check acl_denies_user hidden acl-d.txt
check acl_allows_another shown acl-d $ann
check acl_denies_group hidden gacl-e $eve $club
check acl_allows_outside_of_group shown gacl-e $eve
check acl_mask hidden mask-f
check acl_of_directory_without_x hidden dacl-g
check not_in_group hidden group-h
check in_group_control shown group-h $eve $club
check owner_without_read hidden owner-i
check group_without_read hidden ingroup-j $eve $club
check group_without_read_control shown ingroup-j $eve
check hard_link_in_open_directory hidden link-k
check second_name_is_shown shown half/open/seen.txt $eve
check closed_name_is_not hidden half-l.txt
check closed_directory_is_not hidden half/closed

check before_it_is_closed shown later-m $eve
chmod 600 "$mnt/later/later-m.txt"
check closed_after_indexing hidden later-m
check before_the_move shown move-n $eve
mv "$mnt/move/move-n.txt" "$mnt/moved/move-n.txt"
check moved_into_a_closed_directory hidden move-n
shared_answer() # root's answer stays open while another asks the same
{
	tells 0 '' "$mnt" >/dev/null
	exec 8<"$mnt/.mneme/search/secret mandrake.txt" 9<"$mnt/.mneme/search/secret mandrake"
	grep -q parent-b <&8 || return 1
	hidden parent-b
}
check answer_of_another_user shared_answer

refused() { # COMMAND...: as eve; it fails, and tells nothing
	as $eve '' "$@" >"$work/said" 2>/dev/null && { cat "$work/said"; return 1; }
	[ ! -s "$work/said" ]
}
for name in vector similar state dim model version; do
	check "attribute_$name" refused getfattr --only-values -n user.mneme.$name "$mnt/xonly/xonly-o.txt"
	check "attribute_${name}_behind_closed" refused getfattr --only-values -n user.mneme.$name "$mnt/parent/parent-b.txt"
done
check near_door refused cat "$mnt/.mneme/near/xonly%2Fxonly-o.txt.txt"
check near_door_of_its_directory refused cat "$mnt/xonly/.mneme/near/xonly-o.txt.txt"
check near_door_behind_closed refused cat "$mnt/.mneme/near/parent%2Fparent-b.txt.txt"
like() { echo "{\"like\": \"$1\"}"; }
for path in xonly/xonly-o.txt parent/parent-b.txt; do # a path in a request
	check "query_like_$(basename $path)" refused sh -c '
		/usr/bin/python3 "$1/doors.py" line "$2" "$3" | grep -v "\"error\"" | grep .' sh "$work" "$mnt" "$(like $path)"
done
for ending in npy f32 json; do
	check "vectors_$ending" refused cat "$mnt/.mneme/vector/xonly%2Fxonly-o.txt.$ending"
	check "vectors_${ending}_behind_closed" refused cat "$mnt/.mneme/vector/parent%2Fparent-b.txt.$ending"
	check "vectors_${ending}_control" cmp -s "$mnt/.mneme/vector/parent%2Fparent-b.txt.$ending" "$mnt/.mneme/vector/parent%2Fparent-b.txt.$ending"
done
by_vector() # UID: who finds which vector files
{
	as "$1" '' /usr/bin/python3 "$work/doors.py" line "$mnt" '{"vector": [1, 2, 3], "limit": 100}' >"$work/told"
	cat "$work/told"
	grep -q bait/open.f32 "$work/told"
}
vectors_of_root() { by_vector 0 && grep -q secret-q "$work/told" && grep -q secret-r "$work/told"; }
vectors_of_eve() { by_vector $eve && ! grep secret- "$work/told"; }
check vector_files_control vectors_of_root
check vector_files vectors_of_eve
check near_tool refused mneme near "$mnt/xonly/xonly-o.txt"
check door_of_a_closed_directory refused cat "$mnt/parent/.mneme/search/secret mandrake.txt"
check attribute_of_a_closed_directory refused getfattr --only-values -n 'user.mneme.search:secret' "$mnt/parent"
same_error() # the same of the request file
{
	local a b
	a=$(as $eve '' /usr/bin/python3 "$work/doors.py" line "$mnt" "$(like parent/parent-b.txt)")
	b=$(as $eve '' /usr/bin/python3 "$work/doors.py" line "$mnt" "$(like parent/nothing)")
	echo "$a / $b"
	[ -n "$a" ] && [ "$a" = "$b" ]
}
check existence_by_like same_error
written_by_eve() # who writes is who asks: here eve, through a descriptor that root opened
{
	exec 6<>"$mnt/.mneme/query"
	as $eve '' sh -c 'echo "secret mandrake" >&6'
	cat <&6 >"$work/told"
	exec 6>&-
	cat "$work/told"
	grep -q bait/ "$work/told" && ! grep -q parent-b "$work/told"
}
check query_file_of_root_written_by_another written_by_eve
same_refusal() # no difference between what is there and what is not, behind a closed directory
{
	local a b
	a=$(as $eve '' cat "$mnt/.mneme/near/parent%2Fparent-b.txt.txt" 2>&1 | sed 's/.*: //')
	b=$(as $eve '' cat "$mnt/.mneme/near/parent%2Fnothing.txt" 2>&1 | sed 's/.*: //')
	echo "$a / $b"
	[ "$a" = "$b" ]
}
check existence_behind_closed same_refusal
place() # a secret takes no place among the results either: all that may be seen is counted
{
	local i
	mkdir "$mnt/crowd" && chmod 700 "$mnt/crowd"
	for i in $(seq 300); do echo "secret mandrake secret mandrake $i" >"$mnt/crowd/$i"; done
	sync "$mnt"
	hidden crowd
}
check crowd_takes_no_place place
setuid_caller() # a setuid program of eve, run by root, sees what eve sees
{
	cp "$(command -v cat)" "$work/cat" && chown $eve "$work/cat" && chmod 4755 "$work/cat" || return 1
	"$work/cat" "$mnt/.mneme/search/secret mandrake.txt" >"$work/told" || return 1
	cat "$work/told"
	grep -q bait/ "$work/told" && ! grep -q parent-b "$work/told"
}
check setuid_caller setuid_caller
fd_passed() # a descriptor of root's directory lets eve in, and still shows nothing
{
	exec 7<"$mnt/parent"
	as $eve '' cat "/proc/self/fd/7/.mneme/search/secret mandrake.txt" >"$work/told" 2>/dev/null
	cat "$work/told"
	! grep -q parent-b "$work/told"
}
check descriptor_of_a_closed_directory fd_passed
repeats() { sed -n 's/^mneme_memory_searches_repeated_total //p' "$mnt/.mneme/metrics"; }
asked_again() # an answer that was given already is of before a change: nobody gets it after one
{
	local d=$mnt/again f=$mnt/again/again-q.txt before turn
	ask() { as "${1:-$eve}" "${2:-}" cat "$mnt/.mneme/search/mandrake again.txt"; }
	sees() { ask "$@" >"$work/told" && ask "$@" >>"$work/told" && grep -q again-q "$work/told"; }
	open_again() { chmod 755 "$d" && chmod 644 "$f" && setfacl -b "$f" "$d" && sees; }
	mkdir -p "$mnt/shut" && chmod 700 "$mnt/shut" && sync "$mnt"
	for turn in 'chmod 600 "$f"' 'chmod 700 "$d"' 'setfacl -m u:$eve:- "$f"' \
		'setfacl -m u:$eve:- "$d"' 'chown $ann "$f"; chmod 600 "$f"' \
		'setfattr -n user.xdg.robots.index -v false "$d"'; do
		open_again || { echo "not there before: $turn"; return 1; }
		eval "$turn"
		! sees || { echo "still there after: $turn"; return 1; }
		chown 0 "$f"
		setfattr -x user.xdg.robots.index "$d" 2>/dev/null
		sync "$mnt"
	done
	open_again || return 1
	before=$(repeats)
	ask >"$work/told"
	[ "$(repeats)" -gt "$before" ] || { echo "it is never given again"; return 1; }
	chgrp $club "$f" && chmod 640 "$f"
	sees $ann $club && ! sees $ann && ! sees && sees $ann $club || { echo "of other groups"; return 1; }
	open_again && mv "$d" "$mnt/shut/" && ! sees && sees 0 || { echo "after a rename"; return 1; }
	mv "$mnt/shut/again" "$mnt/" && sees && rm "$f" && ! sees && ! sees 0 || { echo "after rm"; return 1; }
	rm -r "$d" "$mnt/shut"
}
put again/again-q.txt again-q
check asked_again_after_a_change asked_again

capless_root() # user 0 without its capabilities reads as others do
{
	setpriv --bounding-set -all --inh-caps -all -- cat "$mnt/.mneme/search/secret mandrake.txt" >"$work/told"
	cat "$work/told"
	grep -q bait/ "$work/told" && ! grep -q capless-p "$work/told"
}
put capless/capless-p.txt capless-p && chown $eve "$mnt/capless/capless-p.txt" && chmod 600 "$mnt/capless/capless-p.txt"
rm -r "$mnt/crowd"
sync "$mnt"
check root_control shown capless-p 0
check root_without_capabilities capless_root
opted() # what is opted out is found by nobody
{
	setfattr -n user.xdg.robots.index -v false "$mnt/bait" && ! shown 'bait/bait' 0
}
check opted_out opted
exec 7<&- 8<&- 9<&-
store_unmount
check store store_check
finish
