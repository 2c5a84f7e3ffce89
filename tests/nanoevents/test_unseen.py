"""Files that the service has never seen: sent their keys, it serves them like any other."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

from columnservice import wire
from columnservice.errors import Unreachable
from columnservice.model import Keys
from columnservice.nanoevents import ColumnServiceWarning
from columnservice.nanoevents.memory import MEMORY
from columnservice.nanoevents.supply import forget_uploads

from .files import write_tree
from .small import local_keys

ORDER = np.array([20, 3, 3, 11, 0, 7])

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


@pytest.fixture
def skim(small, tmp_path):
    """Some events in another order, one of them twice."""
    tree = uproot.open(small.path)["Events"]
    plain = ("run", "luminosityBlock", "event", "MET_pt")
    arrays = {name: tree[name].array()[ORDER] for name in plain}
    fields = ("pt", "eta", "phi", "mass", "charge")
    arrays["Muon"] = ak.zip({f: tree[f"Muon_{f}"].array()[ORDER] for f in fields})
    path = tmp_path / "skim.root"
    write_tree(path, "Events", arrays)
    return path


def puts(server):
    return [r for r in server.log if r.method == "PUT"]


def uploads(server):
    return [r for r in server.log if "/eventindexes/" in r.path]


def opened(path, service, **more):
    options = service.nanoevents(BaseSchema, dataset="small", **more)["uproot_options"]
    return uproot.open(path, **options)["Events"]


def test_its_columns_come_in_its_own_order(skim, small, service, server):
    tree = opened(skim, service)
    whole = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    for name in ("rho", "PFCands_pt", "Muon_dxy", "Muon_times"):
        assert tree[name].array().to_list() == whole[name].array()[ORDER].to_list()
    keys = local_keys()
    digest = wire.keys_digest(Keys(keys.run[ORDER], keys.lumi[ORDER], keys.event[ORDER]))
    [sent] = puts(server)
    assert sent.path == f"/v1/datasets/small/eventindexes/{digest}"
    assert server.uploads[digest].column_names == ["run", "lumi", "event"]
    assert sent.headers["Content-Type"] == wire.MEDIA_TYPE


def test_its_keys_are_sent_once_for_all_ranges_and_openings(skim, service, server):
    for _ in range(2):
        tree = opened(skim, service)
        for start, stop in ((0, 2), (2, 4), (4, 6)):
            tree["rho"].array(entry_start=start, entry_stop=stop)
        MEMORY.clear()
    assert len(puts(server)) == 1
    assert len(uploads(server)) == 2
    unknown = [r for r in server.data_requests if r.query["file"][0].count("-")]
    assert len(unknown) == 1


def test_another_process_finds_its_keys_at_the_service(skim, service, server):
    opened(skim, service)["rho"].array()
    MEMORY.clear()
    forget_uploads()
    opened(skim, service)["rho"].array()
    assert len(puts(server)) == 1


def test_keys_that_the_service_has_lost_are_sent_again(skim, small, service, server):
    opened(skim, service)["rho"].array(entry_stop=3)
    for digest in server.uploads:
        del small.served.tables[digest]
    assert len(opened(skim, service)["rho"].array()) == len(ORDER)
    assert len(puts(server)) == 2


def test_local_values_that_tell_samples_apart_go_along(skim, small, service, server):
    small.served.witnesses = ["MET_pt", "run", "Muon_pt", "absent"]
    opened(skim, service)["rho"].array()
    [table] = server.uploads.values()
    assert table.column_names == ["run", "lumi", "event", "MET_pt"]
    truth = uproot.open(skim)["Events"]["MET_pt"].array()
    assert table["MET_pt"].to_pylist() == truth.to_list()


def test_events_that_no_parent_holds_are_missing_as_ever(small, service, tmp_path):
    keys = local_keys()[np.array([4, 5])]
    foreign = np.array([keys.event[0], 17], dtype=np.uint64)
    arrays = {"run": keys.run, "luminosityBlock": keys.lumi, "event": foreign}
    path = tmp_path / "foreign.root"
    write_tree(path, "Events", {k: ak.Array(v) for k, v in arrays.items()})
    tree = opened(path, service, missing="mask")
    assert tree["hasParent"].array().to_list() == [True, False]
    assert np.isnan(tree["rho"].array()[1])


def test_it_works_in_coffea_with_read_ahead(skim, small, service):
    options = service.nanoevents(NanoAODSchema, dataset="small")
    whole = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    truth = whole["PFCands_pt"].array()[ORDER]
    found = []
    for start, stop in ((0, 2), (2, 4), (4, 6)):
        some = NanoEventsFactory.from_root(
            {str(skim): "Events"}, entry_start=start, entry_stop=stop, **options
        ).events()
        found.append(some.PFCands.pt)
    assert ak.concatenate(found).to_list() == truth.to_list()


def test_unless_its_dataset_is_named_it_stays_local(skim, service, server):
    options = service.nanoevents(BaseSchema, dataset=["small"])["uproot_options"]
    with pytest.warns(ColumnServiceWarning, match="does not know"):
        assert "rho" not in uproot.open(skim, **options)["Events"]
    assert uploads(server) == []


def test_a_service_that_goes_away_meanwhile_is_a_transport_error(skim, service, server):
    def vanish(request):
        if "/eventindexes/" in request.path:
            return 503, "text/plain", b""
        return None

    server.answer = vanish
    with pytest.raises(OSError, match="503") as caught:
        opened(skim, service)["rho"].array()
    assert not isinstance(caught.value, Unreachable)
    assert caught.value.__context__ is None
