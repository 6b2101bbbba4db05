#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The README's tour, pasted into a shell line by line: every line succeeds.
. "$(dirname "$0")/lib.sh"
export HOME=$work/home
mkdir "$HOME"
awk '/^## A tour/ { tour = 1 } tour && /^```$/ { exit } inside; tour && /^```sh$/ { inside = 1 }' \
	"$MNEME_SOURCE/README.md" >"$work/lines"
[ "$(wc -l <"$work/lines")" -gt 10 ] || fatal "there is no tour in the README"

paste_lines()
{
	local line
	while read -r line; do
		echo "echo '> '${line@Q}"
		echo "$line"
		echo "[ \$? = 0 ] || exit 1"
	done <"$work/lines" | bash
}

# umount returns before the daemon has let go of the store: a person is slower than the next line
umount() { command umount "$@" && sleep 1; }
export -f umount

check readme_tour paste_lines
check nothing_is_left test -z "$(ls -A "$HOME")"
finish
