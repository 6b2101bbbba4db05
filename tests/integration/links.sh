#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Links between memories on a mount: made by attribute, by text, by ln; they follow the files that they
# lead to, and go with them; nothing dangles after a crash.
. "$(dirname "$0")/lib.sh"
store_new
store_mount
cd "$mnt" || fatal "cd"

# links FILE: what `mneme link` lists, the mount's path taken off, sorted.
links()
{
	mneme link "$1" >"$work/links" 2>&1
	[ $? -lt 2 ] || { cat "$work/links"; return 1; }
	sed "s,$mnt/,," "$work/links" | sort
}
# is FILE [LINE...]: exactly these.
is()
{
	local file=$1 want
	shift
	want=$(printf '%s\n' "$@" | sort)
	links "$file" >"$work/is"
	[ "$(cat "$work/is")" = "$want" ] || { echo "has:"; cat "$work/is"; echo "wants:"; echo "$want"; return 1; }
}

mkdir notes notes/deep recipes
echo 'Bread wants patience.' >recipes/bread.md
echo 'Anna prefers [[bread]] and the [[../recipes/bread|loaf]], see [how](../recipes/bread.md#steps "t").' >notes/anna.md
sync "$mnt"
check text is notes/anna.md '-> markdown 1.000  recipes/bread.md' '-> wiki     1.000  recipes/bread.md' \
	'-> wiki     1.000  nowhere: bread'
check backlinks is recipes/bread.md '<- markdown 1.000  notes/anna.md' '<- wiki     1.000  notes/anna.md'
printf 'not text: [[bread]]\n\0\0\0' >notes/database
sync "$mnt"
check binary is notes/database ''
# A name that appears is led to; in a directory above, too; the nearest one counts.
echo 'About bread.' >bread.txt
sync "$mnt"
check appeared_above is bread.txt '<- wiki     1.000  notes/anna.md'
echo 'Nearer bread.' >notes/bread.md
sync "$mnt"
check nearer is notes/bread.md '<- wiki     1.000  notes/anna.md'
check nearer_takes_over is bread.txt ''
# It follows its file, though the text says the old name, and also when the text is saved anew.
mv notes/bread.md notes/deep/loaf.md
rm bread.txt
sync "$mnt"
check follows is notes/deep/loaf.md '<- wiki     1.000  notes/anna.md'
mv notes/deep recipes/deeper
echo 'and more of it' >>notes/anna.md
sync "$mnt"
check follows_through_a_save is recipes/deeper/loaf.md '<- wiki     1.000  notes/anna.md'
# Saved as editors do it: the new file has the name.
echo 'Bread wants a night.' >recipes/new && mv recipes/new recipes/bread.md && sync "$mnt"
check replaced is recipes/bread.md '<- markdown 1.000  notes/anna.md' '<- wiki     1.000  notes/anna.md'
mv recipes/bread.md recipes/bread.md~ && echo 'once more' >recipes/bread.md && rm recipes/bread.md~ && sync "$mnt"
check replaced_behind_a_copy is recipes/bread.md '<- markdown 1.000  notes/anna.md' '<- wiki     1.000  notes/anna.md'
rm recipes/bread.md recipes/deeper/loaf.md
sync "$mnt"
check removed is notes/anna.md '-> markdown 1.000  nowhere: ../recipes/bread.md' \
	'-> wiki     1.000  nowhere: ../recipes/bread' '-> wiki     1.000  nowhere: bread'
echo 'no more links, but `[[code]]` and' >notes/anna.md
printf '```\n[[fenced]]\n```\n\\[[escaped]] [url](https://example.org) [mail](mailto:a@b) [part](#part)\n[[with space|x]]\n[id]: <odd name.md>\n' >>notes/anna.md
sync "$mnt"
check rewritten is notes/anna.md '-> markdown 1.000  nowhere: odd name.md' '-> wiki     1.000  nowhere: with space'
mkdir recipes/old && echo x >recipes/old/far.md && echo '[far](../recipes/now/far.md)' >notes/dirs.md && sync "$mnt"
mv recipes/old recipes/now && sync "$mnt"
check renamed_directory is notes/dirs.md '-> markdown 1.000  recipes/now/far.md'
mkdir moved && echo '[[near]]' >notes/mover.md && echo x >moved/near.md && sync "$mnt"
check not_there_yet is notes/mover.md '-> wiki     1.000  nowhere: near'
mv notes/mover.md moved/ && sync "$mnt"
check moved_to_it is moved/mover.md '-> wiki     1.000  moved/near.md'

