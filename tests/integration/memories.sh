#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memories on a mount: what is saved is found, what is gone is never found again, through every door.
. "$(dirname "$0")/lib.sh"
store_new
store_mount
cd "$mnt" || fatal "cd"

# found QUESTION PATH [DIR]: PATH is among the answers below DIR, with -n 100.
found()
{
	mneme search -C "${3:-$mnt}" -n 100 --json -- "$1" >"$work/answer" || [ $? = 1 ] || return 1
	python3 - "$work/answer" "$2" <<-'END'
	import json, sys
	paths = [r["path"] for r in json.load(open(sys.argv[1]))["results"]]
	print(paths)
	sys.exit(sys.argv[2] not in paths)
	END
}
lost() { ! found "$@"; }
# first QUESTION PATH [DIR]: PATH is the best answer.
first()
{
	local best
	best=$(mneme search -C "${3:-$mnt}" -n 1 --grep -- "$1") || return 1
	echo "$best"
	[ "${best%%:*}" = "${3:-$mnt}/$2" ]
}
state() { # FILE PATTERN
	local said
	said=$(getfattr --only-values -n user.mneme.state "$1") || return 1
	echo "$said"
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]]
}
says() { # STATUS PATTERN COMMAND...
	local want=$1 pattern=$2 status
	shift 2
	"$@" >"$work/said" 2>&1
	status=$?
	cat "$work/said"
	[ $status = "$want" ] && grep -qiE -- "$pattern" "$work/said"
}

# ---- saving ----
mkdir notes notes/deep other
echo 'Anna prefers the early train to Leipzig.' >notes/anna.md
echo 'Bread wants flour, water, salt and a night of patience.' >notes/bread.md
printf '# Garden\n\nTomatoes are watered in the evening.\n\n## Tools\n\nThe spade hangs behind the shed.\n' >notes/deep/garden.md
echo 'The quarterly report on gravel prices is late.' >other/report.txt
check sync_directory sync "$mnt"
check indexed state notes/anna.md indexed
check by_word first 'gravel' other/report.txt
check by_words first 'flour salt' notes/bread.md
check by_similar_words first 'an early train' notes/anna.md
check line_is_of_the_match says 0 'garden.md:7:' mneme search -C "$mnt" -n 1 --grep spade
if [ -n "${MNEME_MODEL:-}" ]; then
	check by_meaning first 'how do I bake a loaf' notes/bread.md
	check by_meaning_of_travel first 'when does she like to go by railway' notes/anna.md
	check model_is_named says 0 'model +builtin:' mneme status -C "$mnt"
else
	check fallback_is_said says 0 'model +hash.*:' mneme status -C "$mnt"
	check without_model_by_pieces_of_words first 'trains preferred' notes/anna.md
fi
check scope_inside first 'spade' garden.md "$mnt/notes/deep"
check scope_outside lost 'gravel' other/report.txt "$mnt/notes"
echo 'A kestrel nests in the tower.' >one
check fsync_file sync one
check after_fsync_of_the_file found kestrel one

soon() { # QUESTION PATH: found within a second without any sync
	local i
	for i in $(seq 20); do
		found "$1" "$2" && return 0
		sleep 0.05
	done
	return 1
}
echo 'An otter swims by.' >two
check found_without_sync soon otter two

