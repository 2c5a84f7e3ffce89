"""Plans that are remembered: the very same while nothing changes, never one that is out of date."""

from __future__ import annotations

import pytest

from columnservice.catalogue.store import Catalogue
from columnservice.delivery import plans
from columnservice.delivery.plan import ColumnRequest, plan
from columnservice.delivery.plans import Planned, Plans
from columnservice.errors import DamagedFile
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


def made(catalogue: Catalogue, known: Plans, asked: ColumnRequest) -> Planned:
    local = record(7, LUMIS, columnset=LOCAL)
    return known.make(
        asked, NAMES, lambda: plans.planned(plan(catalogue, asked, local, 5, {}), "far")
    )


def test_the_same_request_is_worked_out_once(catalogue):
    known = Plans(catalogue)
    assert known.recall(request()) is None
    first = made(catalogue, known, request())
    assert known.recall(request()) is first
    assert known.recall(request(stop=9)) is None
    assert first.state
    assert first.provenance["parent"] == "far"
    [parent] = first.provenance["parents"]
    assert parent["servers"] == ["root://origin:1094"]


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
    if by_another_process:
        other.close()


def test_what_changes_while_a_plan_is_made_is_not_taken_for_known(catalogue):
    known = Plans(catalogue)
    local, asked = record(7, LUMIS, columnset=LOCAL), request()

    def work() -> Planned:
        found = plans.planned(plan(catalogue, asked, local, 5, {}), "far")
        _another_parent(catalogue)
        return found

    known.make(asked, NAMES, work)
    assert known.recall(asked) is None


def test_files_known_by_their_keys_are_remembered_like_others(catalogue):
    known = Plans(catalogue)
    local = record(7, LUMIS, columnset=LOCAL)
    uploaded = ColumnRequest("near", "0" * 32, 0, 10, ("rho",))
    found = plans.planned(plan(catalogue, request(), local, 5, {}), "far")
    known.make(uploaded, NAMES, lambda: found)
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
    held = [stop for stop in (10, 9, 8) if known.recall(request(stop)) is not None]
    assert held == [10, 8]
