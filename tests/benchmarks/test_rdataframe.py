"""Asking another Python for columns: what comes of it, and what if it ends."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from benchmarks import rdataframe
from benchmarks.truth import branch_of

# Speaks as rdataframe_user does, without ROOT: a column is told how it was asked for.
USER = """
import json, os, sys
import numpy as np
print("what ROOT says", file=sys.stderr)
told = {}
for line in sys.stdin:
    asked = json.loads(line)
    if "save" in asked:
        for number, (name, branch, decoder) in enumerate(told["columns"]):
            items = np.frombuffer(f"{branch} {decoder}".encode(), np.uint8)
            folder = os.path.join(asked["save"], name)
            np.save(folder + ".items.npy", items)
            np.save(folder + ".counts.npy", np.array([len(items), 0]))
    elif asked["local"] == "bad":
        sys.exit("cannot open the file")
    else:
        told = asked
    print("{}", flush=True)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    user = tmp_path / "user.py"
    user.write_text(USER)
    monkeypatch.setenv(rdataframe.SETTING, sys.executable)
    with ExitStack() as stack:
        found = rdataframe.started(stack, tmp_path, user)
        assert found is not None
        yield found
    assert found.process.returncode is not None


def test_columns_come_back_by_name_and_in_lists(root, tmp_path):
    names = ("PFCands_pt", "PFCandsRaw_packedDxy")
    read = rdataframe.script(root, tmp_path / "local.root", ["root://x//p.root"], names)
    found = read.arrays()
    assert found.fields == list(names)
    for name, decoder in zip(names, ("half", "code"), strict=True):
        first, second = found[name].to_list()
        assert bytes(first).decode() == f"{branch_of(name)} {decoder}"
        assert second == []


def test_its_last_words_are_told_when_it_ends(root, tmp_path):
    with pytest.raises(rdataframe.RootFailed, match=r"what ROOT says \| cannot open the file"):
        rdataframe.script(root, "bad", [], ["PFCands_pt"])
    with pytest.raises(rdataframe.RootFailed):
        rdataframe.script(root, tmp_path / "local.root", [], ["PFCands_pt"])


def test_no_other_python_is_asked_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(rdataframe.SETTING, raising=False)
    with ExitStack() as stack:
        assert rdataframe.started(stack, tmp_path) is None
