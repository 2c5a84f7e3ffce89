"""Plans that are remembered: the very same while nothing changes, never one that is out of date."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from columnservice.catalogue.manifest import ManifestEntry
from columnservice.catalogue.store import Catalogue
from columnservice.delivery import plans
from columnservice.delivery.outline import Outline, outline_of
from columnservice.delivery.plan import ColumnRequest, plan
from columnservice.delivery.plans import Planned, Plans
from columnservice.delivery.provenance import provenance_of, state_of
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
    return known.make(asked, known.edition(NAMES), lambda: outline(catalogue))


def test_the_same_request_is_worked_out_once(catalogue):
    known = Plans(catalogue)
    assert known.recall(request()) is None
    first = made(catalogue, known, request())
    assert known.recall(request()) is first
    assert known.find(request()) is first
    assert known.find(request(stop=9)) is None
    assert first.state
    told = json.loads(first.provenance)
    assert told == provenance_of(first.plan.outline)
    assert told["parent"] == "far"
    [parent] = told["parents"]
    assert parent["servers"] == ["root://origin:1094"]


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (3, 7), (5, 10), (4, 4), (6, 7)])
def test_other_rows_are_cut_out_of_what_is_known_as_if_worked_out_anew(catalogue, start, stop):
    known = Plans(catalogue)
    made(catalogue, known, request())
    asked = replace(request(), start=start, stop=stop)
    cut = known.recall(asked)
    assert cut is not None
    assert cut.plan == plan(outline(catalogue), asked)
    assert cut.state == state_of(cut.plan)
    assert cut.provenance == known.recall(request()).provenance
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


def test_rows_that_are_refused_leave_the_rest_worked_out(catalogue):
    known = Plans(catalogue)
    with pytest.raises(OutOfRange, match="which has 10"):
        made(catalogue, known, request(11))
    assert known.find(request(11)) is None
    assert known.recall(request(10)) is not None


def test_rows_that_are_refused_do_not_fill_the_memory(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_REMEMBERED", 8)  # two Outlines
    known = Plans(catalogue)
    files = [replace(request(11), file=name * 32) for name in "1234"]
    for asked in files:
        with pytest.raises(OutOfRange):
            made(catalogue, known, asked)
    assert known._size == 8
    assert known.recall(replace(files[-1], stop=0)) is not None


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


def _declared(catalogue):
    catalogue.import_manifest("far", [ManifestEntry("/later.root", 10, (LUMIS,))])


@pytest.mark.parametrize("change", [_another_parent, _declared])
@pytest.mark.parametrize("late", [False, True])
def test_what_changes_while_a_plan_is_made_is_not_taken_for_known(catalogue, change, late):
    known = Plans(catalogue)
    edition = known.edition(NAMES)
    if not late:
        change(catalogue)

    def work() -> Outline:
        found = outline(catalogue)
        if late:
            change(catalogue)
        return found

    known.make(request(), edition, work)
    assert known.recall(request()) is None
    assert known.recall(request(9)) is None


def test_what_follows_from_a_dataset_that_is_not_watched_is_not_remembered(catalogue):
    """The parent was another one when it was asked which Datasets to watch."""
    known = Plans(catalogue)
    known.make(request(), known.edition(("near", "near")), lambda: outline(catalogue))
    assert known.recall(request()) is None


def test_files_known_by_their_keys_are_remembered_like_others(catalogue):
    known = Plans(catalogue)
    uploaded = replace(request(), file="0" * 32)
    found = made(catalogue, known, uploaded)
    assert known.recall(uploaded) is found
    _another_parent(catalogue)
    assert known.recall(uploaded) is None


def test_plans_of_the_least_recently_used_file_are_forgotten_first(catalogue, monkeypatch):
    # An Outline with one parent and two Partitions, and a Plan with two parts: 4 + 3.
    monkeypatch.setattr(plans, "MOST_REMEMBERED", 14)
    known = Plans(catalogue)
    one, two, three = (replace(request(), file=name * 32) for name in "123")
    made(catalogue, known, one)
    made(catalogue, known, two)
    assert known.find(one) is not None
    made(catalogue, known, three)
    assert [known.find(asked) is not None for asked in (one, two, three)] == [True, False, True]
    assert known.recall(replace(three, stop=9)) is not None
    assert [known.find(asked) is not None for asked in (one, three)] == [False, True]


def test_the_oldest_plans_of_the_only_file_are_forgotten_first(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_REMEMBERED", 10)
    known = Plans(catalogue)
    made(catalogue, known, request(10))
    known.recall(request(9))
    known.find(request(10))
    known.recall(request(8))
    assert [s for s in (10, 9, 8) if known.find(request(s)) is not None] == [10, 8]


def test_a_plan_without_parts_takes_its_place_too(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_REMEMBERED", 5)
    known = Plans(catalogue)
    assert made(catalogue, known, request(0)).plan.parts == ()
    at_the_cut = replace(request(), start=5, stop=5)
    assert known.recall(at_the_cut).plan.parts == ()
    assert [known.find(asked) is not None for asked in (request(0), at_the_cut)] == [False, True]


def test_what_is_larger_than_the_limit_is_remembered_alone(catalogue, monkeypatch):
    monkeypatch.setattr(plans, "MOST_REMEMBERED", 1)
    known = Plans(catalogue)
    made(catalogue, known, request())
    assert known.find(request()) is not None
    made(catalogue, known, replace(request(), file="1" * 32))
    assert known.find(request()) is None
