#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# git on the mount: clone, commit, branch, gc, fsck, of a repository made of the project's files.
. "$(dirname "$0")/../lib.sh"
export HOME=$work GIT_CONFIG_NOSYSTEM=1
git config --global user.name Tester
git config --global user.email tester@example.org
git config --global --add safe.directory '*'
store_new
store_mount
cd "$mnt" || fatal "cd"

make_repository()
{
	git init -q origin && cp -a "$MNEME_SOURCE"/{core,fs,pool,simd,tests,docs} origin/ 2>/dev/null
	cp "$MNEME_SOURCE"/meson* origin/
	cd origin && git add -A && git commit -q -m first || return 1
	for i in $(seq 30); do
		echo "line $i" >>history.txt
		git add -A && git commit -q -m "change $i" || return 1
	done
}

branches()
{
	cd clone && git checkout -q -b work && git mv history.txt moved.txt && git commit -q -am moved &&
		git checkout -q - && [ -f history.txt ] && git merge -q work && [ -f moved.txt ] &&
		git checkout -q HEAD~20 && git checkout -q - && git stash list && git worktree add -q ../tree HEAD~3
}

clean_status() { [ -z "$(cd "$1" && git status --porcelain)" ]; }

check make_repository make_repository
check clone git clone -q --no-local origin clone
check clone_is_clean clean_status clone
check branches branches
check gc git -C clone gc -q --aggressive --prune=now
check fsck git -C clone fsck --full --strict --no-progress
check origin_fsck git -C origin fsck --full --no-progress
cd /
store_unmount
store_mount
check fsck_after_remount git -C "$mnt/clone" fsck --full --no-progress
check clean_after_remount clean_status "$mnt/clone"
check remove rm -r "$mnt/clone" "$mnt/origin" "$mnt/tree"
store_unmount
check store store_check
finish
