#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How editors save: write aside and rename, back up and rewrite, rewrite in place; a reader beside
# them never finds the file missing or empty where the editor does not make it so.
. "$(dirname "$0")/../lib.sh"
store_new
store_mount
cd "$mnt" || fatal cd

rename_save()
{
	local i reader
	echo "version 0" >note.md
	( while :; do grep -q version note.md || { echo "reader: missing or empty"; exit 1; }; done ) &
	reader=$!
	for i in $(seq 300); do
		echo "version $i" >.note.md.tmp && sync .note.md.tmp && mv .note.md.tmp note.md || return 1
	done
	kill -0 $reader && kill $reader && [ "$(cat note.md)" = "version 300" ]
}

backup_save()
{
	local i
	echo start >b.txt
	for i in $(seq 50); do
		cp -p b.txt b.txt~ && echo "text $i" >b.txt && sync b.txt || return 1
	done
	[ "$(cat b.txt~)" = "text 49" ] && [ "$(cat b.txt)" = "text 50" ]
}

sed_in_place()
{
	seq 1000 >c.txt && chmod 640 c.txt && chown 65501 c.txt && sed -i 's/^7/seven/' c.txt &&
		[ "$(grep -c seven c.txt)" = 111 ] && [ "$(stat -c %a c.txt)" = 640 ]
}

vim_saves()
{
	echo one >v.txt && chmod 600 v.txt && ln v.txt w.txt &&
		vim -u NONE -es -N -c 'set backup backupcopy=auto undofile' -c 'normal otwo' -c wq v.txt &&
		[ "$(tail -n 1 v.txt)" = two ] && [ "$(cat w.txt)" = "$(cat v.txt)" ] && [ ! -e .v.txt.swp ]
}

swap_by_exchange() { echo a >x && echo b >y && mv x z && mv y x && mv z y && [ "$(cat x)" = b ]; }
heredoc() { cat >h.txt <<<"here" && [ "$(cat h.txt)" = here ] && : >h.txt && [ ! -s h.txt ]; }
append() { for i in $(seq 200); do echo "$i" >>log; done && [ "$(tail -n 1 log)" = 200 ] && [ "$(wc -l <log)" = 200 ]; }

check rename_save rename_save
check backup_save backup_save
check sed_in_place sed_in_place
check swap_names swap_by_exchange
check redirections heredoc
check append append
if command -v vim >/dev/null || command -v vim.tiny >/dev/null; then
	command -v vim >/dev/null || vim() { vim.tiny "$@"; }
	check vim vim_saves
fi
cd /
store_unmount
check store store_check
finish
