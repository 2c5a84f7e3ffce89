"""Plans over a real catalogue of files that nobody opened: what a name depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from columnservice.catalogue.store import Catalogue
from columnservice.delivery import pieces
from columnservice.delivery.outline import choose, outline_of, parents_of
from columnservice.delivery.plan import ColumnRequest, Plan, plan
from columnservice.errors import DamagedFile, OutOfRange, RequestError, UnknownColumn
from columnservice.model import ColumnSet, Dataset, FileIdentity, FileRecord, LumiRange
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast
LOCAL = ColumnSet("1" * 32, (offered("run"), offered("Jet_pt", depth=1, shape="Jet")))
FAR = ColumnSet("2" * 32, (offered("rho"), offered("x", depth=1, shape="X")))
OTHER = ColumnSet("3" * 32, (offered("rho"), offered("x", depth=1, shape="X")))
LUMIS = LumiRange(1, 1, 10)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    made = Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    made.migrate()
    made.add_dataset(Dataset("far", "miniaod"))
    made.add_dataset(Dataset("near", "nanoaod", "far"))
    made.record_file("near", near(), LOCAL)
    made.record_file("far", record(1, LUMIS, columnset=FAR), FAR)
    yield made
    made.close()


def near() -> FileRecord:
    return record(7, LUMIS, columnset=LOCAL)


def planned(catalogue: Catalogue, *columns: str, start: int = 0, stop: int = 10) -> Plan:
    request = ColumnRequest("near", near().identity.uuid, start, stop, columns)
    return plan(outline_of(catalogue, "near", columns, near(), 5, {}), request)


def take(catalogue: Catalogue) -> str:
    return parents_of(catalogue, "far", near(), {}).take


@pytest.mark.parametrize(
    "change",
    [
        {"columnset": OTHER.digest},
        {"tree": "Events2"},
        {"mtime_seconds": 1},
        {"identity": FileIdentity("00000000-0000-0000-0000-000000000001", 999)},
        {"identity": FileIdentity("00000000-0000-0000-0000-000000000009", 1001)},
    ],
)
def test_whatever_changes_a_parent_changes_the_join_and_every_piece(catalogue, change):
    before, pieces_before = take(catalogue), set(planned(catalogue, "rho", "x").parts[0].pieces())
    changed = replace(record(1, LUMIS, columnset=FAR), **change)
    catalogue.record_file("far", changed, OTHER if "columnset" in change else FAR)
    assert take(catalogue) != before
    assert not pieces_before & set(planned(catalogue, "rho", "x").parts[0].pieces())


def test_a_parent_file_added_changes_the_join_even_if_it_holds_none_of_the_events(catalogue):
    before = take(catalogue)
    catalogue.record_file("far", record(2, LumiRange(1, 5, 5), columnset=FAR), FAR)
    assert take(catalogue) != before


def test_a_file_of_other_luminosity_blocks_is_no_candidate(catalogue):
    before = take(catalogue)
    catalogue.record_file("far", record(2, LumiRange(2, 1, 10), columnset=FAR), FAR)
    assert take(catalogue) == before


def test_another_version_of_the_decoders_gives_contents_other_names(catalogue, monkeypatch):
    before = planned(catalogue, "x").parts[0].task
    monkeypatch.setattr(pieces, "DECODE_VERSION", pieces.DECODE_VERSION + 1)
    after = planned(catalogue, "x").parts[0].task
    assert after.columns[0].piece != before.columns[0].piece
    assert (after.proof, after.offsets) == (before.proof, before.offsets)


def test_every_parent_file_is_read_by_its_own_recipe(catalogue):
    drifted = offered("rho")
    assert drifted.recipe is not None
    recipe = replace(drifted.recipe, decode="half")
    layout = ColumnSet("4" * 32, (replace(drifted, recipe=recipe), FAR.columns[1]))
    catalogue.record_file("far", record(2, LUMIS, columnset=layout), layout)
    (work,) = planned(catalogue, "rho").parts[0].task.columns
    found = planned(catalogue, "rho").outline.parents
    assert [r.decode for r in work.recipes] == [
        "half" if r.columnset == layout.digest else "as_is" for r in found
    ]
    assert {r.decode for r in work.recipes} == {"as_is", "half"}


def test_parts_cover_the_range_and_lie_in_one_partition_each(catalogue):
    found = planned(catalogue, "rho", start=3, stop=7)
    assert [(p.start, p.stop) for p in found.parts] == [(3, 5), (5, 7)]
    assert [(p.task.partition.start, p.task.partition.stop) for p in found.parts] == [
        (0, 5),
        (5, 10),
    ]


def test_files_of_the_parent_dataset_that_cannot_be_used_are_counted(catalogue):
    assert planned(catalogue, "rho").outline.unusable_parents == 0
    catalogue.add_files("far", ["/pending.root", "/bad.root"])
    assert planned(catalogue, "rho").outline.unusable_parents == 2
    catalogue.record_failure("far", "/bad.root", DamagedFile("It is damaged."))
    assert planned(catalogue, "rho").outline.unusable_parents == 2
    catalogue.remove_files("far", ["/pending.root", "/bad.root"])
    assert planned(catalogue, "rho").outline.unusable_parents == 0


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 11), (11, 11)])
def test_rows_that_the_file_does_not_have_are_refused(catalogue, start, stop):
    with pytest.raises(OutOfRange, match="which has 10"):
        planned(catalogue, "rho", start=start, stop=stop)


def test_what_cannot_be_asked_for_is_told_by_name(catalogue):
    with pytest.raises(UnknownColumn, match="nearest: rho"):
        planned(catalogue, "rhoo")
    with pytest.raises(RequestError, match="stands in the local files of near already"):
        planned(catalogue, "rho", "Jet_pt")


def test_a_column_asked_for_twice_is_sent_once():
    assert [c.name for c in choose(FAR.columns, ("x", "rho", "x"), "near")] == ["x", "rho"]