# ---- changing ----
words_gone() { lost "$1" "$2" && lost "$1" "$2" "$mnt/notes"; }
echo 'Anna moved to the coast and sails now.' >notes/anna.md
sync notes/anna.md
check overwritten_is_found found sails notes/anna.md
grep_none() { # WORD: no snippet has it any more
	mneme search -C "$mnt" -n 100 --grep -- "$1" >"$work/answer"
	cat "$work/answer"
	! grep -q -- "$1" "$work/answer"
}
check overwritten_is_gone grep_none Leipzig
echo 'appended: a hammock in the attic' >>notes/anna.md
sync notes/anna.md
check appended_is_found first hammock notes/anna.md
truncate -s 20 notes/anna.md
sync notes/anna.md
check truncated_is_gone grep_none hammock
: >notes/anna.md
sync notes/anna.md
check emptied_is_lost lost sails notes/anna.md
check emptied_says_so state notes/anna.md 'skipped: *'
mv notes/bread.md notes/loaf.md
check renamed_is_found first 'flour salt' notes/loaf.md
check old_name_is_lost lost 'flour salt' notes/bread.md
mv notes/loaf.md other/
check moved_is_found first 'flour salt' other/loaf.md
check moved_is_out_of_scope lost 'flour salt' loaf.md "$mnt/notes"
check moved_is_in_scope first 'flour salt' loaf.md "$mnt/other"
mv other places
check directory_is_renamed first 'flour salt' places/loaf.md
echo 'Cedar planks.' >new && mv new two && sync two
check replaced_by_rename found cedar two
check replaced_is_gone grep_none otter
ln places/loaf.md notes/bread-again.md
check link_in_scope first 'flour salt' bread-again.md "$mnt/notes"
check link_in_the_other_scope first 'flour salt' loaf.md "$mnt/places"
rm places/loaf.md
check link_is_left first 'flour salt' notes/bread-again.md
check link_is_lost_in_scope lost 'flour salt' loaf.md "$mnt/places"
rm notes/bread-again.md
check deleted_is_gone_by_word grep_none flour
check deleted_is_lost lost 'bread wants flour, water, salt and a night of patience' notes/bread-again.md
cp notes/deep/garden.md twin.md && sync twin.md
check near_finds_the_twin says 0 'twin.md:' mneme near --grep notes/deep/garden.md
rm -r notes/deep
near_lost() { mneme near -n 100 --grep "$1" >"$work/answer" || [ $? = 1 ] || return 1; ! grep -F "$2:" "$work/answer"; }
check deleted_is_not_near near_lost twin.md garden.md
check deleted_tree_is_lost lost spade notes/deep/garden.md
open_and_deleted()
{
	echo 'walrus tusks' >held && sync held && found walrus held || return 1
	exec 8<held
	rm held
	lost walrus held
}
check deleted_while_open open_and_deleted

