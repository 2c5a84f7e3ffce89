"""A Column that is made otherwise is another one: never remembered for it, never mixed with it."""

from __future__ import annotations

import multiprocessing
import pickle
import threading

import awkward as ak
import numpy as np
import pytest
from coffea import processor
from coffea.nanoevents import BaseSchema

import columnservice
from columnservice.errors import AlignmentError, FileChanged, ProvenanceChanged, TransportError
from columnservice.model import plain
from columnservice.nanoevents import ColumnServiceWarning
from columnservice.nanoevents.ahead import AHEAD
from columnservice.nanoevents.memory import MEMORY

from .small import ROWS

SHARED = {"rho": ["read"], "npu": ["read too"], "PFCands_pt": ["r15", "r17"]}


@pytest.fixture
def define(small):
    """Makes the service compute ``rho`` by a recipe, as values that tell which one it was."""

    def change(recipe: str, value: float, parents: str = "p1", **recipes: list[str]) -> None:
        made = {**SHARED, "rho": [recipe], **recipes}
        small.served.made = {n: {"recipes": [d * 8 for d in ds]} for n, ds in made.items()}
        small.served.made["npu"]["inputs"] = ["rho"]
        small.served.parents_state = parents
        small.served.provenance = {
            "parent": "mini",
            "take": "t",
            "parents": [],
            "recipes": {n: m["recipes"] for n, m in small.served.made.items()},
            "derived": {"npu": ["rho"]},
        }
        small.table.values["rho"] = plain(np.full(ROWS, value))
        small.table.values["npu"] = plain(np.full(ROWS, int(value), np.int32))

    change("a", 1.0)
    return change


@pytest.fixture
def define_behind(server, define):
    """Somebody changes ``rho`` as soon as rows behind a certain one are asked for."""

    def watch(row: int) -> None:
        def answer(request):
            if request.path.endswith("/data") and request.rows[0] >= row:
                define("b", 2.0)

        server.answer = answer

    return watch


def opened(small, service, **choice):
    return small.tree(service.nanoevents(BaseSchema, dataset="small", **choice))


def values(tree, name="rho", **rows):
    return set(tree[name].array(**rows).to_list())


def test_a_changed_column_and_what_is_computed_from_it_are_asked_for_anew(small, service, define):
    first = opened(small, service)
    assert (values(first), values(first, "npu")) == ({1.0}, {1})
    define("b", 2.0)
    second = opened(small, service)
    assert (values(second), values(second, "npu")) == ({2.0}, {2})
    define("a", 1.0)
    third = opened(small, service)
    assert (values(third), values(third, "npu")) == ({1.0}, {1})


def test_columns_that_did_not_change_stay_in_memory(small, service, server, define):
    values(opened(small, service), "good")
    define("b", 2.0)
    asked = len(server.data_requests)
    assert values(opened(small, service), "good") == {True}
    assert len(server.data_requests) == asked


def test_after_parents_were_replaced_nothing_is_remembered(small, service, define):
    assert values(opened(small, service)) == {1.0}
    define("a", 3.0, parents="p2")
    assert values(opened(small, service)) == {3.0}


def test_events_that_were_built_before_are_never_given_the_new_values(small, service, define):
    tree = opened(small, service)
    assert values(tree, entry_stop=10) == {1.0}
    define("b", 2.0)
    with pytest.raises(ProvenanceChanged, match="rho is made otherwise now") as caught:
        tree["rho"].array(entry_start=10)
    assert "service.nanoevents" in caught.value.remedy
    assert not isinstance(caught.value, TransportError)
    assert caught.value.__context__ is None
    with pytest.raises(ProvenanceChanged, match="rho"):
        tree["npu"].array(entry_start=10)
    assert values(tree, entry_stop=10) == {1.0}
    assert values(tree, "good", entry_start=10) == {True}
    assert values(opened(small, service)) == {2.0}


def test_a_column_that_nobody_asked_for_yet_harms_nobody_and_is_not_remembered(
    small, service, define
):
    """``rho`` comes along on the second range, because it was touched on the first."""
    tree = opened(small, service, read_ahead=False)
    values(tree, entry_stop=10)
    define("b", 2.0)
    assert values(tree, "good", entry_start=10) == {True}
    define("a", 1.0)
    assert values(opened(small, service), entry_start=10) == {1.0}


def test_what_was_read_ahead_by_another_recipe_is_neither_used_nor_remembered(
    small, service, define_behind
):
    define_behind(12)
    tree = opened(small, service)
    for start in (0, 6):
        assert values(tree, entry_start=start, entry_stop=start + 6) == {1.0}
    where = tree.columnservice_friend._supply.range(12, 18)
    AHEAD.wait(where)
    assert "rho" not in {made.name for made in MEMORY.recall(where)}
    with pytest.raises(ProvenanceChanged):
        tree["rho"].array(entry_start=12, entry_stop=18)


def test_files_of_different_layouts_are_made_differently_and_rightly(small, service, define):
    for recipes in (["r15"], ["r17"], ["r15", "r17"], []):
        MEMORY.clear()
        small.served.provenance["recipes"]["PFCands_pt"] = [r * 8 for r in recipes]
        assert len(opened(small, service)["PFCands_pt"].array()) == ROWS
        # Counts that come with their lists are not in the reply's recipes.
        assert len(opened(small, service)["nPFCands"].array()) == ROWS
    small.served.provenance["recipes"]["PFCands_pt"] = ["r18" * 8]
    MEMORY.clear()
    with pytest.raises(ProvenanceChanged, match="PFCands_pt"):
        opened(small, service)["PFCands_pt"].array()


