#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# D/.mneme/config: shows the settings of a collection, and changes them; who may; what is refused says why.
. "$(dirname "$0")/lib.sh"
store_new
store_mount
cd "$mnt" || fatal "cd"
mkdir -p vectors/deep notes

shows() { # DIR LINE...: the settings have these lines
	local line
	cat "$1/.mneme/config"
	for line in "${@:2}"; do
		grep -qE -- "^$line" "$1/.mneme/config" || { echo "not there: $line"; return 1; }
	done
}
says() { # PATTERN COMMAND...
	"${@:2}" >"$work/said" 2>&1
	cat "$work/said"
	grep -qE -- "$1" "$work/said"
}
check defaults shows . 'dim=  # .*default' 'metric=cosine  # .*default' 'quantizer=none  # .*default' 'index=yes  # .*default' 'embedder=  # .*default of the mount .*:' 'durability='
check set eval 'echo metric=l2 >vectors/.mneme/config'
check several eval 'printf "dim=3  # numbers\n\n# and\nmetric=dot\n" >vectors/.mneme/config'
check is_set shows vectors 'dim=3  # .*set here' 'metric=dot  # .*set here'
check holds_below shows vectors/deep 'dim=3  # .*set above' 'metric=dot  # .*set above'
check holds_not_beside shows notes 'dim=  # .*default' 'metric=cosine'
check quantizer_is_set eval 'mneme config -C vectors quantizer=rabitq4 && shows vectors/deep "quantizer=rabitq4  # .*set above" && mneme config -C vectors quantizer='
check is_an_attribute test "$(getfattr --only-values -n user.mneme.metric vectors)" = dot
check by_command eval "mneme config -C vectors/deep dim=2 metric= && mneme config -C vectors/deep | grep -q '^dim=2 .*here'"
printf '\0\0\200\077\0\0\0\100' >vectors/deep/two.f32 && cp vectors/deep/two.f32 vectors/two.f32 && sync "$mnt"
check counts_for_vectors test "$(getfattr --only-values -n user.mneme.state vectors/deep/two.f32)" = indexed
check counts_above says 'error: *2 dimensions' getfattr --only-values -n user.mneme.state vectors/two.f32
check taken_away eval "mneme config -C vectors/deep dim= && mneme config -C vectors/deep | grep -q '^dim=3 .*above'"

refused() { # WHY SETTING...
	local why=$1 before
	shift
	before=$(cat vectors/.mneme/config)
	mneme config -C vectors "$@" >"$work/said" 2>&1 && { echo "it succeeds"; return 1; }
	cat "$work/said"
	grep -q -- "$why" "$work/said" && [ "$(cat vectors/.mneme/config)" = "$before" ]
}
check wrong_metric refused 'metric wants cosine, dot or l2' metric=l3
check wrong_dim refused 'dim wants a number of dimensions from 1 to 4096' dim=0
check wrong_index refused 'index wants yes or no' index=maybe
check no_value refused 'dim wants a value' dim
check wrong_quantizer refused 'quantizer wants none, binary, rabitq2 to rabitq8 or sq8' quantizer=rabitq9
check unknown refused "there is no setting 'colour': dim, metric, quantizer, index, embedder, durability, learn, decay, neighbours" colour=red
check wrong_embedder refused 'embedder wants builtin, hash, http, command or none' embedder=other
check durability refused 'durability wants buffered or strict' durability=memory
check strict eval 'mneme config -C vectors durability=strict && shows vectors "durability=strict  # .*set here"'
check strict_below shows vectors/deep 'durability=strict  # .*set above'
check all_or_nothing refused 'metric wants' dim=7 metric=l3
check write_fails eval '! echo metric=l3 >vectors/.mneme/config'

echo 'the kestrel' >notes/kestrel.md && sync "$mnt"
found() { mneme search -C "$mnt" --grep kestrel | grep -q kestrel.md; }
check found found
check opted_out eval 'mneme config -C notes index=no && ! found'
check opted_out_shows shows notes 'index=no  # .*set here'
check opted_in eval 'mneme config -C notes index=yes && sync "$mnt" && found'

as() { setpriv --reuid=12345 --regid=12345 --clear-groups env "PATH=$PATH" "$@"; }
check others_may_read eval "as cat vectors/.mneme/config | grep -q metric=dot"
check others_may_not_set says 'denied' as mneme config -C vectors metric=l2
check others_set_nothing shows vectors 'metric=dot'
cd /
store_unmount
store_mount
check after_remount shows "$mnt/vectors" 'dim=3  # .*set here' 'metric=dot  # .*set here'
store_unmount
store_mount ro
check read_only_shows shows "$mnt/vectors" 'metric=dot'
check read_only_is_said says_no 'read-only' mneme config -C "$mnt/vectors" metric=l2
store_unmount
check store store_check
finish
