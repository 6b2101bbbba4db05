#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pjdfstest (the project pjd/pjdfstest, built) on the mount: every assertion passes.
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
cd /
store_unmount
store_check || failures=$((failures + 1))
finish
