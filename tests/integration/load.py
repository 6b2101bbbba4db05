#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A short load on a mount by several processes at once: each makes, writes, maps, renames, lists, links, cuts and
removes files of a folder that all share. Arguments: DIRECTORY PROCESSES ROUNDS."""
import errno
import mmap
import os
import random
import sys

EXPECTED = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.ENODATA, errno.ESTALE)


def write(path, chance):
    with open(path, "wb") as f:
        f.write(chance.randbytes(chance.randrange(60000)))
        if chance.random() < 0.1:
            os.fsync(f.fileno())


def map_write(path, chance):  # a file that nobody makes shorter: that would be a SIGBUS
    with open(path + ".map", "ab+") as f:
        os.ftruncate(f.fileno(), 40000)
        with mmap.mmap(f.fileno(), 40000) as m:
            at = chance.randrange(39000)
            m[at:at + 100] = chance.randbytes(100)
            m.flush()


def reserve(path, chance):
    f = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(f, chance.randrange(1 << 20), 1 << 20)
    os.pwrite(f, b"x" * 5000, chance.randrange(1 << 20))
    os.close(f)


def note(path, chance):
    with open(path + ".md", "w") as f:
        f.write("a note about number %d, see [[%d]]\n" % (chance.randrange(9), chance.randrange(9)))


def read(path, chance):
    with open(path, "rb") as f:
        f.read()


def step(folder, chance):
    path, other = (os.path.join(folder, str(chance.randrange(12))) for _ in range(2))
    chance.choice((
        lambda: write(path, chance), lambda: map_write(path, chance), lambda: reserve(path, chance),
        lambda: note(path, chance), lambda: read(path, chance), lambda: os.listdir(folder),
        lambda: os.rename(path, other), lambda: os.link(path, other), lambda: os.unlink(path),
        lambda: os.truncate(path, chance.randrange(50000)), lambda: os.stat(path),
        lambda: os.setxattr(path, "user.x", b"y" * chance.randrange(2000)),
        lambda: os.mkdir(path + ".d"), lambda: os.rmdir(path + ".d")))()


def worker(folder, rounds, seed):
    chance = random.Random(seed)
    for _ in range(rounds):
        try:
            step(folder, chance)
        except OSError as e:
            if e.errno not in EXPECTED:
                raise


def main(folder, processes, rounds):
    os.makedirs(folder, exist_ok=True)
    children = []
    for seed in range(int(processes)):
        child = os.fork()
        if child == 0:
            try:
                worker(folder, int(rounds), seed)
            except OSError as e:
                print(e, file=sys.stderr)
                os._exit(1)
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))


main(*sys.argv[1:])
