"""Plans that are remembered: the very same while nothing changes, never one that is out of date."""

from __future__ import annotations

from dataclasses import replace

import pytest

from columnservice.catalogue.store import Catalogue
from columnservice.delivery import plans
from columnservice.delivery.outline import Outline, outline_of
from columnservice.delivery.plan import ColumnRequest, plan
from columnservice.delivery.plans import Planned, Plans, planned
from columnservice.errors import DamagedFile, OutOfRange
from columnservice.model import ColumnSet, Dataset, LumiRange
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast
LOCAL = ColumnSet("1" * 32, (offered("run"),))
FAR = ColumnSet("2" * 32, (offered("rho"),))
LUMIS = LumiRange(1, 1, 10)
NAMES = ("near", "far")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'catalogue.sqlite'}"


@pytest.fixture
def catalogue(url):
    made = Catalogue(url)
    made.migrate()
    made.add_dataset(Dataset("far", "miniaod"))
    made.add_dataset(Dataset("near", "nanoaod", "far"))
    made.record_file("near", record(7, LUMIS, columnset=LOCAL), LOCAL)
    made.record_file("far", record(1, LUMIS, columnset=FAR), FAR)
    yield made
    made.close()


def request(stop: int = 10) -> ColumnRequest:
    local = record(7, LUMIS, columnset=LOCAL)
    return ColumnRequest("near", local.identity.uuid, 0, stop, ("rho",))


def outline(catalogue: Catalogue) -> Outline:
    local = record(7, LUMIS, columnset=LOCAL)
    return outline_of(catalogue, "near", ("rho",), local, 5, {})


def made(catalogue: Catalogue, known: Plans, asked: ColumnRequest) -> Planned:
    return known.make(asked, NAMES, lambda: outline(catalogue))


def test_the_same_request_is_worked_out_once(catalogue):
    known = Plans(catalogue)
    assert known.recall(request()) is None
    first = made(catalogue, known, request())
    assert known.recall(request()) is first
    assert known.find(request()) is first
    assert known.find(request(stop=9)) is None
    assert first.state
    assert first.provenance["parent"] == "far"
    [parent] = first.provenance["parents"]
    assert parent["servers"] == ["root://origin:1094"]


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (3, 7), (5, 10), (4, 4), (6, 7)])
def test_other_rows_are_cut_out_of_what_is_known_as_if_worked_out_anew(catalogue, start, stop):
    known = Plans(catalogue)
    made(catalogue, known, request())
    asked = replace(request(), start=start, stop=stop)
    cut = known.recall(asked)
    assert cut == planned(plan(outline(catalogue), asked))
    assert known.recall(asked) is cut
    assert cut.plan.outline is known.recall(request()).plan.outline


def test_rows_that_the_file_does_not_have_are_not_cut_out(catalogue):
    known = Plans(catalogue)
    made(catalogue, known, request())
    with pytest.raises(OutOfRange, match="which has 10"):
        known.recall(request(11))


@pytest.mark.parametrize("other", [{"dataset": "far"}, {"file": "0" * 32}, {"columns": ("x",)}])
def test_an_outline_serves_its_own_dataset_file_and_columns_only(catalogue, other):
    known = Plans(catalogue)
    made(catalogue, known, request())
    assert known.recall(replace(request(9), **other)) is None


def test_what_takes_long_to_cut_out_is_not_cut_out_in_passing(catalogue):
    known = Plans(catalogue)
    made(catalogue, known, request(3))
    assert known.recall(request(10), most_pieces=1) is None  # one Column in two Partitions
    assert known.recall(request(4), most_pieces=1) is not None
    assert known.recall(request(10), most_pieces=2) is not None


def test_the_least_recently_used_outlines_are_forgotten_first(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_OUTLINES", 2)
    known = Plans(catalogue)
    one, two, three = (replace(request(), file=name * 32) for name in "123")
    made(catalogue, known, one)
    made(catalogue, known, two)
    assert known.recall(replace(one, stop=9)) is not None
    made(catalogue, known, three)
    held = [known.recall(replace(asked, stop=8)) is not None for asked in (one, two, three)]
    assert held == [True, False, True]


def _another_parent(catalogue):
    catalogue.record_file("far", record(2, LUMIS, columnset=FAR), FAR)


def _a_failure(catalogue):
    catalogue.record_failure("far", "/x.root", DamagedFile("gone"))


def _another_dataset_of_that_name(catalogue):
    catalogue.remove_dataset("near")
    catalogue.add_dataset(Dataset("near", "nanoaod", "far"))


@pytest.mark.parametrize("change", [_another_parent, _a_failure, _another_dataset_of_that_name])
@pytest.mark.parametrize("by_another_process", [False, True])
def test_a_plan_is_forgotten_at_once_when_a_dataset_changes(
    catalogue, url, change, by_another_process
):
    known = Plans(catalogue)
    made(catalogue, known, request())
    assert known.recall(request()) is not None
    other = Catalogue(url) if by_another_process else catalogue
    change(other)
    assert known.recall(request()) is None
    assert known.recall(request(9)) is None
    if by_another_process:
        other.close()


def test_what_changes_while_a_plan_is_made_is_not_taken_for_known(catalogue):
    known = Plans(catalogue)

    def work() -> Outline:
        found = outline(catalogue)
        _another_parent(catalogue)
        return found

    known.make(request(), NAMES, work)
    assert known.recall(request()) is None
    assert known.recall(request(9)) is None


def test_files_known_by_their_keys_are_remembered_like_others(catalogue):
    known = Plans(catalogue)
    uploaded = replace(request(), file="0" * 32)
    found = made(catalogue, known, uploaded)
    assert known.recall(uploaded) is found
    _another_parent(catalogue)
    assert known.recall(uploaded) is None


def test_the_least_recently_used_are_forgotten_first(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_PARTS", 4)  # two parts each
    known = Plans(catalogue)
    for stop in (10, 9):
        made(catalogue, known, request(stop))
    known.recall(request(10))
    made(catalogue, known, request(8))
    held = [stop for stop in (10, 9, 8) if known.find(request(stop)) is not None]
    assert held == [10, 8]
