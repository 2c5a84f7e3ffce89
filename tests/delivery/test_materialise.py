"""What is refused while Pieces are made: other joins, other types, counts that contradict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from columnservice.alignment.takeindex import TakeIndex, write_takeindex
from columnservice.cache import PieceCache, PieceKey
from columnservice.delivery import check as checking
from columnservice.delivery import materialise as room
from columnservice.delivery.materialise import materialise, open_take
from columnservice.delivery.tasks import CheckTask, ColumnWork, JoinTask, MaterialiseTask
from columnservice.delivery.tools import Tools, take_path
from columnservice.errors import CountsMismatch, DamagedFile, FileChanged
from columnservice.formats import find_tree, format_named
from columnservice.model import (
    FileIdentity,
    FileLocation,
    Member,
    OfferedColumn,
    Partition,
    Ragged,
    plain,
)
from columnservice.reader import FilePool
from columnservice.reader.rootfile import open_replica
from tests.integration.test_provenance import KEYS, write_nano

pytestmark = pytest.mark.fast
RHO = np.linspace(10, 30, 100).astype("f4")
MUONS = [[float(e)] * (e % 3) for e in range(100)]


def location_of(path):
    found = FileLocation(str(path), (str(path),), "Events")
    opened = open_replica(found, str(path))
    try:
        offered = format_named("nanoaod").offer(
            find_tree(opened.directory, format_named("nanoaod"))
        )
        return replace(found, identity=opened.identity), {o.column.name: o for o in offered}
    finally:
        opened.close()


@pytest.fixture
def parent(tmp_path):
    return location_of(write_nano(tmp_path / "parent.root", KEYS, RHO, MUONS))


@pytest.fixture
def tools(tmp_path):
    """A worker's tools, without threads."""
    pieces = PieceCache(tmp_path / "cache", 10**8)
    yield Tools(FilePool(4), pieces, tmp_path)
    pieces.close()


def index_of(identity, rows=100) -> TakeIndex:
    absent = np.zeros(rows, np.bool_)
    return TakeIndex(np.zeros(rows, np.int32), np.arange(rows), absent, 0, (identity,))


def task_of(location, *columns: OfferedColumn) -> MaterialiseTask:
    shapes = {o.column.shape for o in columns} - {None}
    return MaterialiseTask(
        local=FileIdentity("l", 1),
        lfn="/local.root",
        partition=Partition(0, 100),
        parents=(location,),
        parent_format="nanoaod",
        take="a" * 32,
        columns=tuple(
            ColumnWork(o.column, (o.recipe,), f"{n:032x}") for n, o in enumerate(columns)
        ),
        offsets=tuple((s, f"{n + 50:032x}") for n, s in enumerate(sorted(shapes))),
        proof="f" * 32,
    )


def test_pieces_hold_the_rows_that_the_join_names(parent, tools, tmp_path):
    location, offered = parent
    index = index_of(location.identity)
    order = np.random.default_rng(3).permutation(100)
    write_takeindex(take_path(tmp_path, "a" * 32), replace(index, row=order))
    task = task_of(location, offered["Muon_pt"], offered["fixedGridRhoFastjetAll"])
    assert materialise(tools, task).unkept == {}
    muons, rho = (tools.pieces.get(PieceKey(f"{n:032x}")).column("items") for n in (0, 1))
    assert muons.to_pylist() == [pt for e in order for pt in MUONS[e]]
    assert rho.to_numpy().tolist() == RHO[order].tolist()


def test_a_join_with_other_parents_or_fewer_rows_is_not_used(parent, tmp_path):
    location, _ = parent
    path = take_path(tmp_path, "a" * 32)
    write_takeindex(path, index_of(FileIdentity("other", 1)))
    with pytest.raises(FileChanged, match="gone or for other files"):
        open_take(tmp_path, "a" * 32, (location,), "/local.root", 100)
    write_takeindex(path, index_of(location.identity, rows=99))
    with pytest.raises(FileChanged):
        open_take(tmp_path, "a" * 32, (location,), "/local.root", 100)
    write_takeindex(path, index_of(location.identity))
    assert len(open_take(tmp_path, "a" * 32, (location,), "/local.root", 100)) == 100


@pytest.mark.parametrize("damage", ["cut", "zeroed", "emptied"])
def test_a_damaged_join_is_a_missing_one(parent, tmp_path, damage):
    location, _ = parent
    path = take_path(tmp_path, "a" * 32)
    write_takeindex(path, index_of(location.identity))
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-20], "zeroed": bytes(len(content)), "emptied": b""}[damage])
    with pytest.raises(FileChanged, match="gone or for other files"):
        open_take(tmp_path, "a" * 32, (location,), "/local.root", 100)


def test_a_branch_of_another_type_than_when_it_was_indexed_is_damage(parent, tools, tmp_path):
    location, offered = parent
    write_takeindex(take_path(tmp_path, "a" * 32), index_of(location.identity))
    rho = offered["fixedGridRhoFastjetAll"]
    drifted = replace(rho, column=replace(rho.column, members=(Member("", "float64"),)))
    with pytest.raises(DamagedFile, match="is not float64 as when it was indexed"):
        materialise(tools, task_of(location, drifted))
    assert tools.pieces.stats().entries == 0


def test_columns_of_one_shape_with_other_counts_are_refused(tools, tmp_path):
    path = write_nano(tmp_path / "parent.root", KEYS, RHO, MUONS, extra=True)
    location, offered = location_of(path)
    write_takeindex(take_path(tmp_path, "a" * 32), index_of(location.identity))
    read = room.read_parents

    def damaged(*args):
        found = read(*args)
        ones = {"Muon_zeta": plain(np.ones(100), np.arange(101))}
        return replace(found, columns=tuple({**part, **ones} for part in found.columns))

    task = task_of(location, offered["Muon_pt"], offered["Muon_zeta"])
    materialise(tools, task)
    assert tools.pieces.stats().entries == 4
    tools.pieces.evict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "read_parents", damaged)
        with pytest.raises(CountsMismatch, match="Muon_pt and Muon_zeta hold different numbers"):
            materialise(tools, task)
    assert tools.pieces.stats().entries == 0


def test_the_first_item_of_an_empty_list_is_no_value():
    ragged = Ragged((np.array([0, 2, 2, 3]),), {"": np.array([5.0, 6.0, 7.0])})
    first = checking._number_per_event(ragged, True)
    assert first.content["held"].tolist() == [True, False, True]
    assert first.content[""][[0, 2]].tolist() == [5.0, 7.0]


def test_events_without_a_first_item_say_nothing_about_the_sample(tools, tmp_path, monkeypatch):
    fewer = [muons[:1] if e % 2 else [] for e, muons in enumerate(MUONS)]
    local, mine = location_of(write_nano(tmp_path / "local.root", KEYS, RHO, fewer))
    parent, above = location_of(write_nano(tmp_path / "parent.root", KEYS, RHO, MUONS))
    pair = ("w", ("Muon_pt", True), ("Muon_pt", True))
    monkeypatch.setattr(checking, "_pairs", lambda _: [pair])
    join = JoinTask(local, "nanoaod", (parent,), "nanoaod", "a" * 32)
    task = CheckTask(join, tuple(mine.values()), (tuple(above.values()),), 1000)
    (result,) = checking._compare(tools, task, index_of(parent.identity))
    both = sum(1 for e in range(100) if fewer[e] and MUONS[e])
    assert (result.compared, result.agreed) == (both, both)
