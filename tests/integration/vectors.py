#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vector files on a mount against exact answers.

usage: vectors.py make DIR        base.fvecs, bytes.bvecs and queries of one collection, as in SIFT
       vectors.py exact DIR MNT   the mount's best rows are those of an exact scan, through two doors
       vectors.py make_large FILE
       vectors.py recall DIR  the nearest to rows of that file in DIR/large.fvecs, most of which are found
       vectors.py absent DIR  none of its rows is found
       vectors.py numpy MNT FILE ROWS DIM
"""
import json
import random
import struct
import sys

from doors import HEAD, NR_SEARCH, SIZE_MAX, ask_file, ask_ioctl, request, results

ROWS, DIM, QUERIES = 10000, 128, 10
LARGE, NARROW = 20500, 16  # an index begins with 20000


def rows_of(seed, count):
    r = random.Random(seed)
    centres = [[r.randrange(200) for _ in range(DIM)] for _ in range(50)]
    return [[min(255, max(0, c + r.randrange(-30, 31))) for c in r.choice(centres)] for _ in range(count)]


def make(directory):
    with open(directory + "/base.fvecs", "wb") as f:
        for row in rows_of(1, ROWS):
            f.write(struct.pack(f"<i{DIM}f", DIM, *row))
    with open(directory + "/bytes.bvecs", "wb") as f:
        for row in rows_of(2, 50):
            f.write(struct.pack("<i", DIM) + bytes(row))


def l2(a, b):
    return sum((x - y) * (x - y) for x, y in zip(a, b))


def exact(directory, mnt):
    base = {f"base.fvecs:{i}": row for i, row in enumerate(rows_of(1, ROWS))}
    base.update({f"bytes.bvecs:{i}": row for i, row in enumerate(rows_of(2, 50))})
    sizes = {"base.fvecs": 4 + 4 * DIM, "bytes.bvecs": 4 + DIM}
    for query in rows_of(3, QUERIES):
        scores = sorted((l2(row, query), name) for name, row in base.items())
        answer = json.loads(ask_file(mnt + "/sift", json.dumps({"vector": query, "limit": 10}).encode() + b"\n"))
        assert "results" in answer, answer
        found = [(f"{r['path']}:{r['part']}", -r["score"]) for r in answer["results"]]
        assert [d for _, d in found] == [d for d, _ in scores[:10]], (found, scores[:10])
        assert all(l2(base[name], query) == d for name, d in found), found
        for r in answer["results"]:
            assert r["end"] - r["begin"] == sizes[r["path"]] and r["begin"] == r["part"] * sizes[r["path"]], r
        _, _, _, binary = results(ask_ioctl(mnt + "/sift", NR_SEARCH, request("limit:10", SIZE_MAX, query)))
        assert [f"{r['path']}:{r['part']}" for r in binary] == [n for n, _ in found], binary


def large_rows():
    r = random.Random(4)
    centres = [[r.random() * 9 for _ in range(NARROW)] for _ in range(40)]
    return [[c + r.random() for c in centres[i % 40]] for i in range(LARGE)]


def make_large(path):
    with open(path, "wb") as f:
        for row in large_rows():
            f.write(struct.pack(f"<i{NARROW}f", NARROW, *row))


def nearest(directory, vector):
    line = json.dumps({"vector": vector, "limit": 10}).encode() + b"\n"
    return json.loads(ask_file(directory, line)).get("results", [])


def recall(directory):
    rows, found = large_rows(), 0
    for at in range(100, LARGE, LARGE // QUERIES):
        query = [x + 0.01 for x in rows[at]]
        bar = sorted(l2(row, query) for row in rows)[9]
        got = nearest(directory, query)
        assert all(r["path"] == "large.fvecs" for r in got), got
        assert all(abs(l2(rows[r["part"]], query) + r["score"]) < 1e-3 for r in got), got
        found += sum(-r["score"] <= bar + 1e-4 for r in got)
    assert found >= 9.5 * QUERIES, found


def absent(directory):
    for row in large_rows()[::LARGE // QUERIES]:
        got = nearest(directory, row)
        assert all(r["path"] != "large.fvecs" for r in got), got


def numpy(mnt, name, rows, dim):
    import numpy as np
    a = np.load(f"{mnt}/.mneme/vector/{name}.npy")
    m = np.load(f"{mnt}/.mneme/vector/{name}.npy", mmap_mode="r")
    assert a.shape == (int(rows), int(dim)) and a.dtype == np.float32, (a.shape, a.dtype)
    assert (a == m).all() and np.isfinite(a).all()
    raw = np.fromfile(f"{mnt}/.mneme/vector/{name}.f32", dtype="<f4")
    assert (raw == a.reshape(-1)).all()
    with open(f"{mnt}/.mneme/vector/{name}.json") as f:
        assert np.array_equal(np.array(json.load(f), dtype=np.float32), a)
    if name.endswith(".fvecs"):
        file = np.fromfile(f"{mnt}/sift/base.fvecs", dtype="<i4").reshape(-1, int(dim) + 1)
        assert (file[:, 1:].copy().view("<f4") == a).all()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
