"""An independent walk over unsplit objects: struct and recursion instead of a compiled kernel."""

from __future__ import annotations

import struct

CODES = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H",
    "uint32": "I", "uint64": "Q", "float32": "f", "float64": "d", "bool": "?",
}  # fmt: skip


class Refused(Exception):
    """The bytes are not what the program says."""


def demand(condition):
    if not condition:
        raise Refused


class Bytes:
    """One entry's bytes and how far they were read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, code: str):
        try:
            (found,) = struct.unpack_from(f">{code}", self.data, self.at)
        except struct.error:
            raise Refused from None
        self.at += struct.calcsize(f">{code}")
        return found

    def end(self) -> int:
        """Where the object that begins here ends; stands behind its byte count then."""
        count = self.number("I")
        demand(count & 0x40000000)
        found = self.at + (count & 0x3FFFFFFF)
        demand(found <= len(self.data))
        return found

    def skip(self) -> None:
        self.at = self.end()

    def version(self, told: str) -> None:
        version, checksum = map(int, told.split(":"))
        if (found := self.number("H")) != 0:
            demand(found == version)
        else:
            demand(self.number("I") == checksum)

    def items(self, code: str) -> list:
        return [self.number(code) for _ in range(self.number("I"))]

    def pointer(self) -> None:
        mark = self.number("I")
        if mark & 0x40000000:
            self.at -= 4
            self.skip()


def _listed(entry: Bytes, code: str, objects: int) -> list:
    end = entry.end()
    demand(not entry.number("H") & 0x4000)
    found = [entry.items(code) for _ in range(objects)]
    demand(entry.at == end)
    return found


def _level(entry: Bytes, words: list[str], code: str, objects: int, nested: bool) -> list:
    """Walk words up to a closing one, which is taken off; what one of them takes."""
    found = []
    while words:
        word = words.pop(0)
        letter, told = word[0], word[1:]
        if letter == ")":
            break
        if letter == "F":
            entry.at += int(told) * objects
        elif letter in "CE":
            each = 1 if letter == "C" and not nested else objects
            for _ in range(int(told) * each):
                entry.skip()
        elif letter == "P":
            for _ in range(int(told) * objects):
                entry.pointer()
        elif letter == "T":
            found = [entry.number(code) for _ in range(objects)]
        elif letter == "L":
            found = _listed(entry, code, objects)
        else:
            rest: list[str] = []
            for _ in range(objects):
                rest = list(words)
                end = entry.end()
                entry.version(told)
                found += _level(entry, rest, code, 1, True)
                demand(entry.at == end)
            words[:] = rest
        demand(entry.at <= len(entry.data))
    return found


def walked(data: bytes, program: str, dtype: str, vectors: int = 1) -> list[list]:
    """What a program takes from one entry: a list of values for each of its vectors."""
    words = program.split()
    entry, code = Bytes(data), CODES[dtype]
    demand(entry.end() == len(data))
    if words[0][0] == "I":
        demand(not entry.number("H") & 0x4000)
        lists = [entry.items(code) for _ in range(vectors)]
        demand(entry.at == len(data))
        return lists
    if not entry.number("H") & 0x4000:
        demand([entry.number("I") for _ in range(vectors)] == [0] * vectors)
        demand(entry.at == len(data))
        return [[] for _ in range(vectors)]
    entry.version(words[0][1:])
    found = []
    for _ in range(vectors):
        count = entry.number("I")
        demand(count <= len(data))
        found.append(_level(entry, words[1:], code, count, False) if count else [])
    demand(entry.at == len(data))
    return found