# ---- names and bytes ----
odd_names()
{
	local name
	for name in 'with space' $'new\nline' "quote'\"quote" 'back\slash' '100%' '%2F' '.hidden' '-dash' \
		'日本語のメモ' 'Ελληνικά' "$(printf 'x%.0s' $(seq 255))" 'end.txt' 'end.json' $'latin\xe9' $'\x1b[31m'; do
		echo "the marsupial $RANDOM wombat" >"$mnt/$name" || return 1
		sync "$mnt/$name" || return 1
		mneme search -C "$mnt" -n 100 --json wombat >"$work/answer" || return 1
		WANT=$name python3 - "$work/answer" <<-'END' || { echo "not found: $name"; return 1; }
		import json, os, sys
		want = os.environb[b"WANT"]
		for r in json.load(open(sys.argv[1]))["results"]:
		    path = bytes.fromhex(r["path_hex"]) if "path_hex" in r else r["path"].encode()
		    sys.exit(0) if path == want else None
		sys.exit(1)
		END
		[ "$(readlink -f "$mnt/.mneme/search/wombat/"*"${name:0:240}"* | head -n 1)" != "" ] || return 1
		[ ${#name} -gt 240 ] || mneme near -n 1 -- "$mnt/$name" >"$work/answer" || [ $? = 1 ] || return 1
		rm -- "$mnt/$name" || return 1
	done
}
check odd_names odd_names
odd_questions()
{
	local q
	for q in 'a/b' '../..' '/' '.' '..' '100%' '%' '%2F' '%00' "it's" '"x"' 'x.txt' 'x.json' $'new\nline' '日本語' \
		$'\xff\xfe' '-n' "$(printf 'q%.0s' $(seq 240))" '((' '*' '\'; do
		mneme search -C "$mnt" -- "$q" >"$work/answer" 2>&1 || [ $? = 1 ] ||
			{ printf '%q\n' "$q"; cat "$work/answer"; return 1; }
	done
}
check odd_questions odd_questions
check blank_is_said says 2 'empty' mneme search -C "$mnt" ' '
check too_long_is_said says 2 'too long' mneme search -C "$mnt" "$(printf 'q%.0s' $(seq 4090)) and more"
printf 'grebe \xff\xfe\xe9 broken \xf0\x9f bytes grebe\n' >broken && sync broken
check bad_utf8_is_found found grebe broken
echo '日本の山は高いです。' >japanese && sync japanese
check other_script first '山は高い' japanese
head -c 100000 /dev/urandom >binary && sync binary
check binary_is_skipped state binary 'skipped: *'
truncate -s 1G sparse && sync sparse
check huge_is_skipped state sparse 'skipped: *larger*'
huge_log()
{
	local before after
	before=$(awk '/VmRSS/ { print $2 }' "/proc/$daemon/status")
	yes 'a line of a log that grows and grows' | head -c 300M >log && sync log || return 1
	after=$(awk '/VmRSS/ { print $2 }' "/proc/$daemon/status")
	echo "resident: $before to $after KiB"
	state log 'skipped: *larger*' && [ "${MNEME_TEST_ON:-}" = "" ]
}
check huge_log_is_skipped huge_log
rm log sparse

# ---- opting out ----
mkdir private
echo 'the vole tunnels' >private/vole && sync private/vole
check before_opting_out found vole private/vole
setfattr -n user.xdg.robots.index -v false private
check opted_out_at_once lost vole private/vole
sync "$mnt"
check opted_out_says_so state private/vole 'skipped: *robots*'
check opted_out_has_no_vector says 1 . getfattr -n user.mneme.vector private/vole
echo 'the heron stands' >private/heron && sync private/heron
check opted_out_new_file lost heron private/heron
mv private/heron "$mnt/heron" && sync "$mnt"
check moved_out_is_found found heron heron
mv "$mnt/heron" private/heron
check moved_in_is_lost lost heron private/heron
setfattr -n user.xdg.robots.index -v true private && sync "$mnt"
check opted_in_again found vole private/vole
setfattr -n user.xdg.robots.index -v false private/vole
check file_opted_out lost vole private/vole
setfattr -x user.xdg.robots.index private/vole && sync "$mnt"
check file_opted_in_again found vole private/vole

# ---- doors ----
doors()
{
	local link target
	echo 'pelican beak' >"$mnt/pelican note" && sync "$mnt/pelican note" || return 1
	link=$(find "$mnt/.mneme/search/pelican/" -name '001 *') && [ -L "$link" ] || return 1
	target=$(readlink -f "$link")
	[ "$target" = "$mnt/pelican note" ] && [ "$(cat "$link")" = 'pelican beak' ] || { echo "$link -> $target"; return 1; }
	echo 'pelican feather' >>"$link" && grep -q feather "$mnt/pelican note" || return 1
	grep -q 'pelican note:1' "$mnt/.mneme/search/pelican.txt" || return 1
	python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$mnt/.mneme/search/pelican.json" || return 1
	getfattr --only-values -n user.mneme.search:pelican "$mnt" | grep -q 'pelican note:1' || return 1
	getfattr --only-values -n user.mneme.similar "$mnt/one" >"$work/answer" || return 1
	[ "$(getfattr --only-values -n user.mneme.vector "$mnt/one" | wc -c)" = \
		$((4 * $(getfattr --only-values -n user.mneme.dim "$mnt/one"))) ]
}
check doors doors
check metrics_of_the_bridge says 0 '^mneme_bridge_tasks_total\{priority="high",end="done"\} [1-9]' cat "$mnt/.mneme/metrics"
check metrics_of_its_latency says 0 '^mneme_bridge_latency_seconds_bucket\{priority="low",le="\+Inf"\} [1-9]' cat "$mnt/.mneme/metrics"
check stats_of_the_bridge says 0 '^bridge +critical +[1-9][0-9]* tasks done' cat "$mnt/.mneme/stats"
check metrics_count says 0 '^mneme[a-z_]*memory_searches_total [1-9]' cat "$mnt/.mneme/metrics"
check stats_count says 0 '^memories +[1-9][0-9]* files' mneme stats "$mnt"
check near_of_nothing says 2 'no such file' mneme near "$mnt/nosuch"
check search_elsewhere says 2 'not in a mounted' mneme search -C /proc x
check unknown_verb says 2 'serach' mneme serach x
check unknown_option says 2 'bogus' mneme search --bogus x
check help says 0 'usage: mneme' mneme --help
colours() { env TERM=xterm "$@" script -qc "mneme search -C '$mnt' kestrel" /dev/null | grep -q $'\x1b'; }
no_colours() { ! colours NO_COLOR=1; }
check colours_on_a_terminal colours NO_COLOR=
check no_color_is_obeyed no_colours
many_searches()
{
	python3 - "$mnt" <<-'END'
	import os, sys
	for i in range(10000):
	    open(f"{sys.argv[1]}/.mneme/search/kestrel {i}.txt").close()
	END
}
check ten_thousand_questions many_searches
stumble()
{
	local tree=$work/copy
	mkdir -p a/b && echo x >a/b/c && cd "$mnt" || return 1
	find . | grep -F .mneme && return 1
	find . -name '*' -type d -exec ls -la {} + >"$work/ls" && grep -F .mneme "$work/ls" && return 1
	tar cf "$work/all.tar" . && tar tf "$work/all.tar" | grep -F .mneme && return 1
	cp -a "$mnt" "$tree" && [ ! -e "$tree/.mneme" ] || return 1
	getfattr -d -m - one | grep -F user.mneme && return 1
	rm -rf "$tree" && rsync -aX "$mnt/" "$tree/" && diff -r "$mnt" "$tree" && rm -r a && [ ! -e a ]
}
check no_tool_stumbles stumble
# Who names them gets them: with cp, which compares a name with what it opens, and tar, which looks again.
named()
{
	local f
	mkdir "$work/named" && cd "$mnt/.mneme" || return 1
	for f in config status query metrics stats search/kestrel.txt search/kestrel.json near/one.txt \
		recall/one.txt vector/one.npy; do
		cp "$f" "$work/named/${f//\//-}" || return 1
	done
	grep -q one "$work/named/search-kestrel.txt" && cp -a . "$work/named/all" &&
		cp -a search/kestrel "$work/named/links" && ls "$work/named/links" | grep -q '^001 ' &&
		tar cf "$work/named.tar" . && rsync -a ./ "$work/named/all/" &&
		[ "$(stat -c %i status)" = "$(stat -c %i status)" ] &&
		[ "$(stat -c %i search)" = "$(find . -maxdepth 1 -name search -printf %i)" ]
}
check who_names_them_gets_them named
cd /

# ---- mounting again ----
cd /
store_unmount
store_mount
check after_remount first kestrel one
check deleted_stays_deleted grep_none flour
check state_after_remount state "$mnt/one" indexed
check opted_in_after_remount found vole private/vole
echo 'a lapwing in the field' >"$mnt/three"
echo 'the plover is old' >"$mnt/four" && sync "$mnt"
echo 'the curlew is new' >"$mnt/four"
python3 -c 'import os,sys; d=os.open(sys.argv[1],os.O_RDONLY); os.system("sleep 0.12")' "$mnt"
store_kill
store_mount
check after_kill found lapwing three
check newer_than_its_record_is_pending_and_done sync "$mnt"
check overwritten_before_kill grep_none plover
# What waited to be embedded when the daemon was killed is embedded after the next mount.
mkdir "$mnt/queue"
yes 'The magpie counts its spoons, one after the other, and then the forks.' | head -c 300K >"$mnt/queue/long"
for i in $(seq 100); do echo "magpie number $i steals token$i" >"$mnt/queue/$i"; done
echo 'the stork is last' >"$mnt/stork" && sync "$mnt/stork" # with it, all before is on disk
store_kill
store_mount
queue_done() {
	sync "$mnt/queue" || return 1
	for i in 1 50 100; do found "token$i" "queue/$i" && state "$mnt/queue/$i" indexed || return 1; done
	state "$mnt/queue/long" indexed
}
check queued_before_kill_is_done_after queue_done
store_unmount
store_mount ro
check read_only_searches first kestrel one
check read_only_links test "$(cat "$mnt/.mneme/search/kestrel/001 "*)" = 'A kestrel nests in the tower.'
store_unmount
store_mount memory=off
check memory_off_says_so says 2 'memory=off' mneme search -C "$mnt" kestrel
check memory_off_status says 0 'memory=off' mneme status -C "$mnt"
store_unmount
store_mount
check after_memory_off first kestrel one
store_unmount
check store store_check
finish
