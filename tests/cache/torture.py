"""What the processes do that the tests of the cache start: mistreat one directory, or die in it."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from columnservice.cache import PieceCache, writing
from columnservice.cache.disk import PieceDisk
from columnservice.cache.shelf import Shelf
from tests.cache.support import key_of, same, truth

NUMBERS = 60
LIMIT_BYTES = 400_000
ENDLESS = sys.maxsize


def rows_of(number: int) -> int:
    return 50 + 60 * number


def mistreat(directory: Path, seed: int, steps: int, told: Connection) -> None:
    """Use a cache at random and compare what comes out; sends the count of faults so far."""
    cache = PieceCache(directory, LIMIT_BYTES, open_maps=10, recheck_seconds=0.01, touch_entries=9)
    random = np.random.default_rng(seed)
    faults = 0
    for _ in range(steps):
        number, chance = int(random.integers(NUMBERS)), random.random()
        expected = truth(number, rows_of(number))
        if chance < 0.55:
            batch = cache.get(key_of(number))
            faults += batch is not None and not same(batch, expected)
        elif chance < 0.90:
            faults += not cache.put(key_of(number), expected)
        elif chance < 0.96:
            cache.drop([key_of(number)])
        elif chance < 0.98:
            cache.evict(int(random.integers(LIMIT_BYTES)))
        else:
            faults += not cache.verify().clean
        told.send(faults)
    cache.close()


def _stop(told: Connection) -> None:
    """Say that the point is reached, and go no further."""
    told.send("there")
    signal.pause()


def die_while_writing(told: Connection) -> None:
    """Half of the file is written."""
    write = writing.write_piece

    def half(path: Path, key: str, batch: object) -> int:
        write(path, key, batch)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        _stop(told)
        return 0

    writing.write_piece = half


def die_when_written(told: Connection) -> None:
    """The file is complete, in the incoming directory."""
    Shelf.enter = lambda *_: _stop(told)


def die_when_adopted(told: Connection) -> None:
    """The file is in its place, and no entry names it."""
    store = PieceDisk.store

    def adopt(self: PieceDisk, *args: object, **named: object) -> object:
        found = store(self, *args, **named)
        _stop(told)
        return found

    PieceDisk.store = adopt


def die_before_commit(told: Connection) -> None:
    """The entry is made and others are evicted, in a transaction that never ends."""
    cull = Shelf._cull

    def entered(self: Shelf, *args: object) -> None:
        cull(self, *args)
        _stop(told)

    Shelf._cull = entered


def die_after_commit(told: Connection) -> None:
    """The entry is there; the files of evicted ones are not removed yet."""
    PieceDisk.remove = lambda *_: _stop(told)


def die(directory: Path, limit_bytes: int, where: str, number: int, told: Connection) -> None:
    """Put a Piece and stop at a point on the way, to be killed there."""
    cache = PieceCache(directory, limit_bytes, sweep=False)
    globals()[where](told)
    cache.put(key_of(number), truth(number))


def die_among_several(directory: Path, limit_bytes: int, number: int, told: Connection) -> None:
    """Write three Pieces together and stop when the second is in its place, to be killed there."""
    cache = PieceCache(directory, limit_bytes, sweep=False)
    store, adopted = PieceDisk.store, []

    def adopt(self: PieceDisk, *args: object, **named: object) -> object:
        found = store(self, *args, **named)
        adopted.append(found)
        if len(adopted) == 2:
            _stop(told)
        return found

    PieceDisk.store = adopt
    with cache.writing() as together:
        for n in range(number, number + 3):
            together.write(key_of(n), truth(n))
