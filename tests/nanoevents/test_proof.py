"""A wrong join never becomes an array, whoever asks and however errors are treated."""

from __future__ import annotations

from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

from columnservice.errors import (
    AlignmentError,
    CountsMismatch,
    FileChanged,
    NoEventKeys,
    ProofMismatch,
)
from columnservice.nanoevents.memory import MEMORY

from .files import write_tree
from .small import MUONS, ROWS, local_keys, serve_small

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


def permuted() -> np.ndarray:
    return np.random.default_rng(1).permutation(ROWS)


def exchanged() -> np.ndarray:
    rows = np.arange(ROWS)
    rows[[7, 8]] = rows[[8, 7]]
    return rows


WRONG = {
    "permuted": permuted(),
    "shifted": np.roll(np.arange(ROWS), 1),
    "off by one at the end": np.minimum(np.arange(ROWS) + 1, ROWS - 1),
    "two exchanged": exchanged(),
    "one event twice": np.where(np.arange(ROWS) == 9, 8, np.arange(ROWS)),
    "reversed": np.arange(ROWS)[::-1],
}


@pytest.mark.parametrize("rows", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", ["rho", "PFCands_pt", "Muon_dxy"])
def test_a_wrong_takeindex_is_caught(small, service, rows, name):
    small.table.rows = rows
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    with pytest.raises(ProofMismatch) as caught:
        tree[name].array()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def changed_keys(**parts):
    return replace(local_keys(), **{k: getattr(local_keys(), k) + v for k, v in parts.items()})


@pytest.mark.parametrize(
    "keys",
    [
        changed_keys(event=np.uint64(1)),
        changed_keys(run=np.uint32(1)),
        changed_keys(lumi=np.uint32(1)),
        changed_keys(event=np.uint64(2**32)),
        changed_keys(event=(np.arange(ROWS) == ROWS - 1).astype(np.uint64)),
    ],
    ids=["event", "run", "lumi", "upper half of event", "last event only"],
)
def test_keys_of_another_event_are_caught(small, service, keys):
    small.table.keys = keys
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    with pytest.raises(ProofMismatch, match=str(small.path)):
        tree["rho"].array()


def test_64_bit_events_are_proven(small, service):
    assert local_keys().event.min() > 2**63
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    assert tree["rho"].array().to_list() == (np.arange(ROWS) + 0.5).tolist()
    assert tree["event"].array(library="np").tolist() == local_keys().event.tolist()


def test_only_the_wrong_rows_are_caught(small, service):
    small.table.rows = exchanged()
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    assert tree["rho"].array(entry_start=10).to_list() == (np.arange(10, ROWS) + 0.5).tolist()
    with pytest.raises(ProofMismatch, match="5 to 10"):
        tree["rho"].array(entry_start=3)


def test_a_claim_that_events_are_absent_must_be_proven_as_well(small, service):
    small.table.present = np.arange(ROWS) != 5
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    assert tree["hasParent"].array().to_list() == (np.arange(ROWS) != 5).tolist()
    MEMORY.clear()
    right = small.table.batches

    def lying(columns, start, stop):
        for data, metadata in right(columns, start, stop):
            small.table.present = np.ones(ROWS, np.bool_)
            ((_, other),) = [
                b for b in right([], start, stop) if b[1][b"start"] == metadata[b"start"]
            ]
            small.table.present = np.arange(ROWS) != 5
            yield data, {**metadata, b"proof": other[b"proof"]}

    small.table.batches = lying
    again = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    with pytest.raises(ProofMismatch):
        again["hasParent"].array()


@pytest.mark.parametrize("name", ["Muon_dxy", "Muon_times", "Muon_link"])
def test_other_numbers_of_objects_than_the_local_collection_has_are_caught(small, service, name):
    counts = MUONS.copy()
    counts[[4, 5]] = counts[[5, 4]]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    for travelling in (name, "parent:Muon_pt"):
        value = small.table.values[travelling]
        small.table.values[travelling] = replace(value, offsets=(offsets, *value.offsets[1:]))
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    with pytest.raises(
        CountsMismatch, match=r"holds 2 objects in entry 4 .* nMuon says 1 .*2 such"
    ):
        tree[name].array()
    assert len(tree[name].array(entry_start=6)) == ROWS - 6


@pytest.mark.parametrize("kind", ["proof", "counts"])
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.filterwarnings("ignore:Performed attempt:UserWarning")
def test_a_runner_that_skips_bad_files_does_not_skip_a_wrong_join(small, service, kind, retries):
    if kind == "proof":
        small.table.rows = exchanged()
    else:
        for travelling in ("Muon_dxy", "parent:Muon_pt"):
            small.table.values[travelling] = small.table.values["PFCands_pt"]
    options = service.nanoevents(NanoAODSchema, dataset="small")
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False, retries=retries),
        schema=options["schemaclass"],
        chunksize=8,
        skipbadfiles=True,
    )
    files = {"d": {"treename": "Events", "files": [str(small.path)]}}

    def total(events):
        return {"sum": ak.sum(events.Muon.dxy), "events": len(events)}

    with pytest.raises(Exception, match="Failed processing") as caught:
        runner(files, total, uproot_options=options["uproot_options"])
    chain, link = [], caught.value
    while link is not None:
        chain.append(link)
        link = link.__cause__
    assert any(isinstance(e, AlignmentError) for e in chain)
    assert not any(isinstance(e, OSError) for e in chain)


