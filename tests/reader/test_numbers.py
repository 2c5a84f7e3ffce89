"""Numbers straight out of baskets are those of a direct uproot read, in real files too."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.formats.ragged import ragged_from_layout
from columnservice.reader.numbers import Numbers, numbers_of, read_numbers

HERE = uproot.source.futures.TrivialExecutor()
ROOTS_OWN = Path(__file__).with_name("data") / "root_tree.root"
FLOATS = Numbers(np.dtype(">f4"), 0)
DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "f4", "f8")
EVENTS, BASKET = 300, 40


# Of the experiments' files one branch in so many is read: all of them take minutes.
ONE_IN = 7


def leaves(file, one_in=1):
    """The leaves of all trees of a file, or some, with how they hold numbers, if they do."""
    trees = [file[name] for name, kind in file.classnames().items() if kind == "TTree"]
    for branch in islice(chain(*(t.itervalues(recursive=True) for t in trees)), 0, None, one_in):
        if not branch.branches and branch.num_entries:
            yield branch, numbers_of(branch.interpretation)


def demand_same(branch, kind, rows, threads=HERE):
    expected = ragged_from_layout(branch.array()[rows].layout)
    found = read_numbers(branch, kind, np.asarray(rows, np.int64), threads)
    assert found is not None
    assert found.values.dtype == expected.values.dtype
    assert len(found.offsets) == len(expected.offsets)
    assert all(map(np.array_equal, found.offsets, expected.offsets))
    assert found.values.tobytes() == expected.values.tobytes(), branch.name


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Scalars and lists of each kind of number, in baskets of 40 events."""
    path = tmp_path_factory.mktemp("numbers") / "numbers.root"
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 4, EVENTS)
    kinds, data = {}, {}
    for dtype in DTYPES:
        values = rng.integers(0, 250, 4 * EVENTS).astype(dtype)
        name = np.dtype(dtype).name
        kinds |= {f"s_{name}": name, f"l_{name}": f"var * {name}"}
        data[f"s_{name}"] = values[:EVENTS]
        data[f"l_{name}"] = ak.unflatten(values[: counts.sum()], counts)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("Events", kinds)
        for start in range(0, EVENTS, BASKET):
            tree.extend({k: v[start : start + BASKET] for k, v in data.items()})
    with uproot.open(path) as file:
        yield list(leaves(file))


@pytest.fixture(scope="module")
def by_root():
    with uproot.open(ROOTS_OWN) as file:
        yield [(branch, kind) for branch, kind in leaves(file) if kind is not None]


@pytest.mark.fast
@given(rows=st.sets(st.integers(0, EVENTS - 1), max_size=80), threaded=st.booleans())
def test_any_rows_of_any_kind_of_number_are_those_of_uproot(written, rows, threaded):
    with ThreadPoolExecutor(2) as pool:
        for branch, kind in written:
            demand_same(branch, kind, sorted(rows), pool if threaded else HERE)
    assert sum(kind.header_bytes == 0 for _, kind in written) == len(DTYPES)


@pytest.mark.fast
@settings(max_examples=30)
@given(rows=st.sets(st.integers(0, 299), max_size=80))
def test_lists_with_headers_that_root_wrote_are_those_of_uproot(by_root, rows):
    assert {kind.header_bytes for _, kind in by_root} == {None, 10}
    for branch, kind in by_root:
        demand_same(branch, kind, sorted(rows))


def test_numbers_of_all_experiment_files_are_those_of_uproot(data_dir):
    rng, known = np.random.default_rng(7), 0
    for path in sorted(data_dir.glob("*/*.root")):
        with uproot.open(path) as file:
            for branch, kind in leaves(file, ONE_IN):
                if kind is not None:
                    wanted = rng.random(branch.num_entries) < rng.random()
                    demand_same(branch, kind, np.flatnonzero(wanted))
                    known += 1
    assert known > 3_000


@pytest.mark.fast
def test_what_is_no_list_of_numbers_is_left_to_uproot(tmp_path):
    path = tmp_path / "others.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"fixed": np.dtype(("f4", (3,))), "text": "string"})
        file["Events"].extend({"fixed": np.zeros((2, 3), "f4"), "text": ["a", "bc"]})
    with uproot.open(path) as file:
        found = {branch.name: kind for branch, kind in leaves(file)}
    assert found["fixed"] is None
    assert found["text"] is None


