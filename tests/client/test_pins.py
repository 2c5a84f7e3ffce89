"""A pinned report: what is made otherwise is refused, by name."""

from __future__ import annotations

import copy

import pytest

from columnservice.client.pins import demand_same
from columnservice.client.report import Fetched, Ledger
from columnservice.errors import AlignmentError, ProvenanceChanged, TransportError

pytestmark = pytest.mark.fast
A = {"lfn": "/store/a.root", "uuid": "a", "size_bytes": 1, "servers": ["root://one"]}
B = {"lfn": "/store/b.root", "uuid": "b", "size_bytes": 2, "servers": ["root://one"]}
TOLD = {
    "parent": "mini",
    "take": "t",
    "parents": [A, B],
    "recipes": {"rho": ["1"], "lead": ["2"], "PF_pt": ["3"]},
    "derived": {"lead": ["PF_pt"]},
}


@pytest.fixture
def pin():
    noted = Ledger()
    noted.fetched("http://here", Fetched("nano", "u", 0, 5, 10, 1.0, provenance=TOLD))
    return noted.report("http://here")


def demand(pin, columns=("rho", "lead"), file="u", dataset="nano", **changed):
    told = {**copy.deepcopy(TOLD), **changed}
    demand_same(pin, dataset, file, "/data/x.root", columns, told)


def test_the_same_passes_wherever_it_is_read_from(pin):
    demand(pin)
    demand(pin, parents=[{**A, "servers": ["root://two"]}, B])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"recipes": {**TOLD["recipes"], "rho": ["9"]}}, "the recipe of rho"),
        ({"recipes": {**TOLD["recipes"], "rho": ["1", "9"]}}, "the recipe of rho"),
        ({"recipes": {**TOLD["recipes"], "PF_pt": ["9"]}}, "the recipe of PF_pt"),
        ({"recipes": {}}, "the recipe of rho, lead, PF_pt"),
        ({"take": "s", "parents": [A]}, "/store/b.root gone"),
        ({"take": "s", "parents": [A, B, {**A, "lfn": "/c", "uuid": "c"}]}, "/c new"),
        ({"take": "s", "parents": [A, {**B, "size_bytes": 3}]}, "/store/b.root changed"),
        ({"take": "s", "parents": [A, {**B, "uuid": "c"}]}, "/store/b.root changed"),
        ({"take": "s"}, "the join"),
    ],
)
def test_what_changed_is_named(pin, changed, says):
    with pytest.raises(ProvenanceChanged, match=says) as caught:
        demand(pin, **changed)
    assert isinstance(caught.value, AlignmentError)
    assert not isinstance(caught.value, TransportError)
    assert "'nano'" in str(caught.value)
    assert "pin=" in caught.value.remedy


def test_what_the_report_does_not_know_is_not_bound_by_it(pin):
    other = {"take": "s", "parents": [], "recipes": {"rho": ["1"], "npu": ["9"]}}
    demand(pin, ["npu", "rho"], file="v", **other)
    demand(pin, dataset="other", **other)


def test_a_report_of_parents_that_changed_meanwhile_allows_both_states(pin):
    noted = Ledger()
    noted.absorb(pin)
    later = {**TOLD, "take": "s", "parents": [A]}
    noted.fetched("http://here", Fetched("nano", "u", 5, 9, 10, 1.0, provenance=later))
    both = noted.report("http://here")
    demand(both)
    demand(both, take="s", parents=[A])
    with pytest.raises(ProvenanceChanged):
        demand(both, take="r", parents=[A])
