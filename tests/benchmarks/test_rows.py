"""Every benchmark runs at tiny size and gives the fields that it owes; nothing is timed here."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest

from benchmarks import registry
from benchmarks.__main__ import main
from benchmarks.measure import Row

# These take long even at tiny size: `make soak` runs them.
LONG = ("warm", "cold", "analysis", "clients", "growth", "joins")
ROOMS = [
    pytest.param(
        room,
        id=room.module,
        marks=pytest.mark.soak if room.module.rpartition(".")[2] in LONG else (),
    )
    for room in registry.ROOMS
]


@pytest.mark.parametrize("room", ROOMS)
def test_every_row_of_a_room_is_measured_at_tiny_size(room, tmp_path):
    names = [target.name for target in room.targets]
    assert main([*names, "--quick", "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert sorted(row["name"] for row in rows) == sorted(names)
    targets = {target.name: target for target in room.targets}
    for row in rows:
        assert list(row) == [field.name for field in fields(Row)]
        target = targets[row["name"]]
        assert (row["target"], row["direction"]) == (target.target, target.direction)
        assert 0 <= row["low"] <= row["ratio"] <= row["high"] < math.inf
        assert row["met"] == (
            row["ratio"] >= target.target
            if target.direction == ">="
            else row["ratio"] <= target.target
        )
        assert row["seconds"] >= 0
        assert row["peer_seconds"] >= 0


def test_no_two_rows_and_no_two_sizes_have_one_name():
    names = [target.name for room in registry.ROOMS for target in room.targets]
    assert len(names) == len(set(names))
    assert len(registry.sizes()) == sum(len(room.sizes) for room in registry.ROOMS)
