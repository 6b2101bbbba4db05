#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# xfstests (the project kdave/xfstests, built) with two mounts of mnemefs: the group quick, or with
# --long the group auto. XFSTESTS_RUN names tests instead ("generic/001 generic/002"). XFSTESTS_SECONDS:
# after which a test is ended, and has failed (default 1800).
# In a mount namespace of its own: the suite is taught our type's name and limits there, and finds its users.
. "$(dirname "$0")/../integration/lib.sh"
suite=${XFSTESTS_DIR:-}
[ -n "$suite" ] || skip_all "XFSTESTS_DIR is not set: get the project kdave/xfstests, build it (make)" \
	"and name its folder"
[ -x "$suite/check" ] && [ -x "$suite/ltp/fsx" ] || skip_all "$suite is not built"
if [ -z "${XFSTESTS_INSIDE:-}" ]; then
	export XFSTESTS_INSIDE=1
	unshare --mount --propagation private "$0"
	exit
fi
# Copies of others' mounts would keep those from ending, and df would wait for them.
awk '/ - fuse\.mnemefs / { print $5 }' /proc/self/mountinfo | while read -r m; do umount -l "$m"; done
here=$(cd "$(dirname "$0")" && pwd)
helper=/sbin/mount.fuse.mnemefs

# What the suite asks about a filesystem by its type, answered for ours.
answers()
{
	cat <<-END
	_require_names_are_bytes() { :; }
	_filesystem_timestamp_range() { echo "-9223372036 9223372036"; }
	scratch_any_size()
	{
		_scratch_unmount >/dev/null 2>&1
		for _ in \$(seq 100); do
			mountpoint -q $work/mnemefs-2.store || return 0
			umount $work/mnemefs-2.store 2>/dev/null || sleep 0.1
		done
		return 1
	}
	_try_scratch_mkfs_sized()
	{
		scratch_any_size && mount -t tmpfs -o "size=\$1" sized $work/mnemefs-2.store &&
			mkfs.mnemefs -q $work/mnemefs-2.store
	}
	eval "\$(declare -f _scratch_mkfs | sed '1s/_scratch_mkfs/suite_scratch_mkfs/')"
	# 103 takes all that df shows: of a disk of its own, not of the one below, which is everybody's
	_scratch_mkfs()
	{
		[ "\$seq" = 103 ] && { _try_scratch_mkfs_sized \$((1 << 30)); return; }
		scratch_any_size && suite_scratch_mkfs "\$@"
	}
	_label_get_max() { echo 255; }
	# On a device it would look itself; a store tells when it is mounted, by the name that the suite puts
	# in its place.
	blkid()
	{
		local mounted=1
		[ "\$1 \$2 \$3" = "-s LABEL mnemefs-2" ] || { command blkid "\$@"; return; }
		mountpoint -q $work/scratch || { mounted=0; _scratch_mount; }
		echo "SCRATCH_DEV: \$(xfs_io -c label $work/scratch | sed 's/label = /LABEL=/')"
		[ \$mounted = 1 ] || _scratch_unmount
	}
	END
}

