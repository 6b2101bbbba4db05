#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Search requests: modes, filters and options mean the same through every door, and get the same answer.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
store_new
store_mount
cd "$mnt" || fatal "cd"
export PYTHONPATH=$here

mkdir -p notes/deep notes/other
printf -- '---\ntitle: Train\ntags: [travel, "Early Train"]\n---\n\nThe heron takes the early train.\n' >notes/train.md
printf -- '---\ntags:\n  - work\n  - travel\n---\n\nThe heron works at the harbour.\n' >notes/deep/work.md
printf 'first line\nsecond line\n\nThe heron stands in the reeds.\n' >notes/reeds.txt
echo 'A heron on the roof, old.' >notes/other/old.txt
echo 'A heron, tagged by an attribute.' >"notes/other/with space.txt"
setfattr -n user.xdg.tags -v 'Birds,  work' "notes/other/with space.txt"
setfattr -n user.project -v 'a b=c' notes/reeds.txt
touch -d '2001-02-03T04:05:06Z' notes/other/old.txt
sync "$mnt"

# paths QUESTION [DIR]: the answer's paths, sorted, in one line.
paths()
{
	(cd "${2:-$mnt/notes}" && mneme search -n 100 --json -- "$1") >"$work/answer" || [ $? = 1 ] || return 1
	python3 -c 'import json,sys; print(*sorted(r["path"] for r in json.load(open(sys.argv[1]))["results"]), sep=" | ")' "$work/answer"
}
gives() # QUESTION PATHS [DIR]
{
	local got
	got=$(paths "$1" "${3:-}") || return 1
	echo "got: $got"
	[ "$got" = "$2" ]
}
refuses() # QUESTION PATTERN: in words of the tool, EINVAL of the name
{
	mneme search -C "$mnt" -- "$1" >"$work/said" 2>&1
	[ $? = 2 ] && cat "$work/said" && grep -qi -- "$2" "$work/said" || return 1
	cat "$mnt/.mneme/search/$1.txt" 2>&1 | grep -q 'Invalid argument'
}

