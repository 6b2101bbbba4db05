#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Saved searches: made, listed, asked and removed as directories of .mneme/search; who may; and poll(2) on
# their answers.
. "$(dirname "$0")/lib.sh"
store_new
store_mount
cd "$mnt" || fatal "cd"
mkdir notes
echo 'The kestrel nests in the tower.' >notes/kestrel.md
echo 'Bread wants flour.' >bread.md
sync "$mnt"

has() { # COMMAND_OUTPUT WANT
	echo "$1"
	[ "$1" = "$2" ]
}
saved=.mneme/search
check nothing_is_saved_at_first has "$(ls $saved)" ''
check made mkdir $saved/birds
check made_is_listed has "$(ls $saved)" birds
check made_without_a_query_is_empty has "$(ls $saved/birds/)$(cat $saved/birds.txt)" ''
check made_twice says_no 'exists' mkdir $saved/birds
check query setfattr -n user.mneme.query -v 'kestrel mode:lexical' $saved/birds
check query_is_read has "$(getfattr --only-values -n user.mneme.query $saved/birds)" 'kestrel mode:lexical'
check query_is_listed eval "getfattr -d $saved/birds | grep -q '^user.mneme.query='"
check query_that_is_none says_no 'invalid' setfattr -n user.mneme.query -v 'mode:nosuch x' $saved/birds
check query_that_is_empty says_no 'invalid' setfattr -n user.mneme.query -v '' $saved/birds
check other_attribute says_no 'not permitted' setfattr -n user.x -v y $saved/birds
check query_is_as_it_was has "$(getfattr --only-values -n user.mneme.query $saved/birds)" 'kestrel mode:lexical'
says() { cat "$2" && grep -q -- "$1" "$2"; }
links() { find "$1/" -type l -exec cat {} +; }
check answers_as_links has "$(links $saved/birds)" 'The kestrel nests in the tower.'
check answers_as_text says notes/kestrel.md:1 $saved/birds.txt
check answers_as_json python3 -c 'import json; r = json.load(open(".mneme/search/birds.json"))["results"]; assert [x["path"] for x in r] == ["notes/kestrel.md"], r'
check other_directory_has_its_own has "$(ls notes/$saved)" ''
check other_names_are_questions grep -q bread.md $saved/flour.txt
check name_with_an_ending says_no 'exists' mkdir $saved/other.txt
check question_is_not_removed says_no 'not permitted' rmdir $saved/flour
check files_are_not_made says_no 'permitted|permission|exists' touch $saved/file
check elsewhere_nothing_is_made says_no 'permitted|permission|exists|such' mkdir .mneme/near/x .mneme/x
python_makes() { python3 -c 'import os; os.mkdir(".mneme/search/flour"); os.setxattr(".mneme/search/flour", "user.mneme.query", b"flour")'; }
check made_by_python python_makes
check answers_of_python eval "ls $saved/flour/ | grep -q bread.md"
mkdir $saved/$'odd\nname %2F'
check odd_name eval "ls $saved | grep -q 'name %2F'"
check odd_name_removed rmdir $saved/$'odd\nname %2F'

as() { setpriv --reuid=12345 --regid=12345 --clear-groups "$@"; }
check others_may_not_make says_no 'denied' as mkdir $saved/theirs
check others_may_not_set says_no 'denied' as setfattr -n user.mneme.query -v x $saved/birds
check others_may_not_remove says_no 'denied' as rmdir $saved/birds
check others_may_ask eval "as cat $saved/birds.txt | grep -q kestrel"
chmod 600 notes/kestrel.md
check others_do_not_see_what_they_may_not has "$(as cat $saved/birds.txt)" ''
chmod 644 notes/kestrel.md
mkdir theirs && chown 12345:12345 theirs
check owner_may eval "as mkdir theirs/$saved/own && as setfattr -n user.mneme.query -v kestrel theirs/$saved/own && as rmdir theirs/$saved/own"

# ---- poll ----
cat >"$work/poll.py" <<'END'
import os, select, sys, time
path, timeout = sys.argv[1], float(sys.argv[2])
fd = os.open(path, os.O_RDONLY)
p = select.poll()
p.register(fd, select.POLLIN)
print("waits", flush=True)
sys.exit(0 if p.poll(timeout * 1000) else 3)
END
# polls SECONDS: somebody waits for another answer, $polling.
polls()
{
	rm -f "$work/polls"
	python3 "$work/poll.py" "$mnt/$saved/birds.txt" "$1" >"$work/polls" &
	polling=$!
	until grep -qs waits "$work/polls"; do sleep 0.05; done
}
# wakes COMMAND...: somebody who polls the answer wakes by it.
wakes()
{
	local status
	polls 60
	"$@" || return 1
	wait $polling
	status=$?
	echo "poll ends with $status"
	[ $status = 0 ]
}
save() { echo "$1" >"$2"; }
check poll_waits eval '! python3 "$work/poll.py" $saved/birds.txt 0.4'
check poll_of_a_plain_file_does_not python3 "$work/poll.py" bread.md 5
check poll_wakes_by_a_new_file wakes save 'a kestrel again' second.md
check poll_wakes_by_a_change wakes save 'no bird any more' second.md
check poll_wakes_by_a_name wakes mv notes/kestrel.md notes/falcon.md
check poll_wakes_by_a_removal wakes rm notes/falcon.md
check poll_wakes_by_another_query wakes setfattr -n user.mneme.query -v 'flour mode:lexical' $saved/birds
unrelated()
{
	polls 1
	echo 'about walruses' >walrus.md && sync walrus.md
	wait $polling
	[ $? = 3 ]
}
check poll_sleeps_through_what_it_did_not_ask_for unrelated
change_between()
{
	exec 7<$saved/birds.txt
	echo 'more flour' >more.md && sync more.md
	python3 -c 'import select; p = select.poll(); p.register(7, select.POLLIN); raise SystemExit(not p.poll(5000))'
	local status=$?
	exec 7<&-
	return $status
}
check poll_sees_what_changed_before_it change_between
polls_and_unmounts()
{
	polls 30
	kill $polling
	wait $polling
	true
}
check poll_that_is_killed polls_and_unmounts

cd /
store_unmount
store_mount
cd "$mnt" || fatal "cd"
check after_remount has "$(ls $saved | tr '\n' ' ')$(getfattr --only-values -n user.mneme.query $saved/birds)" 'birds flour flour mode:lexical'
check removed rmdir $saved/birds
check removed_is_not_listed has "$(ls $saved)" flour
check removed_is_a_question_again says_no 'no such attribute' getfattr -n user.mneme.query $saved/birds
cd /
store_unmount
store_mount ro
check read_only_answers eval "ls '$mnt/$saved/flour/' | grep -q bread.md"
check read_only_makes_none says_no 'read-only' mkdir "$mnt/$saved/x"
store_unmount
check store store_check
finish
