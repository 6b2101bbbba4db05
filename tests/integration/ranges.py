#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random writes, reservations, holes and truncates on one file against a model of its chunks: bytes, the
blocks that stat(2) shows, data and holes. Arguments: FILE STATE OPERATIONS SEED, or FILE STATE alone to compare
the file with what the model was when it was last synced."""
import ctypes
import errno
import os
import pickle
import random
import sys

CHUNK, CHUNKS = 16384, 200
KEEP, PUNCH, ZERO = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Model:
    """Of each chunk: None, a hole; 0, set aside; else the bytes that are there."""

    def __init__(self):
        self.bytes, self.chunks = bytearray(), [None] * (CHUNKS + 1)

    def parts(self, offset, length):
        while length:
            inside = offset % CHUNK
            part = min(CHUNK - inside, length)
            yield offset // CHUNK, inside, inside + part
            offset, length = offset + part, length - part

    def grow(self, size):
        self.bytes.extend(bytes(max(0, size - len(self.bytes))))

    def write(self, offset, data):
        self.grow(offset + len(data))
        self.bytes[offset:offset + len(data)] = data
        for i, _, end in self.parts(offset, len(data)):
            self.chunks[i] = CHUNK if self.chunks[i] == 0 else max(self.chunks[i] or 0, end)

    def clear(self, offset, length):
        end = min(offset + length, len(self.bytes))
        self.bytes[offset:end] = bytes(max(0, end - offset))
        for i, first, last in self.parts(offset, length):
            there = self.chunks[i]
            if last - first == CHUNK:
                self.chunks[i] = None
            elif there and first < there <= last:
                self.chunks[i] = first or None

    def reserve(self, offset, length):
        for i, _, end in self.parts(offset, length):
            if self.chunks[i] is None:
                self.chunks[i] = 0
            elif self.chunks[i]:
                self.chunks[i] = max(self.chunks[i], end)

    def cut(self, size):
        if size < len(self.bytes):
            self.clear(size, (CHUNKS + 1) * CHUNK - size)
            del self.bytes[size:]
        self.grow(size)

    def blocks(self):
        return sum(32 if c == 0 else (c + 511) // 512 for c in self.chunks if c is not None)

    def data(self):
        """Runs of chunks with bytes."""
        runs, size = [], len(self.bytes)
        for i in range((size + CHUNK - 1) // CHUNK):
            if not self.chunks[i]:
                continue
            start, end = i * CHUNK, min(size, (i + 1) * CHUNK)
            if runs and runs[-1][1] == start:
                runs[-1][1] = end
            else:
                runs.append([start, end])
        return runs


def data_of(fd):
    runs, at = [], 0
    while True:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO, e
            return runs
        at = os.lseek(fd, start, os.SEEK_HOLE)
        runs.append([start, at])


def compare(fd, model, said, whole):
    st = os.fstat(fd)
    assert st.st_size == len(model.bytes), (said, "size", st.st_size, len(model.bytes))
    assert st.st_blocks == model.blocks(), (said, "blocks", st.st_blocks, model.blocks())
    if whole:
        assert data_of(fd) == model.data(), (said, "data", data_of(fd), model.data())
        assert os.pread(fd, CHUNK * CHUNKS, 0) == model.bytes, (said, "bytes")


def operate(fd, model, random):
    offset = random.randrange(CHUNK * CHUNKS)
    length = 1 + random.randrange(min(CHUNK * random.choice((1, 3, 40, 200)), CHUNK * CHUNKS - offset))
    if random.random() < 0.5:  # whole chunks
        offset, length = offset // CHUNK * CHUNK, (length + CHUNK - 1) // CHUNK * CHUNK
        length = min(length, CHUNK * CHUNKS - offset)
    kind = random.choice(("write", "write", "reserve", "reserve", "keep", "punch", "zero", "cut"))
    said = (kind, offset, length)
    if kind == "write":
        length = min(length, 300000)
        data = random.randbytes(length)
        assert os.pwrite(fd, data, offset) == length, said
        model.write(offset, data)
    elif kind in ("reserve", "keep"):
        fallocate(fd, KEEP if kind == "keep" else 0, offset, length)
        model.reserve(offset, length)
        if kind == "reserve":
            model.grow(offset + length)
    elif kind == "punch":
        fallocate(fd, PUNCH | KEEP, offset, length)
        model.clear(offset, length)
    elif kind == "zero":
        fallocate(fd, ZERO, offset, length)
        model.clear(offset, length)
        model.reserve(offset, length)
        model.grow(offset + length)
    else:
        os.ftruncate(fd, offset)
        model.cut(offset)
    return said


def main(path, state, operations=None, seed=0):
    # past the page cache: what is written is what is there, no page more
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    model = Model()
    if os.path.exists(state):
        with open(state, "rb") as f:
            model = pickle.load(f)
        compare(fd, model, "at the start", True)
    if operations is None:
        return
    chance = random.Random(int(seed))
    for i in range(int(operations)):
        said = operate(fd, model, chance)
        compare(fd, model, (i, said), i % 10 == 0)
    compare(fd, model, "at the end", True)
    os.fsync(fd)
    with open(state, "wb") as f:
        pickle.dump(model, f)


main(*sys.argv[1:])
