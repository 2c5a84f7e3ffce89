"""What stays of a range that turned out to be wrong or incomplete: a line on the log, no values."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

from columnservice import errors
from columnservice.errors import (
    AlignmentError,
    CountsMismatch,
    FileChanged,
    MissingParent,
    ProofMismatch,
)
from columnservice.nanoevents import ColumnServiceWarning
from columnservice.nanoevents.memory import MEMORY

from .small import MUONS, ROWS

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


def lose(small):
    small.table.present = np.arange(ROWS) != 5


def shift(small):
    small.table.rows = np.roll(np.arange(ROWS), 1)


def recount(small):
    counts = np.roll(MUONS, 1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    for name, value in small.table.values.items():
        if "Muon_" in name:
            small.table.values[name] = replace(value, offsets=(offsets, *value.offsets[1:]))


WRONG = [(lose, MissingParent), (shift, ProofMismatch), (recount, CountsMismatch)]


@pytest.fixture
def opened(small, service):
    """Opens the file anew, as coffea does for each chunk."""

    def anew(**more):
        return small.tree(service.nanoevents(BaseSchema, dataset="small", **more))

    return anew


@pytest.mark.parametrize(("spoil", "error"), WRONG)
def test_nothing_of_a_wrong_range_is_remembered(small, opened, spoil, error):
    right = (dict(small.table.values), small.table.present)
    spoil(small)
    tree = opened()
    with pytest.raises(error):
        tree["Muon_dxy"].array()
    assert MEMORY.recall(tree.columnservice_friend._supply.range(0, ROWS)) == {}
    small.table.values, small.table.present, small.table.rows = *right, None
    for some in (tree, opened()):
        assert some["Muon_dxy"].array().to_list() == opened()["Muon_dxy"].array().to_list()


def test_absences_are_remembered_by_the_open_file_only(small, opened, server):
    lose(small)
    tree = opened(missing="mask")
    assert np.isnan(tree["rho"].array()[5])
    asked = len(server.data_requests)
    small.table.present = np.ones(ROWS, np.bool_)
    assert np.isnan(tree["rho"].array()[5])
    assert len(server.data_requests) == asked
    again = opened(missing="mask")
    assert again["rho"].array()[5] == 5.5
    assert len(server.data_requests) == asked + 1
    with pytest.raises(FileChanged):
        tree["npu"].array()


def test_a_parent_that_was_lost_meanwhile_is_noticed_by_who_opens_the_file_anew(small, opened):
    assert opened(missing="mask")["rho"].array()[5] == 5.5
    lose(small)
    tree = opened(missing="mask")
    assert tree["npu"].array()[5] == 0
    assert np.isnan(tree["rho"].array()[5])


@pytest.mark.parametrize(("spoil", "error"), WRONG)
def test_every_alignment_error_is_on_the_log_once(small, opened, caplog, spoil, error):
    spoil(small)
    for _ in range(3):
        with pytest.raises(error) as caught:
            opened()["Muon_dxy"].array()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("columnservice", logging.ERROR)
    assert record.getMessage() == f"{error.__name__}: {caught.value}"
    with pytest.raises(AlignmentError):
        opened()["Muon_dxy"].array(entry_start=1)
    assert len(caplog.records) == 2


def test_an_error_that_awkward_hides_is_on_the_log(small, service, caplog):
    lose(small)
    options = service.nanoevents(NanoAODSchema, dataset="small", columns="PFCands_pt")
    events = NanoEventsFactory.from_root({str(small.path): "Events"}, **options).events()
    with pytest.raises(MissingParent):
        np.asarray(events.PFCands["pt"][0])
    getattr(events.PFCands, "pt", None)
    assert "1 of 24 events" in caplog.text


def test_a_column_that_nobody_needs_now_does_not_spoil_one_that_is_needed(small, opened, server):
    tree = opened(read_ahead=False)
    for name in ("rho", "npu"):
        tree[name].array(entry_stop=6)
    body = json.dumps(errors.problem(errors.DamagedFile("A parent is damaged."))).encode()

    def answer(request):
        return (422, "application/problem+json", body) if "npu" in request.columns else None

    server.answer = answer
    assert tree["rho"].array(entry_start=6).to_list() == [k + 0.5 for k in range(6, ROWS)]
    assert [r.columns for r in server.data_requests[2:]] == [["rho", "npu"], ["rho"]]
    with pytest.raises(errors.DamagedFile) as caught:
        tree["npu"].array(entry_start=6)
    assert caught.value.__context__ is None


def test_a_service_that_is_gone_is_not_asked_twice(small, opened, server):
    tree = opened(read_ahead=False)
    for name in ("rho", "npu"):
        tree[name].array(entry_stop=6)
    asked = len(server.data_requests)
    server.answer_with(503, "text/plain", b"")
    with pytest.raises(errors.Unavailable):
        tree["rho"].array(entry_start=6)
    assert {len(r.columns) for r in server.data_requests[asked:]} == {2}


def test_parent_files_that_cannot_be_used_are_told(small, opened, caplog):
    small.table.unusable_parents = 3
    assert len(opened()["rho"].array()) == ROWS
    lose(small)
    with pytest.raises(MissingParent, match=r"\(3 files of the parent dataset cannot be used at"):
        opened()["npu"].array()
    caplog.clear()
    for start in (0, 2):
        opened(missing="mask")["npu"].array(entry_start=start)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "'small' have no parent: 3 files" in record.getMessage()


def test_parents_that_nobody_could_vouch_for_are_told_once_per_dataset(small, opened, service):
    small.table.verified = False
    tree = opened(read_ahead=False)
    with pytest.warns(ColumnServiceWarning, match="'small' are unverified"):
        assert len(tree["rho"].array(entry_stop=3)) == 3
    for rows in (slice(0, 3), slice(3, 9)):
        tree["rho"].array(entry_start=rows.start, entry_stop=rows.stop)
    assert service.report().record["traffic"]["unverified"] == 2
