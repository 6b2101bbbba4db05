#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pjdfstest (the project pjd/pjdfstest, built) on the mount: every assertion passes. Then as an unprivileged
# user, as whom many cannot, and first in a folder of the local filesystem: what passes there passes here.
. "$(dirname "$0")/../integration/lib.sh"
suite=${PJDFSTEST_DIR:-}
[ -n "$suite" ] || skip_all "PJDFSTEST_DIR is not set: get the project pjd/pjdfstest, build it" \
	"(autoreconf -ifs && ./configure && make) and name its folder"
[ -x "$suite/pjdfstest" ] || skip_all "$suite/pjdfstest is not built"
command -v prove >/dev/null || skip_all "prove is missing: apt-get install perl"
store_new
store_mount open=checked
mkdir "$mnt/run"
cd "$mnt/run" || fatal cd
umask 022
# One file of assertions at a time, so that each is a result.
while read -r file; do
	name=${file#"$suite/tests/"}
	if prove -q --nocolor -e /bin/sh "$file" >"$work/prove.log" 2>&1; then
		echo "ok ${name%.t}"
	else
		echo "FAIL ${name%.t}: $(grep -E '^  (Failed|Non-zero|Parse)' "$work/prove.log" | tr -s ' \n' ' ')"
		failures=$((failures + 1))
	fi
	passed=$(sed -n 's/.*Tests=\([0-9]*\).*/\1/p' "$work/prove.log")
	assertions=$((${assertions:-0} + ${passed:-0}))
done < <(find "$suite/tests" -name '*.t' | sort)
echo "assertions run: $assertions"

# as_user FILE FOLDER: "ok N" or "not ok N" of each assertion, one line each.
as_user()
{
	(cd "$2" && HOME=/ setpriv --reuid=65534 --regid=65534 --clear-groups timeout 600 sh "$work/suite/$1") 2>&1 </dev/null |
		sed -nE 's/^((not )?ok [0-9]+).*/\1/p' | sort -u
}
# The suite asks for more where it knows the filesystem's type: here it knows none.
mkdir "$work/suite" && cp -r "$suite/pjdfstest" "$suite/tests" "$work/suite/" &&
	echo 'fs=UNKNOWN' >>"$work/suite/tests/conf" || fatal "copy of the suite"
install -d -o 65534 -g 65534 "$work/user" "$mnt/user"
passed=0
while read -r file; do
	name=${file#"$work/suite/"}
	as_user "$name" "$work/user" >"$work/there"
	as_user "$name" "$mnt/user" >"$work/here"
	passed=$((passed + $(grep -c '^ok' "$work/here")))
	grep '^ok' "$work/there" | grep -vxF -f "$work/here" >"$work/missing" || continue
	echo "FAIL user/$name: passes on the local filesystem: $(tr '\n' ' ' <"$work/missing")"
	failures=$((failures + 1))
done < <(find "$work/suite/tests" -name '*.t' | sort)
echo "ok assertions that pass as a user: $passed"
[ "$passed" -gt 0 ] || failures=$((failures + 1))
cd /
store_unmount
store_check || failures=$((failures + 1))
finish
