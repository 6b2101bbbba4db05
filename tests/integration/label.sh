#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The label of a store: mkfs.mnemefs -L, FS_IOC_GETFSLABEL and FS_IOC_SETFSLABEL.
. "$(dirname "$0")/lib.sh"

# label [NEW]: prints it, or sets it; what goes wrong is the name of the error. Behind it are zeros only.
label()
{
	python3 - "$mnt" "$@" <<-'END'
	import errno, fcntl, os, sys
	GET, SET = 0x81009431, 0x41009432
	fd = os.open(sys.argv[1], os.O_RDONLY)
	try:
	    if len(sys.argv) == 3:
	        fcntl.ioctl(fd, SET, os.fsencode(sys.argv[2]).ljust(256, b"\0"))
	    else:
	        answer = fcntl.ioctl(fd, GET, b"x" * 256)
	        text = answer.rstrip(b"\0")
	        print(os.fsdecode(text) if len(answer) == 256 and b"\0" not in text else answer)
	except OSError as e:
	    sys.exit(errno.errorcode[e.errno])
	END
}
is_labelled() { test "$(label)" = "$1"; }
as_nobody() { HOME=/ setpriv --reuid=65534 --clear-groups bash -c "$(declare -f label); mnt=$mnt label x"; }

longest=$(printf '%255s' '' | tr ' ' o)
check too_long_for_mkfs says_no '255 bytes' mkfs.mnemefs -L "${longest}o" "$store"
store_new -L "notes of Ann, größer"
store_mount durability=memory
check made_with is_labelled "notes of Ann, größer"
check set label changed
check is_set is_labelled changed
check another_is_refused says_no EPERM as_nobody
check longest label "$longest"
check is_the_longest is_labelled "$longest"
check too_long says_no EINVAL label "${longest}o"
check stays_as_it_was is_labelled "$longest"
check set_at_last label "at last"
store_kill
check store_after_a_kill store_check
store_mount ro
check is_durable is_labelled "at last"
check read_only_refuses says_no EROFS label x
store_unmount
store_mount
check cleared label ""
check cleared_again label ""
check is_empty is_labelled ""
store_unmount
check store store_check
finish
