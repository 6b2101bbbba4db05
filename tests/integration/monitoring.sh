#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What watches and starts a mount: Prometheus' own parser reads its metrics, systemd its units in the manuals.
. "$(dirname "$0")/lib.sh"
[ "${MNEME_TEST_ON:-}" != tmpfs ] || skip_all "a tmpfs has no metrics"
source_dir=$(cd "$(dirname "$0")/../.." && pwd)

# A parser of ours: the text format, each name described once, buckets that only grow and end at +Inf.
parses()
{
	python3 - "$mnt/.mneme/metrics" <<'END'
import re, sys
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:{NAME}="[^"\\\n]*",?)*)\}})? (\d+(?:\.\d+)?)$')
kinds, helps, seen, buckets, counts = {}, set(), set(), {}, {}
lines = open(sys.argv[1]).read()
assert lines.endswith("\n")
for line in lines[:-1].split("\n"):
    if line.startswith("# HELP "):
        name = line.split(" ", 3)[2]
        assert name not in helps and line.split(" ", 3)[3], line
        helps.add(name)
        continue
    if line.startswith("# TYPE "):
        name, kind = line.split(" ")[2:]
        assert name in helps and name not in kinds and kind in ("counter", "gauge", "histogram"), line
        kinds[name] = kind
        continue
    sample = SAMPLE.match(line)
    assert sample, line
    name, labels, value = sample[1], sample[2] or "", float(sample[3])
    assert (name, labels) not in seen, line
    seen.add((name, labels))
    base = re.sub("_(bucket|sum|count)$", "", name)
    kind = kinds.get(name) or kinds.get(base)
    assert kind, f"{name} has no type"
    assert name.endswith("_total") or kind != "counter" or name.endswith("_bytes"), line
    if kind == "histogram" and name.endswith("_bucket"):
        of = re.sub(r',?le="[^"]*"', "", labels)
        le = float(re.search(r'le="([^"]*)"', labels)[1])
        buckets.setdefault((base, of), []).append((le, value))
    elif kind == "histogram" and name.endswith("_count"):
        counts[base, labels] = value
for key, list_ in buckets.items():
    assert list_ == sorted(list_) and [v for _, v in list_] == sorted(v for _, v in list_), key
    assert list_[-1][0] == float("inf") and list_[-1][1] == counts[key], key
assert len(buckets) > 5 and ("mneme_stack_violations_total", "") in seen
END
}
# It says what it would name differently (status 3); what it cannot parse is status 1.
promtool_parses()
{
	promtool check metrics <"$mnt/.mneme/metrics"
	[ $? != 1 ]
}
unit() # FILE NUMBER: the systemd unit in that manual is one
{
	awk '/^    \[Unit\]/ { on = 1 } on && !/^    / && NF { exit } on { sub(/^    /, ""); print }' \
		"$source_dir/docs/$1" | sed "s,/usr/local/sbin/mnemefs,$(command -v mnemefs)," >"$work/test.service"
	grep -q ExecStart "$work/test.service" && systemd-analyze verify "$work/test.service"
}

store_new
store_mount
echo text >"$mnt/file" && cat "$mnt/file" >/dev/null && ls "$mnt" "$mnt/missing" >/dev/null 2>&1
echo 'see [[file]]' >"$mnt/link.md" && sync "$mnt" && mneme recall "$mnt/link.md" >"$work/recalled"
# What recall and uses are watched by, beside what every mount has.
names_recall()
{
	local name
	for name in recall_records recall_record_gets_total recall_latency_seconds_count recall_prediction_off_count \
		recall_batch_links recall_batch_links_total recall_batch_room_total recall_sampled_links_total \
		recall_sampled_seconds_total recall_links_of_kind memory_uses_total memory_pairs_total \
		memory_edges_written_total; do
		grep -q "^mneme_$name[{ ]" "$mnt/.mneme/metrics" || { echo "no mneme_$name"; return 1; }
	done
	grep -qx 'mneme_recall_links_of_kind{kind="wiki"} 1' "$mnt/.mneme/metrics"
}
check metrics_of_recall names_recall
check metrics_parse parses
if command -v promtool >/dev/null; then
	check metrics_parse_with_promtool promtool_parses
else
	echo "skipped: promtool: it is not installed (apt-get install prometheus)"
fi
store_unmount
if command -v systemd-analyze >/dev/null; then
	check unit_of_the_mount unit mount.md
	check unit_of_operations unit OPERATIONS.md
else
	echo "skipped: systemd_units: systemd-analyze is not installed"
fi
finish
