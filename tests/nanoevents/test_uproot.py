"""Remote branches serve whatever uproot serves."""

from __future__ import annotations

import io
import pickle

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema

from columnservice.errors import RequestError, UnsupportedColumn

from .small import MUONS, ROWS


@pytest.fixture
def options(small, service):
    return service.nanoevents(BaseSchema, dataset="small")


@pytest.fixture
def tree(small, options):
    return small.tree(options)


@pytest.fixture
def bare(small):
    """The same tree without the service."""
    return uproot.open(small.path)["Events"]


def test_remote_branches_stand_after_all_local_ones(tree, bare):
    assert tree.keys()[: len(bare.keys())] == bare.keys()
    remote = tree.keys()[len(bare.keys()) :]
    assert "PFCands_pt" in remote
    assert remote.index("nPFCands") < remote.index("PFCands_pt")
    assert "Muon_lost" not in remote
    assert remote.count("event") == 0


def test_names_types_and_titles_can_be_asked_without_the_service(tree, server):
    asked = len(server.log)
    assert "Muon_dxy" in tree
    assert tree["Muon_dxy"].title == "distance in cm [columnservice: slimmedMuons.obj.dxy_]"
    assert tree["Muon_dxy"].typename == "float[]"
    assert tree["Muon_times"].typename == "std::vector<std::vector<float>>"
    assert tree.typenames()["nPFCands"] == "int32_t"
    assert tree.keys(filter_name="PFCands_p*") == ["PFCands_pt", "PFCands_phi"]
    assert tree.keys(filter_typename="int8_t[]") == ["PFCands_charge"]
    assert tree.keys(filter_branch=lambda b: b.name == "rho") == ["rho"]
    assert len(tree.values()) == len(tree.items()) == len(tree.keys())
    assert "rho" in repr(tree["rho"])
    assert tree["/rho"] is tree["rho"]
    text = io.StringIO()
    tree.show(stream=text)
    assert "AsColumn" in text.getvalue()
    assert tree["rho"].num_entries == ROWS
    assert tree["rho"].object_path.endswith("Events;1:rho")
    assert len(server.log) == asked


def test_what_there_is_not_is_a_key_error_and_what_cannot_be_is_explained(tree):
    assert "Muon_dxxy" not in tree
    assert tree.get("Muon_dxxy") is None
    with pytest.raises(uproot.KeyInFileError, match="Muon_dxy"):
        tree["Muon_dxxy"]
    assert "Muon_lost" not in tree
    with pytest.raises(UnsupportedColumn, match="its product is unsplit"):
        tree["Muon_lost"]


def test_other_trees_of_the_file_are_left_alone(small, options, server, tmp_path):
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for name in ("Events", "Runs"):
            file.mktree(name, {"run": "uint32"})
            file[name].extend({"run": np.ones(3, np.uint32)})
    file = uproot.open(path, **options["uproot_options"])
    assert file["Runs"].keys() == ["run"]
    assert "rho" in file["Events"].keys()  # noqa: SIM118


def test_many_branches_come_in_one_request_beside_local_ones(tree, small, server):
    names = ["Muon_pt", "Muon_dxy", "rho", "PFCands_pt"]
    arrays = tree.arrays(names)
    assert arrays.fields == names
    assert ak.num(arrays.Muon_pt).to_list() == ak.num(arrays.Muon_dxy).to_list()
    assert [set(r.columns) for r in server.data_requests] == [{"Muon_dxy", "rho", "PFCands_pt"}]
    assert arrays.rho.to_list() == small.table.values["rho"].values.tolist()


def test_expressions_cuts_and_aliases_mix_local_and_remote(tree, server):
    found = tree.arrays(
        ["twice", "Muon_dxy * 2", "event"], "rho > 10", aliases={"twice": "rho + rho"}
    )
    assert found.twice.to_list() == [2 * (k + 0.5) for k in range(10, ROWS)]
    dxy = tree["Muon_dxy"].array()
    assert found["Muon_dxy * 2"].to_list() == (dxy * 2)[10:].to_list()
    assert len(server.data_requests) == 1


def test_filters_groupings_and_libraries_work(tree, small):
    assert tree.arrays(filter_name="PFCands_*").fields == [
        f"PFCands_{f}" for f in ("pt", "eta", "phi", "mass", "charge")
    ]
    zipped = tree.arrays(["Muon_pt", "Muon_dxy"], how="zip")
    assert zipped.Muon.fields == ["pt", "dxy"]
    assert isinstance(tree.arrays(["rho"], how=tuple), tuple)
    numbers = tree.arrays(["rho", "Muon_dxy", "MET_pt"], library="np")
    assert numbers["rho"].tolist() == small.table.values["rho"].values.tolist()
    assert numbers["Muon_dxy"].dtype == object
    assert [len(x) for x in numbers["Muon_dxy"]] == MUONS.tolist()
    frame = tree.arrays(["rho", "MET_pt"], library="pd")
    assert frame["rho"].tolist() == numbers["rho"].tolist()
    for library in ("np", "pd"):
        with pytest.raises(RequestError, match="library='ak'"):
            tree["Muon_times"].array(library=library)


