# SPDX-License-Identifier: Apache-2.0
# Purpose:   what tests/run and quickstart share: find which packages of a list are missing, and
#            install them where that is possible.
# Failure:   packages_ensure returns 1 after a sentence with the way out; it never asks anything.

# packages_missing FILE KIND...: names of the packages in FILE that dpkg does not have.
packages_missing()
{
	file=$1
	shift
	for kind in "$@"; do
		sed -n "s/^$kind //p" "$file"
	done | while read -r name; do
		state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) || state=
		case $state in ii*) ;; *) echo "$name" ;; esac
	done
}

# packages_ensure FILE KIND...: installs the missing ones.
packages_ensure()
{
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		echo "note: this is no Debian system; packages are not checked (see $1)" >&2
		return 0
	fi
	missing=$(packages_missing "$@" | tr '\n' ' ')
	[ -n "${missing% }" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "missing packages: $missing" >&2
		echo "way out: run once as root: apt-get install -y $missing" >&2
		return 1
	fi
	echo "installing: $missing" >&2
	packages_log=$(mktemp)
	# shellcheck disable=SC2086 # a list of names
	if DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
		>"$packages_log" 2>&1 ||
		{ apt-get update >>"$packages_log" 2>&1 &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
			>>"$packages_log" 2>&1; }; then
		rm -f "$packages_log"
		return 0
	fi
	tail -n 20 "$packages_log" >&2
	rm -f "$packages_log"
	echo "apt-get could not install: $missing" >&2
	echo "way out: check the network and apt's sources (apt-get update), or install them by" \
		"hand and run this again" >&2
	return 1
}
