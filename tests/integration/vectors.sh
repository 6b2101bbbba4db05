#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Vectors that a user brings: files of them, the vector of a file, and reading them back.
. "$(dirname "$0")/lib.sh"
export PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
store_new
store_mount
cd "$mnt" || fatal "cd"

state() { # FILE PATTERN
	local said
	said=$(getfattr --only-values -n user.mneme.state "$1") || return 1
	echo "$said"
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]]
}
ask() { echo "$2" >"$work/request" && /usr/bin/env python3 -c '
import sys; sys.path.insert(0, sys.argv[1])
from doors import ask_file
sys.stdout.buffer.write(ask_file(sys.argv[2], open(sys.argv[3], "rb").read()))' "$here" "$1" "$work/request"; }
best() { # DIR REQUEST PATH PART: of the best result
	ask "$1" "$2" | python3 -c '
import json, sys
a = json.load(sys.stdin)
print(a)
sys.exit([a["results"][0]["path"], str(a["results"][0]["part"])] != sys.argv[1:])' "$3" "$4"
}
floats() { python3 -c 'import struct,sys; sys.stdout.buffer.write(struct.pack("<%df" % (len(sys.argv) - 1), *map(float, sys.argv[1:])))' "$@"; }

# ---- import of a collection ----
mkdir "$work/sift" sift && python3 "$here/vectors.py" make "$work/sift" || fatal "make"
check dim_is_set setfattr -n user.mneme.dim -v 128 sift
check metric_is_set setfattr -n user.mneme.metric -v l2 sift
cp "$work/sift/base.fvecs" "$work/sift/bytes.bvecs" sift && sync sift
check imported state sift/base.fvecs indexed
check imported_bytes state sift/bytes.bvecs indexed
check dimension test "$(getfattr --only-values -n user.mneme.dim sift/base.fvecs)" = 128
check best_rows_are_exact python3 "$here/vectors.py" exact "$work/sift" "$mnt"
check file_is_unchanged cmp "$work/sift/base.fvecs" sift/base.fvecs
if /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
	check numpy_reads_and_maps /usr/bin/python3 "$here/vectors.py" numpy "$mnt" 'sift%2Fbase.fvecs' 10000 128
else
	echo "skipped: numpy_reads_and_maps: python3-numpy is missing: apt-get install python3-numpy"
fi

# ---- more of them than are compared one by one ----
python3 "$here/vectors.py" make_large "$work/large.fvecs" && mkdir large || fatal "make"
setfattr -n user.mneme.metric -v l2 large && cp "$work/large.fvecs" large && sync large
metric_comes() # PATTERN
{
	local i
	for i in $(seq 600); do
		grep -q "^mneme_memory_brought_$1" "$mnt/.mneme/metrics" && return
		sleep 0.1
	done
	return 1
}
check large_gets_an_index metric_comes 'cells [1-9]'
check large_is_found python3 "$here/vectors.py" recall "$mnt/large"
says_vectors() { grep -q '^vectors    30550 brought, 20500 of them in [0-9]* cells$' .mneme/status; }
check status_says_so says_vectors
check quantizer_is_set eval 'mneme config -C large quantizer=sq8 && sync large'
check finer_codes_come metric_comes 'coded 20500$'
check large_is_found_by_them python3 "$here/vectors.py" recall "$mnt/large"
mv large/large.fvecs large/other && sync "$mnt"
check large_goes_with_the_name python3 "$here/vectors.py" absent "$mnt/large"
mv large/other large/large.fvecs && sync "$mnt"
check large_comes_with_the_name python3 "$here/vectors.py" recall "$mnt/large"
truncate -s 68 large/large.fvecs && sync large
one_row() { # of 16 numbers
	ask large "{\"vector\": [0$(printf ', %s' {1..15})], \"limit\": 100}" |
		python3 -c 'import json, sys; r = json.load(sys.stdin)["results"]; print(r); sys.exit(len(r) != 1 or r[0]["part"] != 0)'
}
check truncated_has_one_row one_row
cp "$work/large.fvecs" large && sync large && metric_comes 'cells [1-9]'

# ---- files of all kinds, and what is wrong with them ----
mkdir v
floats 1 0 0 >v/x.f32
floats 0 1 0 >v/y.vec
python3 - v <<'END'
import struct, sys
def npy(name, descr, shape, data, order="False"):
    text = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)
    text = text.ljust(117) + "\n"
    open(sys.argv[1] + "/" + name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data)