class Branch:
    """A branch with one basket."""

    name, branches = "x", ()

    def __init__(self, data: bytes, byte_offsets: list[int] | None, entries: int, told: int):
        self.entry_offsets = [0, told]
        self._basket = SimpleNamespace(
            data=np.frombuffer(data, np.uint8),
            byte_offsets=None if byte_offsets is None else np.array(byte_offsets, np.int32),
            num_entries=entries,
        )

    def basket_chunk_cursor(self, number: int) -> None:
        raise IndexError(number)  # it stands within the tree

    def basket(self, number: int) -> SimpleNamespace:
        assert number == 0
        return self._basket


@pytest.mark.fast
def test_lists_without_places_are_left_to_uproot_after_one_basket():
    assert read_numbers(Branch(bytes(8), None, 2, 2), FLOATS, np.arange(2), HERE) is None


@pytest.mark.fast
@pytest.mark.parametrize(
    ("byte_offsets", "entries", "header_bytes", "reason"),
    [
        ([0, 4, 8], 3, 0, "a basket of 3 rows instead of 2"),
        ([0, 8], 2, 0, "1 lists in 2 rows"),
        ([0, 8, 4], 2, 0, "end before they begin"),
        ([-4, 4, 8], 2, 0, "end before they begin"),
        ([0, 4, 12], 2, 0, "end before they begin"),
        ([0, 3, 8], 2, 0, "no numbers of 4 bytes"),
        ([0, 8, 8], 2, 4, "end before they begin"),
        ([0, 4, 8], 2, 2, "no numbers of 4 bytes"),
    ],
)
def test_a_basket_that_contradicts_itself_is_damage_whatever_rows_are_wanted(
    byte_offsets, entries, header_bytes, reason
):
    branch = Branch(bytes(8), byte_offsets, entries, 2)
    for rows in ([0], [1], [0, 1]):
        with pytest.raises(ValueError, match=reason):
            read_numbers(branch, Numbers(np.dtype(">f4"), header_bytes), np.array(rows), HERE)


@pytest.mark.fast
def test_scalars_of_which_bytes_are_missing_are_damage():
    with pytest.raises(ValueError, match="6 bytes for 2 numbers"):
        read_numbers(
            Branch(bytes(6), None, 2, 2), Numbers(np.dtype(">f4"), None), np.arange(2), HERE
        )


@pytest.mark.fast
@pytest.mark.parametrize("second", [ValueError("damaged"), None])
def test_baskets_that_nobody_waits_for_any_more_are_not_read(second):
    """They would be asked of a file that is closed, or that another thread reads."""
    asked = []

    class Many(Branch):
        def basket(self, number: int) -> SimpleNamespace:
            asked.append(number)
            time.sleep(0.01)
            if number == 1 and second is not None:
                raise second
            offsets = None if number == 1 else np.array([0, 4], np.int32)
            data = np.zeros(4, np.uint8)
            return SimpleNamespace(data=data, byte_offsets=offsets, num_entries=1)

    branch = Many(b"", None, 1, 1)
    branch.entry_offsets = list(range(51))
    with ThreadPoolExecutor(1) as pool:
        if second is None:
            assert read_numbers(branch, FLOATS, np.arange(50), pool) is None
        else:
            with pytest.raises(ValueError, match="damaged"):
                read_numbers(branch, FLOATS, np.arange(50), pool)
        before = len(asked)
        pool.submit(time.sleep, 0).result()
        assert len(asked) == before < 50


@pytest.mark.fast
@pytest.mark.parametrize("kind", [FLOATS, Numbers(np.dtype(">f4"), None)])
@pytest.mark.parametrize(
    ("entry_offsets", "rows", "reason"),
    [
        ([0, 2, 1], [0], "one behind the other"),
        ([1, 3], [2], "one behind the other"),
        ([1, 3], [0, 2], "one behind the other"),
        ([0, 2], [1, 2], "2 rows in its baskets, and no more"),
    ],
)
def test_baskets_that_do_not_hold_the_rows_of_their_tree_are_damage(
    kind, entry_offsets, rows, reason
):
    """Rows that no basket holds would take the lists of others."""
    branch = Branch(bytes(8), [0, 4, 8], 2, 2)
    branch.entry_offsets = entry_offsets
    with pytest.raises(ValueError, match=reason):
        read_numbers(branch, kind, np.array(rows), HERE)
