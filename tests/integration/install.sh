#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What another program finds after `meson install`: the library by pkg-config, shared and static, its
# headers alone, and the programs where they belong.
. "$(dirname "$0")/lib.sh"
prefix=$work/root/usr/local
here=$MNEME_SOURCE/tests/unit

installed()
{
	meson install -C "$MNEME_BUILD" --no-rebuild --destdir "$work/root" >/dev/null || return 1
	pc=$(find "$prefix" -name libmneme.pc)
	[ -n "$pc" ] || { echo "no libmneme.pc"; return 1; }
	# As if it were installed there for good: the file names the prefix of the build.
	sed -i "s|^prefix=.*|prefix=$prefix|" "$pc"
	for program in bin/mneme sbin/mnemefs sbin/mkfs.mnemefs sbin/fsck.mnemefs \
		sbin/mount.mnemefs sbin/umount.mnemefs sbin/umount.fuse.mnemefs; do
		[ -x "$prefix/$program" ] || { echo "no $program"; return 1; }
	done
}
# What the static library needs of others, which may be shared: those that it names itself.
needs()
{
	local pc
	pc=$(find "$prefix" -name libmneme.pc)
	# shellcheck disable=SC2046 # a list of packages
	PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --libs \
		$(sed -n 's/^Requires.private: //p' "$pc" | tr ',' '\n' | awk '{ print $1 }') check
	sed -n 's/^Libs.private: //p' "$pc"
}
flags() { PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name libmneme.pc)") pkg-config "$@" libmneme check; }
libraries() { dirname "$(find "$prefix" -name libmneme.so)"; }

# builds_and_runs HOW TEST
builds_and_runs()
{
	local source=$here/test_$2.c options
	if [ "$1" = static ]; then
		options="-l:libmneme.a $(needs)"
	else
		options=$(flags --libs)
	fi
	# shellcheck disable=SC2046,SC2086 # lists of options
	cc -std=gnu17 -D_GNU_SOURCE $(flags --cflags) -o "$work/$1_$2" "$source" -L"$(libraries)" $options || return 1
	if [ "$1" = static ] && ldd "$work/$1_$2" | grep libmneme; then
		echo "it is not static"
		return 1
	fi
	cd "$work" && LD_LIBRARY_PATH=$(libraries) "$work/$1_$2"
}
ioctl_header()
{
	printf '#include <mneme_ioctl.h>\nint main(void) { return MNEME_IOC_VERSION != 1; }\n' >"$work/i.c"
	# shellcheck disable=SC2046 # a list of options
	cc $(flags --cflags) -o "$work/i" "$work/i.c" && "$work/i"
}
only_its_own_names() # a program may have functions of the same names as those inside
{
	nm -D --defined-only "$(libraries)/libmneme.so" | awk '$2 ~ /[TDBR]/ && $3 !~ /^mneme_/ { print; bad = 1 } END { exit bad }'
}

check install installed
check shared_library builds_and_runs shared library
check shared_library_misuse builds_and_runs shared library_misuse
check static_library builds_and_runs static library
check ioctl_header_stands_alone ioctl_header
check only_its_own_names_are_visible only_its_own_names
finish