def test_documentation_is_added_where_asked_for(tree):
    array = tree["Muon_dxy"].array(ak_add_doc=True)
    assert array.layout.parameter("__doc__").startswith("distance in cm")
    wanted = {"__doc__": "title", "typename": "typename"}
    arrays = tree.arrays(["Muon_dxy"], ak_add_doc=wanted, how=dict)
    assert arrays["Muon_dxy"].layout.parameter("typename") == "float[]"


def test_everything_at_once_must_be_meant(tree, small, service, bare):
    with pytest.raises(RequestError, match="Name the columns"):
        tree.arrays()
    chosen = small.tree(service.nanoevents(BaseSchema, dataset="small", columns=["rho", "Muon_d*"]))
    assert chosen.arrays().fields == [*bare.keys(), "rho", "Muon_dxy"]


@pytest.mark.parametrize("step", [7, "1 kB", "100 MB"])
def test_iterating_gives_all_entries_in_order(tree, small, step):
    names = ["event", "rho", "Muon_dxy"]
    steps = list(tree.iterate(names, step_size=step))
    assert sum(map(len, steps)) == ROWS
    whole = ak.concatenate(steps)
    assert whole.rho.to_list() == small.table.values["rho"].values.tolist()
    assert len(list(tree.iterate("rho", step_size=step))) <= ROWS


def test_iterating_reports_where_it_is(tree):
    reports = [r for _, r in tree.iterate(["rho"], step_size=10, report=True)]
    assert [(r.start, r.stop) for r in reports] == [(0, 10), (10, 20), (20, 24)]
    local = [r for _, r in tree.iterate(["MET_pt"], step_size=10, report=True)]
    assert [(r.start, r.stop) for r in local] == [(0, 10), (10, 20), (20, 24)]


def test_entry_ranges_are_those_of_slices(tree):
    rho = np.arange(ROWS) + 0.5
    for bounds in [(None, None), (3, 9), (-5, None), (0, -20), (20, 99), (9, 3), (5, 5), (-99, 2)]:
        found = tree["rho"].array(entry_start=bounds[0], entry_stop=bounds[1])
        assert found.to_list() == rho[slice(*bounds)].tolist(), bounds


def test_no_entries_need_no_request_but_have_a_type(tree, server):
    for name in ("rho", "Muon_dxy", "Muon_times", "Muon_link"):
        empty = tree[name].array(entry_start=4, entry_stop=4)
        assert len(empty) == 0
        assert empty.type.content == tree[name].array(entry_stop=1).type.content, name
        server.log.clear()
        tree[name].array(entry_stop=0)
        assert server.data_requests == []


def test_uproot_s_functions_over_files_take_the_options(small, options):
    files = {str(small.path): "Events"}
    more = options["uproot_options"]
    parts = uproot.iterate(files, ["Muon_dxy", "MET_pt"], step_size=9, **more)
    assert [len(part) for part in parts] == [9, 9, 6]
    assert len(uproot.concatenate(files, ["rho", "MET_pt"], **more)) == ROWS


def test_virtual_arrays_of_uproot_fetch_what_is_touched(tree, server, small):
    array = tree.arrays(filter_name=["rho", "Muon_*"], virtual=True)
    assert server.data_requests == []
    assert array.rho.to_list() == small.table.values["rho"].values.tolist()
    assert [r.columns for r in server.data_requests] == [["rho"]]


def test_dask_mode_of_uproot_reads_by_partition(small, options, server):
    more = options["uproot_options"]
    lazy = uproot.dask({str(small.path): "Events"}, steps_per_file=2, open_files=False, **more)
    server.log.clear()
    total = ak.sum(lazy.Muon_dxy * lazy.Muon_charge) + ak.sum(lazy.rho)
    truth = (np.arange(ROWS) + 0.5).sum()
    assert np.isclose(float(total.compute(scheduler="synchronous")), truth)
    assert {tuple(sorted(r.columns)) for r in server.data_requests} == {("Muon_dxy", "rho")}
    assert len(server.data_requests) == 2


def test_basket_boundaries_are_those_of_the_local_branches(tree, bare):
    assert tree.common_entry_offsets() == bare.common_entry_offsets()
    assert tree.num_entries_for("1 kB", ["MET_pt"]) == bare.num_entries_for("1 kB", ["MET_pt"])


def test_the_classes_are_a_mapping_that_pickles(options):
    classes = options["uproot_options"]["custom_classes"]
    assert set(classes) == set(uproot.classes)
    assert len(classes) == len(uproot.classes)
    assert classes["TBranch"] is uproot.classes["TBranch"]
    assert classes["TTree"] is not uproot.classes["TTree"]
    again = pickle.loads(pickle.dumps(classes))
    assert again.__dask_tokenize__() == classes.__dask_tokenize__()
    assert "http" in repr(again)
    before = dict(uproot.classes)
    classes["MadeUp"] = str
    assert uproot.classes["MadeUp"] is str
    del classes["MadeUp"]
    assert dict(uproot.classes) == before
