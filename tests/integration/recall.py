#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks what a file brings to mind through the binary door and compares it with the others.

usage: recall.py same MNT PATH | refusals MNT PATH | dump MNT PATH | inode MNT NUMBER
"""
import errno
import fcntl
import json
import os
import struct
import subprocess
import sys

HEAD = struct.Struct("<2I2f14I2Q")  # struct mneme_ioc_recall
RESULT = struct.Struct("<QfI2HI")   # struct mneme_ioc_recalled
SIZE_MAX, NR_RECALL = 16376, 0x53
assert HEAD.size == 88 and RESULT.size == 24


def request(size=8192, version=1, seeds=(), decay=0.0, threshold=0.0, fields=(), reserved=0):
    """fields: hops, fan_out, nodes, limit, deadline_us, kinds, direction, flags."""
    fields = tuple(fields) + (0,) * (14 - len(fields))
    head = HEAD.pack(version, len(seeds), decay, threshold, *fields, reserved, 0)
    return (head + struct.pack(f"<{len(seeds)}Q", *seeds)).ljust(size, b"\0")


def ask(path, data):
    fd = os.open(path, os.O_RDONLY)
    try:
        buffer = bytearray(data)
        fcntl.ioctl(fd, 3 << 30 | len(buffer) << 16 | ord("M") << 8 | NR_RECALL, buffer)
    finally:
        os.close(fd)
    head, at, out = HEAD.unpack_from(buffer), HEAD.size, []
    flags, count, more, length, active = head[11:16]
    for _ in range(count):
        inode, activation, hops, path_length, via_count, via_length = RESULT.unpack_from(buffer, at)
        text = bytes(buffer[at + 24:at + 24 + path_length + via_length])
        via = text[path_length:].split(b"\0")[:-1]
        assert len(via) == via_count, via
        out.append(dict(path=text[:path_length].decode(), activation=f"{activation:.6f}", hops=hops,
                        via=[v.decode() for v in via]))
        at += 24 + path_length + via_length + 7 & ~7
    assert at - HEAD.size == length
    return out, more, flags, active


def rounded(results):
    return [dict(r, activation=f"{r['activation']:.6f}") for r in results]


def query(directory, wish):
    fd = os.open(directory + "/.mneme/query", os.O_RDWR)
    try:
        os.write(fd, json.dumps(wish).encode() + b"\n")
        answer = b""
        while piece := os.read(fd, 65536):
            answer += piece
        return json.loads(answer)
    finally:
        os.close(fd)


def bare(results):
    """Without what the graph knows of files besides, which is in JSON alone."""
    return [{k: v for k, v in r.items() if k not in ("confidence", "pinned")} for r in results]


def same(mnt, path):
    name = path.replace("/", "%2F")
    with open(f"{mnt}/.mneme/recall/{name}.json", encoding="utf-8") as f:
        want = rounded(json.load(f)["results"])
    assert want, "nothing comes to mind"
    assert rounded(query(mnt, {"recall": path})["results"]) == want
    tool = subprocess.run(["mneme", "recall", "--json", f"{mnt}/{path}"], capture_output=True, check=True)
    assert rounded(json.loads(tool.stdout)["results"]) == want
    inode = os.stat(f"{mnt}/{path}").st_ino
    found, more, flags, active = ask(f"{mnt}/{path}", request())
    want = bare(want)
    assert found == want and not more and not flags and active == len(want), (found, want)
    assert ask(mnt, request(seeds=[inode]))[0] == want
    with open(f"{mnt}/.mneme/search/" + json.dumps({"recall": path}).replace("/", "%2F") + ".json",
              encoding="utf-8") as f:
        assert bare(rounded(json.load(f)["results"])) == want
    # parameters mean the same
    wish = {"recall": path, "decay": 0, "hops": 2, "fan_out": 1, "direction": "out", "limit": 2,
            "kinds": ["explicit", "markdown"], "threshold": 0.02, "nodes": 100, "deadline_ms": 60000}
    fields = (2, 1, 100, 2, 60000000, 1 << 1 | 1 << 3, 1)
    narrow = bare(rounded(query(mnt, wish)["results"]))
    assert narrow and narrow != want
    assert ask(f"{mnt}/{path}", request(decay=-1.0, threshold=0.02, fields=fields))[0] == narrow
    # what does not fit is counted
    found, more, _, _ = ask(f"{mnt}/{path}", request(size=HEAD.size + 64))
    assert len(found) == 1 and more == len(want) - 1, (found, more)


def refused(error, path, data):
    try:
        ask(path, data)
    except OSError as e:
        assert e.errno == error, e
        return
    raise AssertionError(f"not refused: {data[:88]!r}")


def refusals(mnt, path):
    file = f"{mnt}/{path}"
    for bad in (request(version=2), request(reserved=1), request(decay=1.5), request(threshold=2.0),
                request(threshold=-1.0), request(fields=(17,)), request(fields=(0, 0, 40000)),
                request(fields=(0, 0, 0, 1001)), request(fields=(0, 0, 0, 0, 0, 1)),
                request(fields=(0, 0, 0, 0, 0, 1 << 5)), request(fields=(0, 0, 0, 0, 0, 0, 4)),
                request(fields=(0, 0, 0, 0, 0, 0, 0, 1)), request(fields=(0, 0, 0, 0, 60000001)),
                request(decay=float("nan")), request(size=80)[:80]):
        refused(errno.EINVAL, file, bad)
    refused(errno.EINVAL, mnt, request())  # of a directory nothing begins
    refused(errno.EINVAL, mnt, request(size=96, seeds=[1])[:88])
    refused(errno.E2BIG, mnt, request(seeds=range(1000, 1065)))
    assert ask(mnt, request(seeds=[1 << 40]))[0] == []
    for wish, word in (({"recall": path, "hops": 0}, "hops"), ({"recall": "nosuch"}, "No such file"),
                       ({"recall": path, "x": 1}, "x"), ({"recall": "notes"}, "directory")):
        answer = query(mnt, wish)
        assert word in answer["error"] and answer["errno"], answer


def dump(mnt, path):
    print(ask(f"{mnt}/{path}", request(size=SIZE_MAX, fields=(0, 0xffffffff, 0, 1000))))
    print(ask(mnt, request(seeds=[os.stat(f"{mnt}/{path}").st_ino])))
    print(query(mnt, {"recall": path, "limit": 1000, "direction": "in"}))
    print("these were the binary doors")


def inode(mnt, number):
    print(len(ask(mnt, request(seeds=[int(number)]))[0]))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