prepare()
{
	mkdir -p "$work/test" "$work/scratch" "$work/results"
	mkfs.mnemefs -q "$work/mnemefs-1.store" && mkfs.mnemefs -q "$work/mnemefs-2.store" || return 1
	# The suite knows the type "fuse" only.
	sed 's/-e .s\/fuse.glusterfs\/glusterfs\/./& -e "s\/fuse.mnemefs\/fuse\/"/' \
		"$suite/common/rc" >"$work/rc" && answers >>"$work/rc" &&
		mount --bind "$work/rc" "$suite/common/rc" || return 1
	# An ACL has at most 4 KiB: the kernel's FUSE asks for no more.
	sed '/^_acl_get_max/,/^}/s/echo 0$/echo 511/' "$suite/common/attr" >"$work/attr" &&
		mount --bind "$work/attr" "$suite/common/attr" || return 1
	# Direct I/O asks for no alignment here, but FUSE does not pass statx's word for that on: the suite would
	# take a page, and write eight times as much as on ext4 where it counts in such blocks.
	printf '#!/bin/sh\necho 512\n' >"$work/min_dio_alignment" && chmod 755 "$work/min_dio_alignment" &&
		mount --bind "$work/min_dio_alignment" "$suite/src/min_dio_alignment" || return 1
	sed "/^_run_seq()/,/^}/s/^\t\t\"\\\${cmd/\t\ttimeout -k 10 ${XFSTESTS_SECONDS:-1800} \"\${cmd/" \
		"$suite/check" >"$work/check" && grep -q 'timeout -k 10 .*cmd' "$work/check" &&
		chmod 755 "$work/check" && mount --bind "$work/check" "$suite/check" || return 1
	mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
	for file in passwd group shadow; do
		cp /etc/$file "$work/$file"
	done
	for user in fsgqa:65601 fsgqa2:65602 123456-fsgqa:65603; do
		grep -q "^${user%:*}:" /etc/passwd && continue
		echo "${user%:*}:x:${user#*:}:${user#*:}::/tmp:/bin/bash" >>"$work/passwd"
		echo "${user%:*}:x:${user#*:}:" >>"$work/group"
		echo "${user%:*}:*:19000:0:99999:7:::" >>"$work/shadow"
	done
	mount --bind "$work/passwd" /etc/passwd && mount --bind "$work/group" /etc/group &&
		mount --bind "$work/shadow" /etc/shadow || return 1
	# mount(8) looks for its helper in /sbin: seen in this namespace alone.
	mkdir "$work/upper" "$work/upwork" &&
		mount -t overlay -o "lowerdir=$(readlink -f /sbin),upperdir=$work/upper,workdir=$work/upwork" \
			overlay "$(readlink -f /sbin)" &&
		cat >$helper <<-END && chmod 755 $helper
		#!/bin/bash
		# The suite unmounts by the source's name, so that must not be a directory's.
		source=\$1 dir=\$2
		shift 2
		exec -a mount.fuse.mnemefs $(command -v mnemefs) "$work/\$source.store" "\$dir" "\$@" -o "fsname=\$source"
		END
}

configuration()
{
	cat <<-END
	export FSTYP=fuse FUSE_SUBTYP=.mnemefs
	export TEST_DEV=mnemefs-1 TEST_DIR=$work/test
	export SCRATCH_DEV=mnemefs-2 SCRATCH_MNT=$work/scratch
	export TEST_FS_MOUNT_OPTS="-o allow_other,default_permissions,open=checked"
	export MOUNT_OPTIONS="-o allow_other,default_permissions,open=checked"
	export RESULT_BASE=$work/results
	END
}

prepare >"$work/prepare.log" 2>&1 || { cat "$work/prepare.log"; fatal "prepare"; }
configuration >"$work/local.config"
# listed KIND: the tests of that kind in the list, as the suite names them.
listed()
{
	awk -v kind="$1" '/^[a-z]/ { on = $1 == kind }
		on && /^[0-9 ]+$/ { for (i = 1; i <= NF; i++) print "generic/" $i }' "$here/xfstests-not-run.txt"
}
listed exclude >"$work/exclude"
listed skip >"$work/may_skip"
tests=${XFSTESTS_RUN:-"-g quick"}
[ "${MNEME_LONG:-0}" = 0 ] || tests=${XFSTESTS_RUN:-"-g auto"}
cd "$suite" || fatal cd
# shellcheck disable=SC2086 # a list of tests
HOST_OPTIONS=$work/local.config ./check -E "$work/exclude" $tests >"$work/check.out" 2>&1
sed -nE 's/^((generic|shared)\/[0-9]+) .*\[not run\] *(.*)/skipped: \1: \3/p;
	s/^((generic|shared)\/[0-9]+) .*(- output mismatch|\[failed).*/FAIL \1/p;
	s/^((generic|shared)\/[0-9]+) .* ([0-9]+)s *$/ok \1 (\3 s)/p' "$work/check.out"
tail -n 5 "$work/check.out"
[ -z "${XFSTESTS_KEEP:-}" ] || cp -r "$work/results" "$work/check.out" "$XFSTESTS_KEEP/"
grep -q '^Passed all' "$work/check.out" || failures=1
sed -nE 's/^((generic|shared)\/[0-9]+) .*\[not run\].*/\1/p' "$work/check.out" |
	grep -vxF -f "$work/may_skip" >"$work/unlisted"
while read -r name; do
	echo "FAIL $name: it is skipped, and xfstests-not-run.txt does not say why"
	failures=1
done <"$work/unlisted"
cd /
finish
