"""What benchmarks compare with: against keys looked up one by one, and against swapped events."""

from __future__ import annotations

from contextlib import ExitStack

import awkward as ak
import numpy as np
import pytest
import uproot

from benchmarks.measure import WrongAnswer
from benchmarks.peers import Way, threaded
from benchmarks.scripts import script
from benchmarks.truth import agrees, demand, expected
from columnservice.demo.blocks import Sample
from columnservice.demo.cms import CANDIDATES
from columnservice.demo.generate import generate

COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCandsRaw_packedHits")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    sample = Sample(events=300, parents=2, missing=0, block_events=20)
    return generate("cms", tmp_path_factory.mktemp("pair"), sample)


def test_the_truth_is_what_a_look_up_of_each_event_finds(pair):
    held = {}
    for path in pair.parents:
        with uproot.open({path: "Events"}) as tree:
            raw = np.asarray(ak.to_regular(tree["EventAuxiliary"].array()))
            events = np.ascontiguousarray(raw[:, 43:51]).view(">u8").ravel().tolist()
            codes = tree[f"{CANDIDATES}.obj.packedPt_"].array().to_list()
            held |= dict(zip(events, codes, strict=True))
    with uproot.open({pair.local: "Events"}) as tree:
        wanted = tree["event"].array().to_list()
    pt = expected(pair, COLUMNS)["PFCands_pt"]
    codes = [np.array(held[event], np.uint16) for event in wanted]
    assert pt.to_list() == [c.view(np.float16).astype(float).tolist() for c in codes]


def test_rows_of_the_truth_are_rows_of_the_local_file(pair):
    rows = np.array([7, 3, 200])
    assert agrees(expected(pair, COLUMNS, rows), expected(pair, COLUMNS)[rows])


def test_two_swapped_events_are_found(pair):
    truth = expected(pair, COLUMNS)
    swapped = np.arange(len(truth))
    swapped[[4, 5]] = 5, 4
    with pytest.raises(WrongAnswer, match="row: our answer differs"):
        demand("row", truth[swapped], truth)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_code_beside_the_right_one_is_found(pair, column):
    truth = expected(pair, COLUMNS)
    step = {"PFCands_phi": 3.2 / 32767, "PFCands_eta": 6 / 32767}.get(column, 1)
    assert not agrees(ak.with_field(truth, truth[column] + step, column), truth)


@pytest.mark.parametrize("kind", ["as it is", "with two threads", "with files open"])
@pytest.mark.parametrize("by_runs", [False, True])
def test_every_script_answers_the_truth(pair, kind, by_runs):
    rows = np.array([250, 1, 2, 30, 100])
    urls = [str(path) for path in pair.parents]
    with ExitStack() as stack:
        way = Way(urls)
        if kind == "with two threads":
            way = Way(urls, threaded(stack))
        elif kind == "with files open":
            trees = [stack.enter_context(uproot.open({url: "Events"})) for url in urls]
            way = Way(urls, trees=tuple(trees))
        local = pair.local.with_name("part.root")
        with uproot.open({pair.local: "Events"}) as tree, uproot.recreate(local) as file:
            file["Events"] = tree.arrays(["run", "luminosityBlock", "event"])[rows]
        for _ in range(2):
            assert agrees(
                script(way, local, COLUMNS, by_runs=by_runs), expected(pair, COLUMNS, rows)
            )
