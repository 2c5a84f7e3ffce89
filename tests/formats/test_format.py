"""Formats by name, event trees, key branches and luminosity ranges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from columnservice.errors import NoTree, RequestError
from columnservice.formats import FORMATS, find_tree, format_named
from columnservice.formats.format import merge_lumis
from columnservice.model import LumiRange

pytestmark = pytest.mark.fast


def test_formats_are_found_by_name():
    assert list(FORMATS) == ["nanoaod", "miniaod", "aod", "physlite", "daod"]
    assert all(format_named(name) is fmt for name, fmt in FORMATS.items())


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(RequestError, match=r"nearest: nanoaod.*Formats are nanoaod, miniaod"):
        format_named("nano_aod")
    with pytest.raises(RequestError, match="no format 'zzz'"):
        format_named("zzz")


def test_a_file_without_the_tree_says_which_trees_it_has(data_dir):
    with (
        uproot.open(data_dir / "cms/pfnano.root") as directory,
        pytest.raises(
            NoTree, match=r"no tree CollectionTree or EventData \(physlite\); it has Events, Lumi"
        ),
    ):
        find_tree(directory, format_named("physlite"))


@pytest.mark.parametrize(
    ("path", "name", "said"),
    [
        (
            "cms_demo_mini/local_nano_like_8ev_rntuple.root",
            "miniaod",
            "Events is an RNTuple, which",
        ),
        ("atlas_demo_derived/local_60ev_rntuple.root", "nanoaod", "it has the RNTuple EventData"),
    ],
)
def test_an_rntuple_that_is_not_the_event_tree_is_named_as_what_it_is(data_dir, path, name, said):
    with (
        uproot.open(data_dir / path) as directory,
        pytest.raises(NoTree, match=said),
    ):
        find_tree(directory, format_named(name))


pairs = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12)), max_size=30)


@given(pairs)
def test_luminosity_ranges_hold_exactly_the_blocks_and_touch_no_other_range(blocks):
    run = np.array([r for r, _ in blocks], np.uint32)
    lumi = np.array([b for _, b in blocks], np.uint32)
    ranges = merge_lumis(run, lumi)
    held = [(r.run, b) for r in ranges for b in range(r.first, r.last + 1)]
    assert held == sorted(set(blocks))
    for one, other in itertools.pairwise(ranges):
        assert one.run < other.run or one.last + 1 < other.first


def test_the_last_block_of_a_run_and_the_first_of_the_next_are_two_ranges():
    top = 2**32 - 1
    found = merge_lumis(np.array([1, 2], np.uint32), np.array([top, 0], np.uint32))
    assert found == (LumiRange(1, top, top), LumiRange(2, 0, 0))
