"""Fields go on a local collection only where its objects are the parent's, one by one."""

from __future__ import annotations

from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

from columnservice.errors import CountsMismatch, UnsupportedColumn
from columnservice.model import Column, Member
from columnservice.nanoevents.objects import differing_events, telling

from ..support.wire_server import as_reference
from .files import write_tree
from .small import MUONS, ROWS, local_keys, serve_small

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


def reference(name: str, dtype: str = "float32", depth: int = 1, **more) -> Column:
    return as_reference(Column(name, (Member("", dtype),), depth, shape="J", **more))


def wrong(name, ours, theirs, present=None):
    def flat(lists):
        return np.cumsum([0, *map(len, lists)]), np.array(
            [x for one in lists for x in one], np.float32
        )

    here = np.ones(len(ours), np.bool_) if present is None else np.array(present)
    return differing_events(reference(name), flat(ours), flat(theirs), here).tolist()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "ours", "theirs", "rows"),
    [
        ("J_pt", [[50.0, 40.0], [], [30.0]], [[50.0, 40.0], [], [30.0]], []),
        ("J_pt", [[50.0, 40.0], [], [30.0]], [[40.0, 50.0], [], [30.0]], [0]),
        ("J_pt", [[50.0], [], [30.0]], [[50.0], [30.0], []], [1, 2]),
        ("J_pt", [[100.0], [100.0]], [[100.09], [100.2]], [1]),
        ("J_eta", [[0.1], [0.1]], [[0.1019], [0.103]], [1]),
        ("J_phi", [[3.1415], [3.0]], [[-3.1415], [-3.0]], [1]),
        ("AJetsAuxDyn.phi", [[3.1415]], [[-3.1415]], []),
        ("J_eta", [[3.1415]], [[-3.1415]], [0]),
        ("J_pt", [[np.nan], [np.nan], [1.0]], [[np.nan], [1.0], [np.nan]], [1, 2]),
        ("J_phi", [[np.inf], [np.inf]], [[np.inf], [-np.inf]], [1]),
    ],
)
def test_objects_are_compared_one_by_one(name, ours, theirs, rows):
    assert wrong(name, ours, theirs) == rows


@pytest.mark.fast
def test_events_without_a_parent_are_not_compared():
    assert wrong("J_pt", [[1.0], [2.0], [3.0]], [[1.0], [], [4.0]], [True, False, True]) == [2]


@pytest.mark.fast
def test_directions_tell_best_and_two_are_enough():
    offered = [reference(f"J_{f}") for f in ("area", "mass", "pt", "phi", "eta")]
    local = {"J_area", "J_mass", "J_pt", "J_phi", "J_eta"}

    def names(local):
        return [c.name for c in telling(offered, local)]

    assert names(local) == ["parent:J_eta", "parent:J_phi"]
    assert names(local - {"J_eta"}) == ["parent:J_phi", "parent:J_pt"]
    assert names({"J_area", "J_mass"}) == ["parent:J_mass", "parent:J_area"]
    assert names(set()) == []
    useless = [
        reference("J_eta", "int32"),
        reference("J_pt", depth=2),
        reference("J_phi", support="unsupported", reason="absent from 1 of 2 files"),
    ]
    assert telling(useless, local) == ()


@pytest.fixture
def resorted(server, tmp_path):
    """A local file with the same numbers of muons, in reversed order within the events."""
    muons = ak.unflatten(np.linspace(1, 50, MUONS.sum(), dtype=np.float32), MUONS)[:, ::-1]
    keys = local_keys()
    arrays = {
        "run": ak.Array(keys.run),
        "luminosityBlock": ak.Array(keys.lumi),
        "event": ak.Array(keys.event),
        "Muon": ak.zip({"pt": muons, "eta": muons * 0}),
    }
    path = tmp_path / "resorted.root"
    server.add(serve_small(path, write_tree(path, "Events", arrays), "resorted"))
    return path


@pytest.mark.parametrize("name", ["Muon_dxy", "Muon_times", "Muon_link"])
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_a_local_collection_in_another_order_gets_no_values(resorted, service, name, missing):
    options = service.nanoevents(BaseSchema, dataset="resorted", missing=missing)
    tree = uproot.open(resorted, **options["uproot_options"])["Events"]
    for _ in range(2):
        with pytest.raises(
            CountsMismatch, match=r"in another order, under Muon_pt: first in entry 2 .*\(8 such"
        ):
            tree[name].array()
    with pytest.raises(CountsMismatch, match="first in entry 5"):
        tree.arrays([name], entry_start=3)
    assert len(tree[name].array(entry_start=3, entry_stop=5)) == 2
    assert len(tree["PFCands_pt"].array()) == ROWS


def test_what_shows_it_comes_in_the_same_request_and_is_compared_once(small, service, server):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    tree["Muon_dxy"].array()
    tree["Muon_hits"].array()
    assert [(r.columns, r.references) for r in server.data_requests] == [
        (["Muon_dxy"], ["parent:Muon_pt"]),
        (["Muon_hits"], []),
    ]
    small.tree(service.nanoevents(BaseSchema, dataset="small"))["Muon_dxy"].array()
    assert len(server.data_requests) == 2
    assert list(service.report().columns) == ["Muon_dxy", "Muon_hits"]


def test_what_shows_it_is_no_branch_and_no_column_for_users(small, service):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    assert not [name for name in tree.keys() if "parent" in name]  # noqa: SIM118
    assert "parent:Muon_pt" not in service.columns("small")
    assert "parent:Muon_pt" not in service.dataset("small").columns()


def test_a_collection_of_which_nothing_is_held_by_both_gets_no_fields(small, service):
    small.served.columns = [c for c in small.served.columns if c.origin != "reference"]
    options = service.nanoevents(NanoAODSchema, dataset="small", missing="mask")
    tree = small.tree(options)
    assert "Muon_dxy" not in tree
    with pytest.raises(UnsupportedColumn, match="shows that the objects are the same"):
        tree["Muon_dxy"]
    assert len(tree["PFCands_pt"].array()) == ROWS
    events = NanoEventsFactory.from_root({str(small.path): "Events"}, **options).events()
    assert "dxy" not in events.Muon.fields


def test_absent_events_have_no_objects_to_compare(small, service):
    small.table.present = np.arange(ROWS) % 3 != 2
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    assert ak.num(tree["Muon_dxy"].array()).to_list() == MUONS.tolist()
    value = small.table.values["parent:Muon_pt"]
    small.table.values["parent:Muon_pt"] = replace(value, content={"": value.values + 1})
    again = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    with pytest.raises(CountsMismatch, match=r"entry 1 .*\(8 such"):
        again["Muon_dxy"].array()
