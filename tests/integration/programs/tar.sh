#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tar, cp -a, find, du, mv and zip-like tools meet a tree of documents on the mount.
. "$(dirname "$0")/../lib.sh"
store_new
store_mount
source=$work/source

collect()
{
	mkdir "$source" && cp -a /usr/share/doc/[a-l]* "$source/" &&
		ln "$(find "$source" -type f | head -n 1)" "$source/hard" &&
		setfattr -n user.note -v text "$source/hard" && mkfifo "$source/pipe"
}

same_list()
{
	(cd "$1" && find . ! -type d -printf '%P %y %m %U %G %s %T@ %n %l\n' | sort) >"$work/one"
	(cd "$2" && find . ! -type d -printf '%P %y %m %U %G %s %T@ %n %l\n' | sort) >"$work/two"
	diff "$work/one" "$work/two" && diff -r --no-dereference -x pipe "$1" "$2"
}

through_tar() { mkdir "$mnt/tar" && tar c --xattrs -C "$source" . | tar x --xattrs -p -C "$mnt/tar"; }
archive_there() { tar cf "$mnt/all.tar" -C "$mnt/tar" . && tar df "$mnt/all.tar" -C "$mnt/tar"; }
compressed() { tar czf "$mnt/all.tgz" -C "$mnt/tar" . && gzip -t "$mnt/all.tgz"; }
copy() { cp -a "$mnt/tar" "$mnt/copy"; }
move() { mkdir "$mnt/deep" && mv "$mnt/copy" "$mnt/deep/moved" && mv "$mnt/deep/moved" "$mnt/copy"; }
count() { [ "$(find "$mnt/tar" | wc -l)" = "$(find "$source" | wc -l)" ]; }
usage() { du -s "$mnt/tar" && [ "$(du -s --apparent-size "$mnt/tar" | cut -f1)" -gt 100 ]; }
search() { [ "$(grep -rli license "$mnt/tar" | wc -l)" = "$(grep -rli license "$source" | wc -l)" ]; }

check collect collect
check through_tar through_tar
check tar_is_same same_list "$source" "$mnt/tar"
check archive_there archive_there
check compressed compressed
check copy copy
check copy_is_same same_list "$source" "$mnt/copy"
check move move
check count count
check usage usage
check grep_finds_the_same search
store_unmount
store_mount
check same_after_remount same_list "$source" "$mnt/tar"
check remove rm -r "$mnt/tar" "$mnt/copy"
store_unmount
check store store_check
finish
