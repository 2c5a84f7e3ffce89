"""Which dataset a file belongs to, and what happens when nobody can tell."""

from __future__ import annotations

import pickle
import warnings

import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema

from columnservice import errors
from columnservice.model import Column, Member
from columnservice.nanoevents import ColumnServiceWarning
from columnservice.nanoevents.columnlist import catalogue_of

from .small import serve_small


def opened(small, service, **choice):
    return small.tree(service.nanoevents(BaseSchema, **choice))


def test_a_named_dataset_needs_no_look_up(small, service, server):
    tree = opened(small, service, dataset="small")
    assert "rho" in tree
    assert [r.path for r in server.log] == ["/v1/datasets/small/columns"]


@pytest.mark.parametrize("choice", [None, ["small"], ["small", "other"]])
def test_the_uuid_decides_once_per_file(small, service, server, small_file, choice):
    server.add(serve_small(small_file[0], "another-uuid", "other"))
    options = service.nanoevents(BaseSchema, dataset=choice)
    for told in (options, options, pickle.loads(pickle.dumps(options))):
        assert "rho" in small.tree(told)
    look_ups = [r.query["file"] for r in server.log if r.path == "/v1/datasets"]
    assert look_ups == [[small.uuid]]
    assert server.data_requests == []


@pytest.mark.parametrize("choice", [None, ["small"], "small"])
def test_a_column_that_is_defined_later_is_there_when_events_are_built_anew(
    small, service, server, choice
):
    assert "mine" not in opened(small, service, dataset=choice)
    small.served.columns.append(Column("mine", (Member("", "float64"),), 0, origin="derived"))
    small.table.values["mine"] = small.table.values["rho"]
    asked = len(server.log)
    tree = opened(small, service, dataset=choice)
    assert tree["mine"].array().to_list() == tree["rho"].array().to_list()
    lists = [r.path for r in server.log[asked:] if r.path.endswith("/columns")]
    assert lists == ["/v1/datasets/small/columns"]


@pytest.mark.parametrize("choice", [None, ["small"]])
def test_a_file_that_is_registered_later_is_known_when_events_are_built_anew(
    small, service, choice
):
    table = small.served.tables.pop(small.uuid)
    with pytest.warns(ColumnServiceWarning, match="does not know"):
        assert "rho" not in opened(small, service, dataset=choice)
    small.served.tables[small.uuid] = table
    assert "rho" in opened(small, service, dataset=choice)


def test_datasets_without_a_parent_are_no_candidates(small, service, server, small_file):
    server.add(serve_small(*small_file, "orphans")).parent = None
    assert "rho" in opened(small, service)


def test_several_candidates_are_named(small, service, server, small_file):
    server.add(serve_small(*small_file, "other"))
    with pytest.raises(errors.RequestError, match="small, other"):
        opened(small, service).keys()
    assert "rho" in opened(small, service, dataset=["other"])


@pytest.mark.parametrize("choice", [None, ["small"]])
def test_a_file_that_nobody_knows_stays_local_with_one_warning(small, service, choice):
    small.served.tables.clear()
    with pytest.warns(ColumnServiceWarning, match="does not know"):
        keys = opened(small, service, dataset=choice).keys()
    assert "rho" not in keys
    assert opened(small, service, dataset=choice).keys() == keys


def test_a_service_that_is_down_at_opening_leaves_the_file_local_with_one_warning(
    small, service, server
):
    options = service.nanoevents(BaseSchema, dataset=["small"])
    server.answer_with(503, "text/plain", b"")
    with pytest.warns(ColumnServiceWarning, match="No remote columns"):
        assert "rho" not in small.tree(options)
    tree = small.tree(options)
    assert "rho" not in tree
    assert len(tree["Muon_pt"].array()) == tree.num_entries


def test_the_service_is_not_asked_for_local_branches(small, service, server):
    options = service.nanoevents(BaseSchema)
    tree = small.tree(options)
    assert len(tree["Muon_pt"].array()) == tree.num_entries
    assert server.log == []


def test_a_service_that_is_down_when_it_is_asked_for_columns_is_an_error(small, service, server):
    server.answer_with(503, "text/plain", b"")
    with pytest.raises(errors.Unavailable):
        service.nanoevents(BaseSchema, dataset="small")


def test_an_unknown_dataset_is_an_error_at_once(small, service):
    with pytest.raises(errors.UnknownDataset):
        service.nanoevents(BaseSchema, dataset="smal")


@pytest.mark.parametrize("wrong", ["PFCands_ptt", ["rho", "PFCands_ptt"], "Nothing_*"])
def test_an_unknown_column_names_the_nearest(small, service, wrong):
    with pytest.raises(errors.UnknownColumn, match=r"nearest: PFCands_pt|columns DATASET"):
        service.nanoevents(BaseSchema, dataset="small", columns=wrong)


def test_an_unknown_column_is_found_out_at_opening_when_the_file_decides(small, service):
    with pytest.raises(errors.UnknownColumn):
        opened(small, service, columns="PFCands_ptt").keys()


def test_an_unsupported_column_that_is_asked_for_by_name_says_why(small, service):
    with pytest.raises(errors.UnsupportedColumn, match="unsplit"):
        service.nanoevents(BaseSchema, dataset="small", columns=["Muon_lost"])
    assert "Muon_dxy" in opened(small, service, dataset="small", columns=["Muon_*"])


def test_a_local_name_among_the_wanted_is_no_mistake(small, service):
    tree = opened(small, service, dataset="small", columns=["event", "rho"])
    assert tree.keys()[-1] == "rho"


def test_a_format_that_coffea_does_not_open_is_refused(small, service):
    small.served.format = "miniaod"
    with pytest.raises(errors.RequestError, match="miniaod"):
        service.nanoevents(BaseSchema, dataset="small")


def test_a_schema_that_is_none_is_refused(small, service):
    with pytest.raises(errors.RequestError, match="schema class"):
        service.nanoevents(lambda form: form, dataset="small")


def test_a_catalogue_pickles_small_and_equal(small, service):
    catalogue = catalogue_of(service, "small")
    assert "event" in catalogue.names
    assert "event" not in [c.name for c in catalogue.columns]
    again = pickle.loads(pickle.dumps(catalogue))
    assert again == catalogue
    assert pickle.loads(pickle.dumps(again)) is again


def test_local_columns_give_no_warning_at_all(small, service):
    options = service.nanoevents(NanoAODSchema, dataset="small")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ColumnServiceWarning)
        uproot.open(small.path, **options["uproot_options"])["Events"]["MET_pt"].array()
