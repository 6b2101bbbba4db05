#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rsync -aHAX of a tree with everything in it, onto the mount and back: no difference; and again.
. "$(dirname "$0")/../lib.sh"
command -v rsync >/dev/null || skip_all "rsync is missing: apt-get install rsync"
store_new
store_mount
tree=$work/tree

make_tree()
{
	mkdir -p "$tree/a/b/c" "$tree/many" && cd "$tree" || return 1
	cp -a /usr/share/doc/[a-c]* a/ 2>/dev/null
	echo text >file && ln file hard && ln file a/b/hard && ln -s ../file a/link && ln -s /nowhere dangling
	mkfifo pipe && mknod null c 1 3 && mknod block b 7 1
	truncate -s 10M sparse && printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
	chmod 6755 file && chmod 1777 a/b && chown 65501:65502 a/b/c && touch -d @1.123456789 file
	touch -d 1960-01-01 old && touch -d 2100-01-01 new
	setfattr -n user.note -v "some text" file && setfattr -n user.bin -v 0x00ff00 a/b
	setfacl -m u:65501:rw,g:65502:r old && setfacl -d -m u:65501:rwx a/b
	touch "$(printf 'odd\nname')" "späce näme" "-dash" && : >empty
	for i in $(seq 500); do echo "$i" >"many/$i"; done
	dd if=/dev/urandom of=random bs=1M count=20 status=none
}

# Is the tree $2 what $1 is, in rsync's eyes and in diff's?
same()
{
	rsync -aHAXni --checksum --delete "$1/" "$2/" >"$work/differences" 2>&1 || { cat "$work/differences"; return 1; }
	cat "$work/differences"
	[ ! -s "$work/differences" ]
}

there() { rsync -aHAXS "$tree/" "$mnt/there/"; }
back() { rsync -aHAX "$mnt/there/" "$work/back/"; }
change()
{
	cd "$mnt/there" && rm -r many/1* && echo changed >file && mv sparse a/ && ln -s x many/new
}

check make_tree make_tree
check there there
check there_is_same same "$tree" "$mnt/there"
check there_and_here_hard_links test "$(stat -c %h "$mnt/there/file")" = 3
check sparse_stays_sparse test "$(stat -c %b "$mnt/there/sparse")" -lt 20000
check back back
check back_is_same same "$tree" "$work/back"
store_unmount
store_mount
check same_after_remount same "$tree" "$mnt/there"
check change change
check repair rsync -aHAX --delete "$tree/" "$mnt/there/"
check same_after_repair same "$tree" "$mnt/there"
check inplace rsync -aHAX --inplace --no-whole-file --checksum "$tree/" "$mnt/there/"
cd /
store_unmount
check store store_check
finish