def test_a_runner_that_skips_bad_files_skips_a_service_that_is_gone(small, service, server):
    options = service.nanoevents(NanoAODSchema, dataset="small")
    server.answer_with(503, "text/plain", b"")
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False, retries=0),
        schema=options["schemaclass"],
        chunksize=8,
        skipbadfiles=(OSError,),
    )
    files = {"d": {"treename": "Events", "files": [str(small.path)]}}
    with (
        pytest.warns(UserWarning, match="Skipping bad file"),
        pytest.raises(Exception, match="all your files are bad"),
    ):
        runner(
            files,
            lambda events: {"sum": ak.sum(events.Muon.dxy)},
            uproot_options=options["uproot_options"],
        )


def test_what_is_remembered_is_proven_again_for_each_opened_file(small, service, tmp_path):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    tree["rho"].array()
    friend = small.tree(service.nanoevents(BaseSchema, dataset="small")).columnservice_friend
    assert friend.read(["rho"], 0, ROWS, explicit=True)
    friend = small.tree(service.nanoevents(BaseSchema, dataset="small")).columnservice_friend
    friend._local.values = lambda _, start, stop: np.zeros(stop - start, np.uint64)
    with pytest.raises(ProofMismatch):
        friend.read(["rho"], 0, ROWS, explicit=True)


def test_a_dataset_that_changes_between_two_columns_of_a_range_is_noticed(small, service):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    tree["rho"].array()
    small.table.present = np.arange(ROWS) != 3
    with pytest.raises(FileChanged, match="Build the events anew"):
        tree["npu"].array()
    again = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    assert np.isnan(again["rho"].array()[3])
    assert again["npu"].array()[3] == 0


def test_a_file_without_event_keys_gets_nothing(server, service, tmp_path):
    arrays = {"run": ak.Array([1, 1]), "event": ak.Array([1, 2])}
    path = tmp_path / "keyless.root"
    uuid = write_tree(path, "Events", arrays)
    served = server.add(serve_small(path, uuid, "keyless"))
    served.tables[uuid] = replace(served.tables[uuid], batch_rows=2)
    options = service.nanoevents(BaseSchema, dataset="keyless")
    with pytest.raises(NoEventKeys, match="luminosityBlock") as caught:
        uproot.open(path, **options["uproot_options"])["Events"]["rho"].array()
    assert not isinstance(caught.value, OSError)


def test_virtual_events_raise_the_error_itself(small, service):
    small.table.rows = exchanged()
    options = service.nanoevents(NanoAODSchema, dataset="small")
    events = NanoEventsFactory.from_root({str(small.path): "Events"}, **options).events()
    with pytest.raises(ProofMismatch):
        ak.sum(events.PFCands.pt)
    assert ak.sum(events.Muon.pt) > 0