# ---- by attribute and command ----
echo one >one.md; echo two >recipes/two.md; echo three >three
check link_made mneme link one.md recipes/two.md 0.5
check link_listed is one.md '-> explicit 0.500  recipes/two.md'
check link_is_an_attribute test "$(getfattr --only-values -n user.mneme.link.recipes/two.md one.md)" = 0.5
check link_again_changes_it eval "mneme link one.md recipes/two.md 0.25 && is one.md '-> explicit 0.250  recipes/two.md'"
mv recipes/two.md notes/zwei.md
check link_follows is one.md '-> explicit 0.250  notes/zwei.md'
check link_after_the_move_is_the_same eval "mneme link one.md notes/zwei.md && is one.md '-> explicit 1.000  notes/zwei.md'"
setfattr -n user.mneme.link.three -v 0.125 one.md
sync one.md
check attribute_is_a_link is three '<- explicit 0.125  one.md'
setfattr -n user.mneme.link./notes/zwei.md three
check attribute_from_the_root is three '-> explicit 1.000  notes/zwei.md' '<- explicit 0.125  one.md'
json() { mneme link --json one.md | python3 -c '
import json,sys
print(links := json.load(sys.stdin))
sys.exit(sorted((l["path"], l["weight"], l["back"]) for l in links) != [("notes/zwei.md", 1.0, False), ("three", 0.125, False)])'; }
check json json
check unlink eval "mneme unlink one.md notes/zwei.md && is one.md '-> explicit 0.125  three'"
check unlink_again_says_nothing eval '! mneme unlink one.md notes/zwei.md'
setfattr -x user.mneme.link.three one.md
sync one.md
check attribute_removed is three '-> explicit 1.000  notes/zwei.md'
for weight in 0 2 -1 nan x 0.5x; do
	check "wrong_weight_$weight" says_no 'weight|invalid' mneme link one.md three -- "$weight"
	check "wrong_value_$weight" says_no 'invalid' setfattr -n user.mneme.link.three -v "$weight" one.md
done
check to_a_directory says_no 'directory' mneme link one.md notes
check to_itself says_no 'same file' mneme link one.md one.md
check to_elsewhere says_no 'not in a mounted|same mount' mneme link one.md /etc/passwd
check of_a_directory says_no 'not permitted' setfattr -n user.mneme.link.three -v 1 notes
check unlink_of_text says_no 'edit it there' mneme unlink moved/mover.md moved/near.md
copied() { cp -a one.md copy.md && setfattr -n user.mneme.link.three -v 0.75 one.md && cp -a one.md copy2.md && is copy2.md '-> explicit 0.750  three'; }
check copies_keep_it copied
rm copy2.md copy.md
long=$(printf 'd%.0s' $(seq 200))
mkdir -p "$long/$long" && echo x >"$long/$long/x.md"
check too_long_is_said says_no 'longer than' mneme link one.md "$long/$long/x.md"
rm -r "$long"

# ---- symbolic and hard links ----
ln -s three recipes/../today
ln -s "$mnt/three" absolute
ln -s nosuch dangling
sync "$mnt"
check symlinks is three '-> explicit 1.000  notes/zwei.md' '<- explicit 0.750  one.md' '<- symlink  1.000  absolute' \
	'<- symlink  1.000  today'
rm today absolute
setfattr -x user.mneme.link.three one.md
sync one.md
check symlinks_removed is three '-> explicit 1.000  notes/zwei.md'
ln three notes/drei
check hard_link is three '-> explicit 1.000  notes/zwei.md' '-> hard     1.000  notes/drei'
rm notes/drei
check hard_link_removed is three '-> explicit 1.000  notes/zwei.md'
rm dangling

# ---- others' files ----
leaks()
{
	local said
	mkdir secret && chmod 700 secret && echo 'see [[public]]' >secret/hidden.md && echo 'open, [[secret/hidden]]' >public.md
	sync "$mnt" && is public.md '-> wiki     1.000  secret/hidden.md' '<- wiki     1.000  secret/hidden.md' || return 1
	said=$(setpriv --reuid=12345 --regid=12345 --clear-groups env "PATH=$PATH" mneme link public.md)
	echo "$said"
	[ "$said" = '-> wiki     1.000  nowhere: secret/hidden' ] || return 1
	setpriv --reuid=12345 --regid=12345 --clear-groups env "PATH=$PATH" mneme link public.md three && return 1
	rm -r secret public.md
}
check no_leak leaks

# ---- many, and a crash ----
python3 - <<'END'
import os
os.mkdir("many")
for i in range(200):
    with open(f"many/{i}.md", "w") as f:
        f.write(f"[[{(i * 7 + 1) % 250}]] and [next]({i + 1}.md)\n")
END
sync "$mnt"
check many is many/5.md '-> markdown 1.000  many/6.md' '-> wiki     1.000  many/36.md' '<- markdown 1.000  many/4.md' \
	"<- wiki     1.000  many/72.md"
cd /
store_unmount
check fsck_after_unmount store_check
store_mount
check after_remount is "$mnt/many/5.md" '-> markdown 1.000  many/6.md' '-> wiki     1.000  many/36.md' \
	'<- markdown 1.000  many/4.md' "<- wiki     1.000  many/72.md"
for i in $(seq 200 2 249); do echo "x" >"$mnt/many/$i.md"; done
for i in $(seq 0 3 199); do rm "$mnt/many/$i.md"; done
echo last >"$mnt/last" && sync "$mnt/last" # with it, all before is on the disk
store_kill
check fsck_after_kill store_check
store_mount
sync "$mnt"
check names_of_before_the_kill is "$mnt/many/11.md" '-> markdown 1.000  nowhere: 12.md' '-> wiki     1.000  nowhere: 78' \
	'<- markdown 1.000  many/10.md'
check appeared_before_the_kill is "$mnt/many/200.md" '<- markdown 1.000  many/199.md'
store_unmount
store_mount memory=off
rm "$mnt/many/7.md" "$mnt/many/8.md"
echo '[[5]]' >"$mnt/many/1.md"
check memory_off_says_so says_no 'memory=off' mneme link "$mnt/many/5.md"
store_unmount
check fsck_after_memory_off store_check
store_mount
sync "$mnt"
check after_memory_off is "$mnt/many/1.md" '-> wiki     1.000  many/5.md'
rm -r "$mnt/many"
store_unmount
check store store_check
finish