check all gives heron 'deep/work.md | other/old.txt | other/with space.txt | reeds.txt | train.md'
check name gives 'heron name:*.md' 'deep/work.md | train.md'
check names_are_either gives 'heron name:*.md name:reeds*' 'deep/work.md | reeds.txt | train.md'
check name_with_path gives 'heron name:other/*' 'other/old.txt | other/with space.txt'
check name_quoted gives 'heron name:"with space*"' 'other/with space.txt'
check name_class gives 'heron name:[r-t]*.?xt' 'reeds.txt'
check name_negated gives 'heron name:[!a-v]*' 'deep/work.md | other/with space.txt'
check tag_in_a_list_of_lines gives 'heron tag:WORK' 'deep/work.md | other/with space.txt'
check tag_in_brackets gives 'heron tag:travel' 'deep/work.md | train.md'
check tags_are_both gives 'heron tag:travel tag:work' 'deep/work.md'
check tag_with_space gives 'heron tag:"early train"' 'train.md'
check attribute gives 'heron attr:project="a b=c"' reeds.txt
check attribute_with_its_space gives 'heron attr:"user.project=a b=c"' reeds.txt
check attribute_other_value gives 'heron attr:project=a' ''
check before gives 'heron before:2001-02-04' other/old.txt
check after_and_before gives 'heron after:2001-02-03T04:05:06 before:2001-02-03T04:05:07Z' other/old.txt
check before_is_exclusive gives 'heron before:2001-02-03T04:05:06' ''
check after_span gives 'heron after:1d name:*.txt' 'other/with space.txt | reeds.txt'
check scope gives 'heron tag:work' 'work.md' "$mnt/notes/deep"
check quoted_is_a_word gives '"tag:work" heron name:reeds*' reeds.txt
check other_colons_are_words gives 'std::heron: name:reeds*' reeds.txt
limit() { [ "$(mneme search --grep 'limit:2 heron' | wc -l)" = 2 ] && [ "$(mneme search --grep -n 3 'limit:2 heron' | wc -l)" = 3 ]; }
check limit limit
check bad_mode refuses 'mode:deep heron' "no mode 'deep'"
check bad_time refuses 'after:yesterday heron' 'yesterday'
check bad_day refuses 'after:2001-02-30 heron' '2001-02-30'
check bad_limit refuses 'limit:0 heron' 'limit'
check bad_attribute refuses 'attr:x heron' 'NAME=VALUE'
check no_words refuses 'mode:lexical limit:3' 'empty'
# Filters alone: newest first.
touch -d '2020-05-05' notes/reeds.txt
touch -d '2021-05-05' notes/deep/work.md
in_order() # REQUEST PATHS [-n N]
{
	mneme search ${3:-} --json -- "$1" >"$work/answer" || return 1
	python3 -c 'import json,sys; print(*(r["path"] for r in json.load(open(sys.argv[1]))["results"]))' "$work/answer" >"$work/got"
	cat "$work/got"
	[ "$(cat "$work/got")" = "$2" ]
}
cd notes || fatal cd
check filters_alone in_order 'name:* before:2022' 'deep/work.md reeds.txt other/old.txt'
check filters_alone_limit in_order 'name:*.txt before:2022 limit:1' reeds.txt
check filters_alone_count in_order 'name:*.txt before:2022' reeds.txt -n1
check filters_alone_time in_order 'after:2020 before:2021' reeds.txt
check filters_alone_tag gives 'tag:work' 'deep/work.md | other/with space.txt'
check filters_alone_nothing gives 'tag:nosuch' ''
check filters_alone_scope gives 'tag:work' 'work.md' "$mnt/notes/deep"
check filters_alone_text eval "cat '.mneme/search/tag:travel name:work.md.txt' | grep -q 'deep/work.md:.*heron works'"
check filters_alone_links eval "ls '.mneme/search/tag:travel name:work.md/' | grep -q 'work.md'"
chmod 600 deep/work.md
as_other() { setpriv --reuid=12345 --regid=12345 --clear-groups "$@"; }
check filters_alone_leak_nothing eval "! as_other cat '.mneme/search/tag:work.txt' | grep work.md"
chmod 644 deep/work.md
touch reeds.txt deep/work.md
cd "$mnt" || fatal cd
flags()
{
	local one two
	one=$(mneme search --json --tag work --tag travel --name '*.md' --mode lexical -n 3 heron) || return 1
	two=$(mneme search --json 'tag:work tag:travel name:*.md limit:3 heron mode:lexical') || return 1
	# -n is 10 where it is not said; here both say 3 or less
	[ "$one" = "$two" ] && grep -q deep/work.md <<<"$one"
}
check flags_are_options flags
modes()
{
	local mode
	for mode in hybrid vector lexical similar; do
		mneme search --json "heron reeds mode:$mode" >"$work/$mode" || return 1
		python3 - "$work/$mode" "$mode" <<-'END' || { cat "$work/$mode"; return 1; }
		import json, math, sys
		answer, mode = json.load(open(sys.argv[1])), sys.argv[2]
		assert answer["mode"] == mode and answer["results"]
		for r in answer["results"]:
		    assert math.isclose(r["score"], r["cosine_part"] + r["bm25_part"], abs_tol=2e-4), r
		    assert (r["bm25_part"] == 0) == (mode in ("vector", "similar")), r
		    assert (r["cosine_part"] == 0) == (mode == "lexical"), r
		    if mode == "similar": assert r["score"] == r["cosine"]
		END
	done
	mneme search --json "heron reeds fuse:rank" | grep -q '"fuse": "rank"'
}
check modes modes
explains()
{
	mneme search --explain heron | grep -q 'meaning .*cosine .*words .*BM25' &&
		grep -q $'^\t= .*meaning (cosine .* words (BM25' ".mneme/search/heron explain:yes.txt"
}
check explain explains
lines()
{
	printf 'one\ntwo\nthree\n%s\nthe quagga runs\nlast\n' "$(seq 30)" >lined.txt && sync lined.txt || return 1
	mneme search -n 1 --grep quagga >"$work/said"
	cat "$work/said"
	grep -q '^lined.txt:34:.*quagga' "$work/said" || return 1
	mneme search --json -n 1 quagga | python3 -c '
import json, sys
r = json.load(sys.stdin)["results"][0]
b = open("lined.txt", "rb").read()
assert r["line"] <= r["line_match"] == 34 <= r["line_end"], r
assert b[:r["begin"]].count(b"\n") + 1 == r["line"], r
assert b[:r["end"] - 1].count(b"\n") + 1 == r["line_end"], r'
}
check line_of_the_match lines
late_match()
{
	{ for i in $(seq 12); do printf 'Ünimportant wörds aböut nothing %s. ' "$i"; done; echo 'Here the okapi sleeps.'; } >late.txt
	sync late.txt && mneme search -n 1 --json 'okapi mode:lexical' | python3 -c '
import json, sys
s = json.load(sys.stdin)["results"][0]["snippet"]
assert "the okapi sleeps." in s and "\ufffd" not in s, s'
}
check snippet_shows_the_match late_match

# ---- the same answers through all doors ----
# BM25 counts texts that were replaced until the index is tidied; one that was just loaded has none.
cd / && store_unmount && store_mount && cd "$mnt" || fatal "no other mount"
same() { python3 "$here/doors.py" same "$mnt" "$store" "$@"; }
check same_hybrid same 'heron on the roof'
check same_options same 'heron mode:lexical fuse:rank tag:work name:*.md after:1d limit:7'
check same_vector same 'mode:similar early birds'
check same_other_script same 'reiher 鷺 "x/y" 100%'
check batch python3 "$here/doors.py" batch "$mnt"
check refusals python3 "$here/doors.py" refusals "$mnt"
check query_file python3 "$here/doors.py" query "$mnt"
in_a_shell()
{
	exec 9<>.mneme/query && echo 'heron limit:1' >&9 && timeout 5 cat <&9 >"$work/answer"
	exec 9>&-
	python3 -c 'import json,sys; assert len(json.load(open(sys.argv[1]))["results"]) == 1' "$work/answer"
}
check query_file_in_a_shell in_a_shell
long_question() { mneme search "heron $(printf 'q%.0s' $(seq 3000))" | grep -q heron; }
check long_question long_question
near_long_name()
{
	local name
	name=$(printf 'n%.0s' $(seq 255))
	echo 'the heron stands in the reeds again' >"$name" && sync "$name" || return 1
	mneme near --grep "$name" >"$work/said"
	cat "$work/said"
	grep -q reeds.txt "$work/said" && rm "$name"
}
check near_a_long_name near_long_name
cd /
store_unmount
store_mount ro
check read_only_tool test -n "$(mneme search -C "$mnt/notes" heron)"
store_unmount
store_mount open=checked
check query_file_when_opens_are_asked python3 "$here/doors.py" query "$mnt"
store_unmount
check store store_check
finish
