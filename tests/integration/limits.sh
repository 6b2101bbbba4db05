#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mount whose daemon and whose writer share little memory, with much more to write than that: it goes on,
# and what was written is there. Pages that were written through a map are dirty until the daemon takes them.
. "$(dirname "$0")/lib.sh"
limit_mib=128 size_mib=512
[ "${MNEME_LONG:-0}" = 0 ] || limit_mib=512 size_mib=4096
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs is memory itself"
if grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
	group=/sys/fs/cgroup/mneme-$$ file=memory.max
elif [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
	group=/sys/fs/cgroup/memory/mneme-$$ file=memory.limit_in_bytes
else
	skip_all "no cgroup of this machine limits memory"
fi
mkdir "$group" 2>/dev/null && echo $((limit_mib << 20)) >"$group/$file" 2>/dev/null ||
	{ rmdir "$group" 2>/dev/null; skip_all "a cgroup cannot be made here"; }
trap 'work_clean; rmdir "$group" 2>/dev/null' EXIT

has_right() { ((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)); } # CAP_SYS_RESOURCE
inside() { (echo "$BASHPID" >"$group/cgroup.procs" && exec "$@"); }
map_write()
{
	inside timeout 250 python3 - "$mnt/mapped" "$size_mib" <<'END'
import mmap, os, sys
size = int(sys.argv[2])
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(f, size << 20)
m = mmap.mmap(f, size << 20)
for i in range(size):
    m[i << 20:i + 1 << 20] = i.to_bytes(8, "little") * (1 << 17)
m.flush()
END
}
map_read()
{
	python3 - "$mnt/mapped" "$size_mib" <<'END'
import sys
with open(sys.argv[1], "rb") as f:
    for i in range(int(sys.argv[2])):
        assert f.read(1 << 20) == i.to_bytes(8, "little") * (1 << 17), i
    assert not f.read(1)
END
}
plain_write() { inside timeout 250 dd if=/dev/zero of="$mnt/plain" bs=1M count="$size_mib" conv=fsync status=none; }

warns() # in the cgroup, without the right
{
	mkdir -p "$mnt"
	inside setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource mnemefs "$store" "$mnt" 2>"$work/said" ||
		{ cat "$work/said"; return 1; }
	umount "$mnt"
	grep -q CAP_SYS_RESOURCE "$work/said"
}

store_new
if [ $file = memory.limit_in_bytes ]; then
	# There the kernel lets whoever wants memory wait for dirty pages of this mount, unless he says that it is
	# he who writes them (PR_SET_IO_FLUSHER); without the right to say so this hangs now and then.
	check without_the_right_it_warns warns || finish
	has_right || skip_all "cgroup v1, and no CAP_SYS_RESOURCE to tell the kernel who writes dirty pages"
fi
store_mount cache_size=32M,create=cached
echo "$daemon" >"$group/cgroup.procs" || fatal "the daemon does not go into its group"
check written_through_a_map map_write
check written plain_write
check the_daemon_lives kill -0 "$daemon"
store_unmount
store_mount
check what_was_written_is_there map_read
check size test "$(stat -c %s "$mnt/plain")" = $((size_mib << 20))
store_unmount
check store store_check
finish
