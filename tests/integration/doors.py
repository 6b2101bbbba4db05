#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks one question through every door of a mount and compares the answers.

usage: doors.py same MNT STORE QUESTION | batch MNT | refusals MNT | query MNT
       doors.py line DIR REQUEST | dump DIR QUESTION
"""
import errno
import fcntl
import json
import os
import struct
import subprocess
import sys

HEAD = struct.Struct("<8I2Q")         # struct mneme_ioc_search
RESULT = struct.Struct("<3Q4I5f2H")   # struct mneme_ioc_result
BATCH = struct.Struct("<2I3Q")        # struct mneme_ioc_batch
SIZE_MAX = 16376
NR_SEARCH, NR_BATCH = 0x40, 0x41


def command(number, size):
    return 3 << 30 | size << 16 | ord("M") << 8 | number


def request(line, size, vector=()):
    line = line.encode()
    tail = line + b"\0" * (-len(line) % 4) * bool(vector) + struct.pack(f"<{len(vector)}f", *vector)
    head = HEAD.pack(1, size, len(line), len(vector), 0, 0, 0, 0, 0, 0)
    return (head + tail).ljust(size, b"\0")


def results(answer):
    """Count, more and error, and the results as the JSON doors name them."""
    _, _, _, _, count, more, partial, error, _, _ = HEAD.unpack_from(answer)
    at, out = HEAD.size, []
    for _ in range(count):
        f = RESULT.unpack_from(answer, at)
        path = answer[at + 64:at + 64 + f[12]]
        snippet = answer[at + 64 + f[12]:at + 64 + f[12] + f[13]]
        out.append(dict(path=path.decode(), snippet=snippet.decode(), begin=f[1], end=f[2], part=f[3],
                        line=f[4], line_end=f[5], line_match=f[6], score=f[7], cosine=f[8],
                        bm25=f[9], cosine_part=f[10], bm25_part=f[11]))
        at += 64 + (f[12] + f[13] + 7 & ~7)
    return count, more, error, out


def ask_ioctl(directory, number, data):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        buffer = bytearray(data)
        fcntl.ioctl(fd, command(number, len(buffer)), buffer)
        return bytes(buffer)
    finally:
        os.close(fd)


def ask_file(directory, data):
    """Writes to .mneme/query and reads on."""
    fd = os.open(directory + "/.mneme/query", os.O_RDWR)
    try:
        for at in range(0, len(data), 100000):
            os.write(fd, data[at:at + 100000])
        answer = b""
        while piece := os.read(fd, 65536):
            answer += piece
        return answer
    finally:
        os.close(fd)


def encoded(question):
    return question.replace("%", "%25").replace("/", "%2F")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def rounded(result, keys=("score", "cosine", "bm25", "cosine_part", "bm25_part")):
    return {k: (f"{v:.4f}".replace("-0.0000", "0.0000") if k in keys else v) for k, v in result.items()
            if not k.endswith("_rank")}


def same(mnt, store, question):
    name = encoded(question)
    first = read(f"{mnt}/.mneme/search/{name}.json")
    want = json.loads(first)
    assert want["results"], "nothing is found"
    limited = question if "limit:" in question else question + " limit:20"
    tool = ["mneme", "search", "--json", "-n", "7" if "limit:7" in question else "100"]
    line = ask_file(mnt, (question + "\n").encode())
    assert line == first, ("query file", line, first)
    asked = ask_file(mnt, json.dumps({"query": question}).encode() + b"\n")
    assert asked == first, ("query file, JSON", asked, first)
    for args in (["-C", mnt], ["-S", store]):
        said = subprocess.run(tool + args + ["--", question], capture_output=True, check=True).stdout
        assert json.loads(said) == want, (args, said.decode(), first.decode())
    text = read(f"{mnt}/.mneme/search/{name}.txt")
    attribute = os.getxattr(mnt, "user.mneme.search:" + question)
    assert attribute == text, ("attribute", attribute, text)
    twenty = want["results"][:20]
    rows = [row.split("\t") for row in text.decode().splitlines()]
    assert [r[1] for r in rows] == [f"{r['path']}:{r['line_match']}" for r in twenty], rows
    assert [r[2] for r in rows] == [f"{r['begin']}-{r['end']}" for r in twenty], rows
    links = sorted(os.listdir(f"{mnt}/.mneme/search/{name}"))
    targets = [os.readlink(f"{mnt}/.mneme/search/{name}/{l}") for l in links]
    assert targets == ["../../../" + r["path"] for r in twenty], targets
    count, more, _, found = results(ask_ioctl(mnt, NR_SEARCH, request(limited, SIZE_MAX)))
    assert more == 0 and count == len(twenty)
    assert [rounded(r) for r in found] == [rounded(r) for r in twenty], (found, twenty)
    whole = ask_file(mnt, request(limited, HEAD.size + len(limited.encode())))
    assert results(whole)[3] == found, "binary query file"


def batch(mnt):
    lines = ["heron limit:2", "reeds mode:lexical", "mode:none", "roof"]
    sizes = [4096, 4096, 512, 64 + 512]
    data = BATCH.pack(1, len(lines), 0, 0, 0)
    data += b"".join(request(l, s) for l, s in zip(lines, sizes))
    answer, at = ask_ioctl(mnt, NR_BATCH, data), BATCH.size
    for line, size in zip(lines, sizes):
        count, more, error, found = results(answer[at:at + size])
        at += size
        if line == "mode:none":
            assert error == errno.EINVAL and not count
            continue
        single = results(ask_ioctl(mnt, NR_SEARCH, request(line, 8192)))
        assert not error and found == single[3][:count] and count + more == single[0], (line, found)
        assert (more > 0) == (line == "roof"), (line, count, more)
    # by vector: that of a file finds the file
    vector = os.getxattr(mnt + "/notes/reeds.txt", "user.mneme.vector")
    floats = struct.unpack(f"<{len(vector) // 4}f", vector)
    _, _, _, found = results(ask_ioctl(mnt, NR_SEARCH, request("limit:3", 8192, floats)))
    assert found[0]["path"] == "notes/reeds.txt" and found[0]["cosine"] > 0.99, found[0]
    said = json.loads(ask_file(mnt, json.dumps({"vector": floats, "limit": 3}).encode() + b"\n"))
    assert [r["path"] for r in said["results"]] == [r["path"] for r in found], said


def refused(error, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == error, (args, e)
        return
    raise AssertionError(f"not refused: {args}")


def refusals(mnt):
    good = request("heron", 4096)
    for offset, value in ((0, 2), (4, 8), (4, 5000), (8, 5000), (12, 5000), (12, 1 << 31), (28, 1), (32, 1)):
        bad = bytearray(good)
        struct.pack_into("<I", bad, offset, value)
        refused(errno.EINVAL, ask_ioctl, mnt, NR_SEARCH, bad)
    refused(errno.EINVAL, ask_ioctl, mnt, NR_SEARCH, good[:40])
    refused(errno.EINVAL, ask_ioctl, mnt, NR_SEARCH, request("", 4096))
    refused(errno.EINVAL, ask_ioctl, mnt, NR_SEARCH, request("", 4096, (1.0, 2.0)))
    fd = os.open(mnt + "/notes/reeds.txt", os.O_RDONLY)
    refused(errno.ENOTDIR, fcntl.ioctl, fd, command(NR_SEARCH, 4096), bytearray(good))
    os.close(fd)
    for count, tail in ((2, good), (1, good[:-8]), (1, b"")):
        refused(errno.EINVAL, ask_ioctl, mnt, NR_BATCH, BATCH.pack(1, count, 0, 0, 0) + tail)
    for text, word in (("{\n", "JSON"), ('{"quary": "x"}\n', "quary"), ('{"query": 1}\n', "query"),
                       ('{"query": "x", "limit": "a"}\n', "limit"), ('{"vector": []}\n', "vector"),
                       ('{"vector": [1, "x"]}\n', "vector"), ("\n", "empty"), ("mode:x\n", "mode"),
                       ('{"text": "a", "like": "notes/reeds.txt"}\n', "exclude"),
                       ('{"like": "nosuch"}\n', "No such file"), ("x" * 5000 + "\n", "longer"),
                       ("[" * 100000 + "\n", "longer"), ('{"a":' * 5000 + "\n", "JSON")):
        answer = json.loads(ask_file(mnt, text.encode()))
        assert word in answer["error"] and answer["errno"], (text[:40], answer)


def query(mnt):
    door = mnt + "/.mneme/query"
    line = b'{"text": "heron", "limit": 100}\n'
    want = json.loads(ask_file(mnt, line))
    assert len(want["results"]) >= 5, want
    # in pieces, and of every length around a page: what is read back is what was written, then the answer
    for pad in (0, 1, 4094 - len(line), 4095 - len(line), 4096 - len(line), 8192 - len(line), 70000):
        padded = b'{"text": "heron",' + b" " * pad + b' "limit": 100}\n'
        fd = os.open(door, os.O_RDWR)
        for at in range(0, len(padded), 1000):
            assert os.write(fd, padded[at:at + 1000]) == len(padded[at:at + 1000])
        answer = b""
        while piece := os.read(fd, 4096):
            answer += piece
        assert json.loads(answer) == want, (pad, answer)
        assert os.fstat(fd).st_size == len(padded) + len(answer)
        assert os.pread(fd, len(padded), 0) == padded
        refused(errno.EINVAL, os.write, fd, b"another\n")  # one request an open
        os.close(fd)
    fd = os.open(door, os.O_RDWR)
    assert os.read(fd, 10) == b"" and os.write(fd, b"her") == 3 and os.read(fd, 10) == b""
    os.close(fd)
    with open(door, "wb") as f:  # cut when it is opened, as shells do
        f.write(b"heron\n")
    refused(errno.EPERM, os.truncate, door, 7)
    refused(errno.EPERM, os.chmod, door, 0o777)


def line(directory, text):
    print(ask_file(directory, text.encode() + b"\n").decode(errors="replace"))


def dump(directory, question):
    """All that the binary doors tell, by words and by the vector of the question's best answer."""
    line(directory, question)
    line(directory, json.dumps({"text": question, "mode": "vector", "limit": 1000}))
    print(results(ask_ioctl(directory, NR_SEARCH, request(question + " limit:1000", SIZE_MAX))))
    one = request(question + " mode:vector", 8192)
    answer = ask_ioctl(directory, NR_BATCH, BATCH.pack(1, 1, 0, 0, 0) + one)
    print(results(answer[BATCH.size:]))
    print(results(ask_file(directory, request(question, HEAD.size + len(question.encode())))))
    best = json.loads(ask_file(directory, question.encode() + b"\n"))["results"]
    for found in best[:1]:
        vector = os.getxattr(directory + "/" + found["path"], "user.mneme.vector")
        floats = struct.unpack(f"<{len(vector) // 4}f", vector)
        print(results(ask_ioctl(directory, NR_SEARCH, request("limit:100", SIZE_MAX, floats))))
    print("these were the binary doors")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
