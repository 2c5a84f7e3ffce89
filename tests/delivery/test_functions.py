"""Functions that the operator installed: found, called a thousand events at a time, held to it."""

from __future__ import annotations

import sys

import awkward as ak
import numpy as np
import pytest

from columnservice.delivery import functions
from columnservice.delivery.functions import awkward_of, run_function
from columnservice.errors import FunctionFailed, TransportError
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import Ragged
from columnservice.selection import installed as room
from tests.support.installed import ENTRY_POINTS, install
from tests.support.ragged import ragged_of

pytestmark = pytest.mark.fast
SOURCE = "pfiso 1.2, pfiso:{}"


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """The tiny distribution, on the path of this process for one test."""
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    room.installed.cache_clear()
    yield tmp_path
    room.installed.cache_clear()
    for module in ("pfiso", "other"):
        sys.modules.pop(module, None)


def told(name, entry, dtype="float32", objects_of=0, version=1):
    return {
        "name": name, "source": SOURCE.format(entry), "version": version, "dtype": dtype,
        "objects_of": objects_of,
    }  # fmt: skip


PT = ragged_of([[5.0, 3.0], [], [7.5]], 1)


def test_entry_points_are_found_with_what_they_declare(distribution):
    found, broken = room.installed()
    assert len(found) == len(ENTRY_POINTS)
    isolation = next(f for f in found if f.name == "Muon_installedIso")
    assert isolation.source == "pfiso 1.2, pfiso:isolation"
    assert (isolation.version, isolation.author, isolation.unit) == (2, "Ada", "GeV")
    assert isolation.inputs[0] == "Muon_eta"
    reasons = {b.source: b.reason for b in broken}
    assert "does not declare name, inputs" in reasons["pfiso 1.2, pfiso:silent"]
    assert "AttributeError" in reasons["pfiso 1.2, pfiso:nowhere"]


def test_what_readers_are_told_is_one_line_that_can_be_shown():
    class Told:
        name, inputs, dtype, collection, version = "Muon_x", ("Muon_pt",), "float32", "Muon", 1
        doc, author, unit = (
            """Two
            lines.""",
            "Ada",
            "",
        )

        def __call__(self, pt):
            return pt

    assert room.declared(Told(), "here").doc == "Two lines."
    Told.author = "A\x1b[2Jda"
    with pytest.raises(ValueError, match="cannot be shown"):
        room.declared(Told(), "here")


def test_two_functions_of_one_name_are_both_refused(distribution, monkeypatch):
    monkeypatch.syspath_prepend(install(distribution / "second", "2.0", "other"))
    room.installed.cache_clear()
    found, broken = room.installed()
    assert found == ()
    said = [b.reason for b in broken if "Muon_failing" in b.reason]
    assert len(said) == 2
    assert "other 2.0, other:failing and pfiso 1.2, pfiso:failing" in said[0]


def test_events_come_in_portions_and_values_do_not_depend_on_them(distribution, monkeypatch):
    rng = np.random.default_rng(1)
    events = 2500
    muons, candidates = (
        np.concatenate([[0], np.cumsum(rng.integers(0, n, events))]) for n in (3, 9)
    )
    inputs = [
        Ragged((o,), {"": rng.uniform(-2, 2, o[-1]).astype(np.float32)})
        for o in (muons, muons, candidates, candidates, candidates)
    ]
    portions = []
    monkeypatch.setattr(functions, "tick", lambda: portions.append(1))
    about = told("Muon_installedIso", "isolation", version=2)
    cut = run_function(inputs, about)
    assert len(portions) == 3
    monkeypatch.setattr(functions, "EVENTS_PER_CALL", 10**6)
    whole = run_function(inputs, about)
    assert cut.offsets[0].tolist() == muons.tolist()
    assert cut.values.dtype == np.float32
    assert cut.values.tobytes() == whole.values.tobytes()
    assert cut.values.any()


def test_a_function_may_give_one_value_per_event_or_see_no_events(distribution):
    about = told("largestPt", "largest", objects_of=-1)
    assert run_function([PT], about).values.tolist() == [5.0, -1.0, 7.5]
    none = ragged_of([], 1)
    assert len(run_function([none], about)) == 0
    assert len(run_function([none], told("Muon_shorter", "shorter"))) == 0


FAILURES = {
    "failing": ("Muon_failing", "by Bob, failed: OSError: no model file at all"),
    "leaving": ("Muon_leaving", "failed: SystemExit: 3"),
    "shorter": ("Muon_shorter", "gave other numbers of Muon than there are"),
    "per_event": ("Muon_perEvent", "not one value for each Muon"),
    "text": ("Muon_text", "gave no numbers"),
    "optional": ("Muon_optional", "gave no numbers"),
    "whole": ("Muon_whole", "gave float32, not int32"),
    "overwriting": ("Muon_overwriting", "failed: ValueError: .*read-only"),
    "reordering": ("Muon_reordering", "failed: ValueError: .*read-only"),
    "times_100": ("Muon_times100", "gave 500, which int8 cannot hold"),
    "to_38": ("Muon_to38", r"gave 5e\+38, which float32 cannot hold"),
}
DTYPES = {"whole": "int32", "times_100": "int8"}


@pytest.mark.parametrize(("entry", "about"), FAILURES.items())
def test_whatever_a_function_does_wrong_is_one_clear_error(distribution, entry, about):
    name, said = about
    with pytest.raises(FunctionFailed, match=said) as caught:
        run_function([PT], told(name, entry, DTYPES.get(entry, "float32")))
    assert PT.values.tolist() == [5.0, 3.0, 7.5]
    assert PT.offsets[0].tolist() == [0, 2, 2, 3]
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, TransportError)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_values_that_fit_become_what_was_declared(distribution):
    small = ragged_of([[1.2, -1.2], [np.nan, np.inf, 2.0]], 1)
    fine = run_function([small], told("Muon_to38", "to_38"))
    np.testing.assert_allclose(fine.values, np.float32([1.2e38, -1.2e38, np.nan, np.inf, 2e38]))
    whole = ragged_of([[1.2, -1.2], [0.3]], 1)
    hundreds = run_function([whole], told("Muon_times100", "times_100", "int8"))
    assert (hundreds.values.dtype, hundreds.values.tolist()) == (np.int8, [120, -120, 30])


def test_a_function_may_write_its_values_to_the_same_place_every_time(distribution):
    events = 2500
    pt = Ragged((np.arange(events + 1),), {"": np.arange(events, dtype=np.float32)})
    made = run_function([pt], told("firstPt", "reusing", "float32", -1))
    assert made.values.tolist() == list(range(events))


def test_another_version_than_the_service_meant_is_not_run(distribution):
    with pytest.raises(FunctionFailed, match="version 9\\) is not installed here"):
        run_function([PT], told("largestPt", "largest", version=9))


def test_functions_get_columns_as_they_are_without_a_copy():
    nested = ragged_of([[[1.0], []], [[2.0, 3.0]]], 2)
    array = awkward_of(nested)
    assert array.to_list() == [[[1.0], []], [[2.0, 3.0]]]
    assert np.shares_memory(np.asarray(ak.flatten(array, axis=None)), nested.values)
    back = ragged_from_layout(array.layout)
    assert [o.tolist() for o in back.offsets] == [o.tolist() for o in nested.offsets]
    records = Ragged(nested.offsets[:1], {"a": np.arange(3), "b": np.arange(3.0)})
    assert awkward_of(records).b.to_list() == [[0.0, 1.0], [2.0]]
