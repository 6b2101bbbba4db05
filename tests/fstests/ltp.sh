#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The filesystem system calls of LTP (the project linux-test-project/ltp, built) in a folder of the
# mount, and first in one of the local filesystem: what passes there passes here, so a test that skips
# itself only here has failed. LTP_RUN names tests instead ("rename01 rename02").
. "$(dirname "$0")/../integration/lib.sh"
suite=${LTP_DIR:-}
[ -n "$suite" ] || skip_all "LTP_DIR is not set: get the project linux-test-project/ltp, build it" \
	"(make autotools && ./configure && make -C lib && make -C testcases/kernel/syscalls) and name its folder"
programs=$suite/testcases/kernel/syscalls
[ -x "$programs/rename/rename01" ] || skip_all "$programs is not built"
calls="access chdir chmod chown chroot close close_range copy_file_range creat dup dup2 dup3 faccessat
	faccessat2 fadvise fallocate fanotify fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
	fdatasync fgetxattr file_attr flistxattr flock fpathconf fremovexattr fsetxattr fstat fstatat
	fstatfs fsync ftruncate futimesat getcwd getdents getxattr inotify lchown lgetxattr link linkat
	listxattr llistxattr llseek lremovexattr lseek lstat mkdir mkdirat mknod mknodat mmap mremap msync
	munmap name_to_handle_at nftw open open_by_handle_at openat openat2 pathconf pread preadv preadv2
	pwrite pwritev pwritev2 read readahead readdir readlink readlinkat readv realpath removexattr rename
	renameat renameat2 rmdir sendfile setxattr splice stat statfs statvfs statx symlink symlinkat sync
	sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write
	writev"

# tests: lines "NAME DIRECTORY COMMAND" of those that work in TMPDIR, not on a device of their own.
tests()
{
	local name command directory program
	while read -r name command; do
		program=${command%% *}
		case " ${LTP_RUN:-$name} " in *" $name "*) ;; *) continue ;; esac
		directory=${where[$program]:-}
		[ -n "$directory" ] || continue
		! grep -qE '\.(needs_device|mount_device|all_filesystems|format_device) *=' \
			"$directory/${program%_64}.c" 2>/dev/null || continue
		echo "$name $directory $command"
	done < <(grep -E '^[a-z]' "$suite/runtest/syscalls")
}

# run DIRECTORY COMMAND FOLDER: its status; LTP's are 0, 1 failed, 2 broken, 4 warned, 32 not configured.
run()
{
	(cd "$1" && TMPDIR=$3 LTP_COLORIZE_OUTPUT=n timeout -k 5 120 sh -c "$2") >"$work/test.log" 2>&1 </dev/null
}

declare -A where
path=""
for call in $calls; do
	[ -d "$programs/$call" ] || continue
	path=$path:$programs/$call
	for program in "$programs/$call"/*; do
		[ ! -x "$program" ] || [ -d "$program" ] || where[${program##*/}]=$programs/$call
	done
done
export PATH=$PATH$path
store_new
store_mount open=checked
mkdir -m 777 "$mnt/run" "$work/control"
passed=0
while read -r name directory command; do
	run "$directory" "$command" "$work/control"
	control=$?
	run "$directory" "$command" "$mnt/run"
	status=$?
	case $control/$status in
	*/0) passed=$((passed + 1)) ;;
	32/32) echo "skipped: $name: $(grep -m1 TCONF "$work/test.log")" ;;
	0/*)
		echo "FAIL $name: status $status"
		sed 's/^/  /' "$work/test.log" | tail -n 20
		failures=$((failures + 1)) ;;
	*) echo "skipped: $name: it ends with $control on the local filesystem, $status here" ;;
	esac
done < <(tests)
echo "ok $passed tests"
[ "$passed" -gt 0 ] || failures=$((failures + 1))
store_unmount
store_check || failures=$((failures + 1))
finish
