# SPDX-License-Identifier: Apache-2.0
# Purpose:   rounds of the crash tests that share the oracle: mount, look whether what was durable is there,
#            write, kill -9 in the midst of it. A script sources it after lib.sh and defines one_round.
oracle=$MNEME_BUILD/tests/integration/crash_oracle
modes=("" durability=strict)
RANDOM=42 # of a run that can be repeated

# killed_while_writing MOUNT ROUND SECONDS: MOUNT is called with the options of this round.
killed_while_writing()
{
	local writer
	"$1" "${modes[$(($2 % ${#modes[@]}))]}"
	"$oracle" verify "$mnt" "$work/notes" >"$work/verdict" 2>&1 || { cat "$work/verdict"; return 1; }
	"$oracle" write "$mnt" "$work/notes" "$2" & writer=$!
	sleep "$3"
	store_kill
	wait $writer
}

# Calls one_round with 1 to `rounds`, until it fails. At the end the store has to be sound and complete.
all_rounds()
{
	local round
	for round in $(seq "$rounds"); do
		one_round "$round" >"$work/round.log" 2>&1 && continue
		echo "FAIL round_$round"
		cat "$work/round.log"
		failures=1
		return
	done
	echo "ok ${rounds}_rounds ($(stat -c %s "$work/notes") bytes of notes)"
	"$1"
	check last_state "$oracle" verify "$mnt" "$work/notes"
	store_unmount
	check store store_check
}
