"""Reading in parts: every row once, right, from whichever replica; and what errors leave behind."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.errors import CountsMismatch, DamagedFile, UnsupportedColumn
from columnservice.model import BranchRead, FileLocation
from columnservice.reader import Demand, FilePool, heldreads, parts, read_parts
from columnservice.reader.heldreads import Abandoned, Window
from tests.support.ragged import lists_of

pytestmark = pytest.mark.fast
EVENTS, BASKET = 1000, 50
NUMBER, LIST = BranchRead("number"), BranchRead("list")
LISTS = ak.unflatten(
    np.random.default_rng(3).normal(size=4 * EVENTS).astype("f4"), [3, 5] * (EVENTS // 2)
)


def write(path, wrong=0):
    """A file of 20 baskets a branch; numbers of the last row may be wrong."""
    numbers = np.arange(EVENTS)
    numbers[-1] += wrong
    with uproot.recreate(path) as file:
        file.mktree("Events", {"number": "int64", "list": "var * float32"})
        for start in range(0, EVENTS, BASKET):
            own = slice(start, start + BASKET)
            file["Events"].extend({"number": numbers[own], "list": LISTS[own]})
    return path


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("parts") / "parts.root")
    return FileLocation("parts", (str(path),), "Events")


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    cut = parts.cut
    monkeypatch.setattr(parts, "cut", lambda branches, rows: cut(branches, rows, 2000))


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def first(read):
    return read[0]


def both(read):
    numbers, lists = read
    return lists.values[lists.offsets[0][:-1]] + numbers.values


def buggy(read):
    raise LookupError("a bug")


DEMANDS = [Demand((NUMBER,), first), Demand((LIST,), first), Demand((NUMBER, LIST), both)]


@settings(max_examples=40)
@given(rows=st.sets(st.integers(0, EVENTS - 1), max_size=400), threaded=st.booleans())
def test_parts_hold_the_wanted_rows_of_a_direct_uproot_read(location, threads, rows, threaded):
    wanted = np.array(sorted(rows), np.int64)
    args = (FilePool(), location, DEMANDS, wanted)
    found = read_parts(*args, threads if threaded else None)
    given = np.concatenate([part.rows for part in found.parts])
    assert np.array_equal(given, wanted)
    for part in found.parts:
        number, lists, sums = part.made
        assert number.values.tolist() == part.rows.tolist()
        assert lists_of(lists) == ak.to_list(LISTS[part.rows])
        assert np.array_equal(sums, ak.to_numpy(LISTS[part.rows][:, 0]) + part.rows)


def test_a_whole_file_comes_in_several_parts_and_each_basket_once(location, threads):
    pool = FilePool()
    with pool.tree(location) as opened:
        sizes = sum(
            int(opened.tree[n].member("fBasketBytes")[:20].sum()) for n in ("number", "list")
        )
        before = opened.source.num_requested_bytes
        found = read_parts(pool, location, DEMANDS[:2], np.arange(EVENTS), threads)
        assert opened.source.num_requested_bytes - before == found.source_bytes
    assert len(found.parts) > 5
    assert sizes <= found.source_bytes < sizes + 8192 * len(found.parts)


def test_an_error_of_a_demand_ends_the_read_and_leaves_nothing_held(location, threads):
    pool, seen = FilePool(), []

    def stumble(read):
        seen.append(read)
        raise ZeroDivisionError

    with pool.tree(location) as opened:
        with pytest.raises(ZeroDivisionError):
            read_parts(pool, location, [Demand((NUMBER,), stumble)], np.arange(EVENTS), threads)
        told = len(seen)
        assert opened.source._held is None
        assert not opened.directory.file.closed
    threads.submit(int).result()
    assert len(seen) == told


@pytest.mark.parametrize("threaded", [False, True])
def test_nothing_is_under_way_while_the_error_of_a_demand_is_looked_at(
    location, threads, monkeypatch, threaded
):
    """An error that is kept keeps all that its traceback leads to, the generator of bytes too."""
    window, lost = Window(), []
    monkeypatch.setattr(heldreads, "WINDOW", window)
    monkeypatch.setattr(window, "lost", lambda size: (lost.append(size), Window.lost(window, size)))
    args = FilePool(), location, [Demand((NUMBER, LIST), buggy)], np.arange(EVENTS)
    with pytest.raises(LookupError, match="a bug") as held:
        read_parts(*args, threads if threaded else None)
    assert held.value.__traceback__ is not None
    assert window._under_way_bytes == 0
    assert sum(lost) > 0  # so much was under way when it failed


def alike(made):
    """The last number is that of the last row."""
    numbers = made[0].values
    if numbers[-1] > EVENTS - 1:
        raise CountsMismatch("numbers and rows contradict each other.")


@pytest.mark.parametrize("threaded", [False, True])
def test_a_copy_that_contradicts_itself_is_read_at_the_origin(tmp_path, threads, threaded):
    bad, good = (str(write(tmp_path / f"{wrong}.root", wrong)) for wrong in (1, 0))
    rows, pool = np.arange(EVENTS), FilePool()
    copied = FileLocation("parts", (bad, good), "Events")
    args = DEMANDS, rows, threads if threaded else None, None, alike
    found = read_parts(pool, copied, *args)
    assert found.url == good
    assert found.parts[-1].made[0].values[-1] == EVENTS - 1
    alone = FileLocation("parts", (bad,), "Events")
    with pytest.raises(CountsMismatch, match="contradict each other"):
        read_parts(pool, alone, *args)


def test_an_error_of_a_demand_says_nothing_of_an_rntuple_either(tmp_path, threads):
    path = tmp_path / "rntuple.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {"number": np.arange(5)})
    location = FileLocation("rntuple", (str(path),), "Events")
    with pytest.raises(LookupError, match="a bug"):
        read_parts(FilePool(), location, [Demand((NUMBER,), buggy)], np.arange(5), threads)
    found = read_parts(FilePool(), location, [Demand((NUMBER,), first)], np.arange(5), threads)
    assert found.parts[0].made[0].values.tolist() == [0, 1, 2, 3, 4]


def test_what_cannot_be_decoded_at_a_cache_is_read_from_the_origin(tmp_path, threads):
    origin = write(tmp_path / "origin.root")
    cache = write(tmp_path / "cache.root", wrong=5)

    def suspicious(read):
        if (read[0].values >= EVENTS).any():
            raise DamagedFile("numbers that the file never had.")
        return read[0]

    both = FileLocation("parts", (str(cache), str(origin)), "Events")
    found = read_parts(
        FilePool(), both, [Demand((NUMBER,), suspicious)], np.arange(EVENTS), threads
    )
    assert found.url == str(origin)
    values = np.concatenate([part.made[0].values for part in found.parts])
    assert values.tolist() == list(range(EVENTS))


def test_a_read_that_nobody_wants_any_more_ends(location, threads):
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(Abandoned):
        read_parts(FilePool(), location, DEMANDS, np.arange(EVENTS), threads, abandoned)


def test_a_branch_that_the_file_lacks_is_named(location):
    demand = Demand((BranchRead("nothing"),), first)
    with pytest.raises(UnsupportedColumn, match="has no branch nothing"):
        read_parts(FilePool(), location, [demand], np.array([0]))


def test_rows_behind_the_end_are_refused(location):
    with pytest.raises(DamagedFile):
        read_parts(FilePool(), location, DEMANDS, np.array([EVENTS]))


def test_only_so_many_parts_wait_to_be_decoded(location, monkeypatch):
    held = []
    begin = parts._Reading._begin

    def counted(self, rows, ranges):
        begin(self, rows, ranges)
        held.append(len(self._begun))

    monkeypatch.setattr(parts._Reading, "_begin", counted)
    found = read_parts(FilePool(), location, DEMANDS, np.arange(EVENTS))
    assert len(found.parts) > parts.MOST_DECODING
    assert max(held) == parts.MOST_DECODING + 1


VECTORS = [f"std::vector<{kind}>[]" for kind in ("float", "double", "int32_t", "uint16_t")]


def test_threads_that_decode_for_the_first_time_do_not_stumble_over_each_other(data_dir):
    path = data_dir / "cms" / "miniaodsim_phys14_10ev.root"
    reads = []
    with uproot.open({path: "Events"}) as tree:
        for objects in ("patPhotons_slimmedPhotons__PAT.", "patElectrons_slimmedElectrons__PAT."):
            above = f"{objects}/{objects}obj"
            # Of vectors uproot looks into the file's descriptions of classes.
            named = [b.name for b in tree[above].branches if b.typename in VECTORS]
            reads += [BranchRead(f"{above}/{name}") for name in named]
    location = FileLocation("mini", (str(path),), "Events")
    demands = [Demand((read,), first) for read in reads for _ in range(2)]
    expected, before = None, sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(3):
            with ThreadPoolExecutor(4) as threads:
                found = read_parts(FilePool(), location, demands, np.arange(10), threads)
            told = [lists_of(made) for made in found.parts[0].made]
            expected = told if expected is None else expected
            assert repr(told) == repr(expected)
    finally:
        sys.setswitchinterval(before)
    assert len(reads) > 4