npy("two.npy", "<f4", "(2, 3)", struct.pack("<6f", 0, 0, 1, 1, 1, 0))
npy("one.npy", "<f8", "(3,)", struct.pack("<3d", -1, 0, 0))
npy("small.npy", "|i1", "(1, 3)", struct.pack("3b", 0, -1, 0))
npy("half.npy", "<f2", "(1, 3)", struct.pack("<3e", 0, 0, -1))
npy("fortran.npy", "<f4", "(2, 3)", bytes(24), "True")
npy("big.npy", ">f4", "(1, 3)", bytes(12))
npy("short.npy", "<f4", "(9, 3)", bytes(24))
npy("nan.npy", "<f4", "(1, 3)", struct.pack("<3f", 0, float("nan"), 0))
npy("cube.npy", "<f4", "(2, 2, 2)", bytes(32))
open(sys.argv[1] + "/ragged.fvecs", "wb").write(struct.pack("<i3fi3f", 3, 1, 2, 3, 4, 1, 2, 3))
open(sys.argv[1] + "/odd.f32", "wb").write(bytes(13))
open(sys.argv[1] + "/wide.f32", "wb").write(struct.pack("<f", 1) * 5000)
open(sys.argv[1] + "/bad.npy", "wb").write(b"no numpy")
END
sync v
for f in x.f32 y.vec two.npy one.npy small.npy half.npy; do check "kind_$f" state v/$f indexed; done
check nearest_of_raw best v '{"vector": [0.9, 0.1, 0]}' x.f32 0
ranks() { # DIR REQUEST: those of the results are 1, 2, .. (of equal ones in any order)
	ask "$1" "$2" | python3 -c '
import json, sys
ranks = [r["cosine_rank"] for r in json.load(sys.stdin)["results"]]
print(ranks)
sys.exit(len(ranks) < 3 or sorted(ranks) != list(range(1, len(ranks) + 1)))'
}
check ranks_count_from_one ranks v '{"vector": [0.9, 0.1, 0]}'
check nearest_of_vec best v '{"vector": [0.1, 0.9, 0]}' y.vec 0
check nearest_row best v '{"vector": [0.5, 0.6, 0]}' two.npy 1
check nearest_of_doubles best v '{"vector": [-5, 0, 0]}' one.npy 0
check nearest_of_bytes best v '{"vector": [0, -2, 0]}' small.npy 0
check nearest_of_halves best v '{"vector": [0, 0, -2]}' half.npy 0
check nearest_by_name best v '{"vector": [1, 0, 0], "name": "*.vec"}' y.vec 0
check like_a_file best v '{"like": "x.f32"}' two.npy 1
check wrong_fortran state v/fortran.npy 'error: *Fortran*'
check wrong_order state v/big.npy 'error: *little-endian*'
check wrong_size state v/short.npy 'error: *9 rows*'
check wrong_number state v/nan.npy 'error: row 0*'
check wrong_shape state v/cube.npy 'error: *dimensions*'
check wrong_row state v/ragged.fvecs 'error: row 1*'
check wrong_bytes state v/odd.f32 'error: *13 bytes*'
check wrong_width state v/wide.f32 'error: 5000 dimensions*'
check wrong_head state v/bad.npy 'error: *numpy*'
check wrong_is_stored test "$(cat v/bad.npy)" = 'no numpy'
floats 1 2 3 4 >sift/four.f32 && sync sift/four.f32
check mismatch_is_said state sift/four.f32 'error: 4 dimensions, where the collection has 128'
check mismatch_is_stored test "$(stat -c %s sift/four.f32)" = 16
check setting_changes setfattr -n user.mneme.dim -v 4 sift
sync "$mnt"
check mismatch_goes_with_the_setting state sift/four.f32 indexed
check mismatch_comes_with_the_setting state sift/base.fvecs 'error: 128 dimensions, where the collection has 4'
setfattr -n user.mneme.dim -v 128 sift && sync "$mnt"
check setting_back python3 "$here/vectors.py" exact "$work/sift" "$mnt"
refused() { ! "$@" 2>"$work/said" && grep -q "Invalid argument" "$work/said"; }
for bad in 0 -1 5000 x 3.5; do check "dim_$bad" refused setfattr -n user.mneme.dim -v "$bad" v; done
check metric_is_known refused setfattr -n user.mneme.metric -v cosin v
floats 0 0 9 >v/x.f32 && sync v/x.f32
check overwritten best v '{"vector": [0.9, 0.1, 0]}' two.npy 1
mv v/x.f32 v/x.bin && sync "$mnt"
check renamed_is_no_vector state v/x.bin 'skipped: *'
mv v/x.bin v/z.f32 && sync "$mnt"
check renamed_is_a_vector best v '{"vector": [0, 0, 9], "name": "z*"}' z.f32 0
rm v/two.npy
gone() { ! ask v '{"vector": [0.5, 0.6, 0], "limit": 100}' | grep two.npy; }
check deleted_is_gone gone

