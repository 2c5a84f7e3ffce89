"""What a ROOT user writes: an RDataFrame over the local file, with the parents as indexed friend.

Runs in a Python of its own that has ROOT and NumPy, and is told what to do line by line. Knows
nothing of this package, nor what is measured.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is an alpha version
    import ROOT

# Big-endian numbers within the bytes of edm::EventAuxiliary. An index needs expressions of the same
# name in both trees; events have numbers of their own, so luminosity blocks are not needed.
WORDS = {"run": (35, 39), "event": (43, 51)}
DECODERS = """
#include <cstring>
template <typename T> ROOT::RVecF bench_half(const ROOT::RVec<T>& codes) {
  ROOT::RVecF found(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint16_t code = codes[i];
    const uint32_t sign = uint32_t(code & 0x8000) << 16, body = code & 0x7fff;
    uint32_t bits = (body << 13) + (112u << 23);
    if (body >= 0x7c00) bits += 112u << 23;
    if (body < 0x400) {
      const float small = body * 0x1p-24f;
      std::memcpy(&bits, &small, 4);
    }
    bits |= sign;
    std::memcpy(&found[i], &bits, 4);
  }
  return found;
}
template <typename T> ROOT::RVecF bench_eta(const ROOT::RVec<T>& codes) {
  ROOT::RVecF found(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) found[i] = float(int16_t(codes[i])) * 6.f / 32767.f;
  return found;
}
template <typename T> ROOT::RVec<T> bench_code(const ROOT::RVec<T>& codes) { return codes; }
template <typename T> size_t bench_total(const std::vector<ROOT::RVec<T>>& lists) {
  size_t total = 0;
  for (auto& list : lists) total += list.size();
  return total;
}
template <typename T>
void bench_flat(const std::vector<ROOT::RVec<T>>& lists, void* counts, void* items) {
  auto* count = static_cast<int64_t*>(counts);
  auto* item = static_cast<T*>(items);
  for (auto& list : lists) {
    *count++ = list.size();
    item = std::copy(list.begin(), list.end(), item);
  }
}
"""
ITEMS = {
    "Float_t": "float32", "float": "float32", "Int_t": "int32", "int": "int32",
    "UInt_t": "uint32", "unsigned int": "uint32", "Short_t": "int16", "short": "int16",
    "UShort_t": "uint16", "unsigned short": "uint16", "UChar_t": "uint8", "unsigned char": "uint8",
    "Char_t": "int8", "char": "int8",
}  # fmt: skip


def _word(start: int, stop: int) -> str:
    """A big-endian number in the bytes, as a formula of a tree."""
    parts = (f"(EventAuxiliary[{i}]&255)*{256 ** (stop - 1 - i)}" for i in range(start, stop))
    return "+".join(parts)


def read(local: str, parents: list[str], columns: list[list[str]]) -> dict[str, tuple[Any, str]]:
    """The columns of the local file's events: vectors of lists, and what the items are.

    Args:
        local: path of the file whose events are wanted.
        parents: URLs.
        columns: name, branch and decoder of each.
    """
    events, friend = ROOT.TChain("Events"), ROOT.TChain("Events")
    events.Add(local)
    for parent in parents:
        friend.Add(parent)
    for name, (start, stop) in WORDS.items():
        friend.SetAlias(name, _word(start, stop))
    index = ROOT.TTreeIndex(friend, "run", "event")
    ROOT.SetOwnership(index, False)  # the chain's from here on
    friend.SetTreeIndex(index)
    events.AddFriend(friend, "parent")
    frame = ROOT.RDataFrame(events)
    taken = {}
    for name, branch, decoder in columns:
        code = f"code_{name}"
        frame = frame.Alias(code, f"parent.{branch}").Define(name, f"bench_{decoder}({code})")
        kind = frame.GetColumnType(name)
        taken[name] = frame.Take[kind](name), kind
    return {
        name: (result.GetValue(), kind.partition("<")[2].rpartition(">")[0].strip())
        for name, (result, kind) in taken.items()
    }


def save(path: str, found: dict[str, tuple[Any, str]]) -> None:
    """Write counts and items of columns, each to a file of NumPy's in a folder."""
    for name, (lists, kind) in found.items():
        counts = np.empty(lists.size(), np.int64)
        items = np.empty(ROOT.bench_total[kind](lists), ITEMS[kind])
        ROOT.bench_flat[kind](lists, counts, items)
        np.save(Path(path, f"{name}.counts.npy"), counts)
        np.save(Path(path, f"{name}.items.npy"), items)


def main() -> None:
    """Do what each line of the standard input says, and answer with a line."""
    # What ROOT prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ROOT.gInterpreter.Declare(DECODERS)
    # Else it takes a server on this host for a short way to a path of this host.
    ROOT.gEnv.SetValue("Path.ForceRemote", 1)
    found: dict[str, tuple[Any, str]] = {}
    for line in sys.stdin:
        told = json.loads(line)
        if "save" in told:
            save(told["save"], found)
        else:
            found.clear()
            found = read(told["local"], told["parents"], told["columns"])
        answers.write("{}\n")
        answers.flush()


if __name__ == "__main__":
    main()