@pytest.fixture
def new_layout(small):
    """A file of a parent is opened for the first time; its layout was not known before."""

    def come(*recipes: str, here: str) -> None:
        small.served.made["PFCands_pt"]["recipes"] = [r * 8 for r in recipes]
        small.served.provenance["recipes"]["PFCands_pt"] = [here * 8]

    return come


def test_a_layout_that_became_known_meanwhile_is_no_change(
    small, service, server, define, new_layout
):
    tree = opened(small, service, read_ahead=False)
    tree["PFCands_pt"].array(entry_stop=10)
    lists = []

    def answer(request):
        if request.path.endswith("/columns"):
            lists.append(request.path)

    server.answer = answer
    new_layout("r15", "r17", "r18", here="r18")
    for start in range(10, ROWS, 5):
        for _ in range(2):
            tree["PFCands_pt"].array(entry_start=start, entry_stop=start + 5)
    assert len(lists) == 1
    assert [r.rows for r in server.data_requests] == [
        (0, 10),
        *((a, min(a + 5, ROWS)) for a in range(10, ROWS, 5)),
    ]
    new_layout("r15", "r18", "r19", here="r19")
    MEMORY.clear()
    with pytest.raises(ProvenanceChanged, match="PFCands_pt"):
        tree["PFCands_pt"].array()


def test_other_processes_learn_of_a_new_layout_themselves(small, service, define, new_layout):
    options = service.nanoevents(BaseSchema, dataset="small")
    new_layout("r15", "r17", "r18", here="r18")
    assert _elsewhere(options, small.path, "PFCands_pt") != "ProvenanceChanged"


def test_a_parent_that_is_replaced_between_two_columns_of_a_range_is_noticed(small, service):
    def joined(size):
        parents = [{"lfn": "/store/m.root", "uuid": "m", "size_bytes": size, "servers": []}]
        small.served.provenance = {"take": str(size), "parents": parents, "recipes": {}}

    joined(1)
    tree = opened(small, service)
    tree["rho"].array()
    joined(2)
    with pytest.raises(FileChanged, match="Build the events anew"):
        tree["npu"].array()
    assert len(opened(small, service)["npu"].array()) == ROWS


def _in_another_process(options, path, name, answers):
    import uproot

    try:
        found = uproot.open(path, **options["uproot_options"])["Events"][name].array()
        answers.put(found.to_list()[0])
    except AlignmentError as error:
        answers.put(error.code)


def _elsewhere(options, path, name):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    job = context.Process(target=_in_another_process, args=(options, path, name, answers))
    job.start()
    found = answers.get(timeout=120)
    job.join()
    return found


def test_other_processes_compare_with_what_the_analysis_began_with(small, service, define):
    options = service.nanoevents(BaseSchema, dataset="small")
    assert _elsewhere(options, small.path, "rho") == 1.0
    define("b", 2.0)
    assert _elsewhere(options, small.path, "rho") == "ProvenanceChanged"


@pytest.mark.parametrize("named", [True, False])
def test_a_runner_never_mixes_two_versions_and_never_skips_that(
    small, service, server, define_behind, named
):
    define_behind(8)
    metadata = {"columnservice": "small"} if named else {}
    fileset = {"d": {"files": {str(small.path): "Events"}, "metadata": metadata}}
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False, retries=0),
        schema=BaseSchema,
        chunksize=8,
        skipbadfiles=True,
    )

    def process(events):
        return {"sum": float(ak.sum(events.rho))}

    with pytest.raises(Exception, match="Failed processing") as caught:
        service.run(runner, fileset, process)
    chain, link = [], caught.value
    while link is not None:
        chain.append(link)
        link = link.__cause__
    assert any(isinstance(e, ProvenanceChanged) for e in chain)
    assert [r.rows for r in server.data_requests][:2] == [(0, 8), (8, 16)]


def test_dask_takes_graphs_of_two_versions_for_two(small, service, define):
    def token():
        options = service.nanoevents(BaseSchema, dataset="small")
        classes = options["uproot_options"]["custom_classes"]
        again = pickle.loads(pickle.dumps(classes))
        assert again.__dask_tokenize__() == classes.__dask_tokenize__()
        return classes.__dask_tokenize__()

    first = token()
    define("b", 2.0)
    assert token() != first


def test_an_old_reply_on_disk_is_never_given_for_the_changed_column(
    small, server, define, tmp_path
):
    server.etags = True
    laptop = columnservice.connect(server.url, cache_dir=tmp_path, read_timeout_seconds=3)
    assert values(opened(small, laptop)) == {1.0}
    define("b", 2.0)
    tree = opened(small, laptop)
    assert "rho" in tree
    MEMORY.clear()
    quiet = threading.Event()
    server.answer = lambda _: quiet.wait(60)
    with (
        pytest.warns(ColumnServiceWarning, match="come from the cache on this disk"),
        pytest.raises(ProvenanceChanged, match="rho"),
    ):
        tree["rho"].array()
    quiet.set()