# ---- the vector of a file ----
echo 'a text with a vector of its own' >text && : >empty && sync text
check own_as_text setfattr -n user.mneme.vector -v '[0.25, -1, 1e1, 3]' text
check own_as_bytes setfattr -n user.mneme.vector -v 0x0000803f000000000000000000000040 empty
sync "$mnt"
own() { [ "$(getfattr --only-values -n user.mneme.vector "$1" | od -A n -t f4 | xargs)" = "$2" ]; }
check own_is_read own text '0.25 -1 10 3'
check own_bytes_are_read own empty '1 0 0 2'
check own_dimension test "$(getfattr --only-values -n user.mneme.dim text)" = 4
check own_is_found best . '{"vector": [0, -1, 10, 3]}' text 0
check own_of_an_empty_file best . '{"vector": [1, 0, 0, 2]}' empty 0
check own_state state empty indexed
check own_text_is_found test -n "$(mneme search 'vector of its own' | grep text)"
check own_is_copied sh -c 'cp -a text copy && sync copy && getfattr -d copy | grep -q user.mneme.vector'
check own_refused_nan refused setfattr -n user.mneme.vector -v 0x0000c07f text
check own_refused_text refused setfattr -n user.mneme.vector -v '[1, x]' text
check own_refused_bytes refused setfattr -n user.mneme.vector -v 'abc' text
mkdir three && setfattr -n user.mneme.dim -v 3 three && echo t >three/t
check own_refused_dimension refused setfattr -n user.mneme.vector -v '[1, 2]' three/t
check own_fits setfattr -n user.mneme.vector -v '[1, 2, 3]' three/t
setfattr -x user.mneme.vector text && sync "$mnt"
check own_removed best . '{"vector": [0, -1, 10, 3]}' copy 0
read_back() {
	[ "$(python3 -c 'import json; print(json.load(open(".mneme/vector/copy.json")))')" = '[[0.25, -1, 10, 3]]' ] &&
		[ "$(wc -c <.mneme/vector/copy.npy)" = 144 ] && [ "$(wc -c <.mneme/vector/empty.f32)" = 16 ] || return 1
	[ ! -e .mneme/vector/nosuch.npy ] && [ ! -e .mneme/vector/copy ] && [ ! -e .mneme/vector/v.npy ]
}
check read_back read_back
text_vectors() { # a text's are those of its passages
	[ "$(wc -c <.mneme/vector/text.f32)" = $((4 * $(getfattr --only-values -n user.mneme.dim text))) ]
}
check text_vectors text_vectors
nothing_stumbles()
{
	tar cf "$work/t.tar" --xattrs . && find . | grep -F .mneme && return 1
	rm -rf "$work/c" && rsync -a --exclude sift ./ "$work/c/" && cp -a v "$work/c/v2" && rm -r "$work/c"
}
check nothing_stumbles nothing_stumbles
cd /
store_unmount
store_mount
check after_remount python3 "$here/vectors.py" exact "$work/sift" "$mnt"
cd "$mnt" || fatal "cd"
check own_after_remount best . '{"vector": [0, -1, 10, 3]}' copy 0
check state_after_remount state sift/base.fvecs indexed
check large_index_after_remount metric_comes 'cells [1-9]'
check large_after_remount python3 "$here/vectors.py" recall "$mnt/large"
rm large/large.fvecs
check large_deleted_is_gone python3 "$here/vectors.py" absent "$mnt/large"
check error_after_remount state v/bad.npy 'error: *numpy*'
cd /
store_unmount
check store store_check
finish
