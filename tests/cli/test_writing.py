"""Written files hold what was fetched, in every format; whole or not at all."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from columnservice import wire
from columnservice.cli.writing import demand_suffix, output_file
from columnservice.client import Reply
from columnservice.client.reply import Batch
from columnservice.errors import RequestError, SetupError
from columnservice.model import Column, Keys, Member, Ragged, plain

pytestmark = pytest.mark.fast

FLOAT, INT = (Member("", "float32"),), (Member("", "int32"),)
LINK = (Member("m_persKey", "uint32"), Member("m_persIndex", "uint32"))
RHO = Column("rho", FLOAT, 0)
COUNTS = Column("nPF", INT, 0, counts_of="PF")
PT = Column("PF_pt", FLOAT, 1, "PF", "pt", "PF")
ID = Column("PF_id", INT, 1, "PF", "id", "PF")
AUX = Column("ElectronsAuxDyn.pt", FLOAT, 1, "Electrons", "pt", "ElectronsAuxDyn.pt")
LINKS = Column("ElectronsAuxDyn.link", LINK, 1, "Electrons", "link", "ElectronsAuxDyn.link")
DEEP = Column("vertex_cov", FLOAT, 2, "vertex", "cov", "vertex_cov")
COLUMNS = [RHO, COUNTS, PT, ID, AUX, LINKS]

# Five events; the third has no parent.
PRESENT = np.array([True, True, False, True, True])
PF = np.array([0, 2, 2, 2, 5, 6])
ELECTRONS = np.array([0, 1, 1, 1, 1, 3])
VALUES = {
    "rho": plain(np.array([1, 2, 0, 4, 5], np.float32)),
    "nPF": plain(np.diff(PF).astype(np.int32)),
    "PF_pt": plain(np.arange(6, dtype=np.float32), PF),
    "PF_id": plain(np.arange(6, dtype=np.int32) * 11, PF),
    "ElectronsAuxDyn.pt": plain(np.array([7, 8, 9], np.float32), ELECTRONS),
    "ElectronsAuxDyn.link": Ragged(
        (ELECTRONS,),
        {
            "m_persKey": np.array([1, 2, 3], np.uint32),
            "m_persIndex": np.array([4, 5, 6], np.uint32),
        },
    ),
    "vertex_cov": plain(
        np.arange(3, dtype=np.float32), PF * 0 + [0, 1, 1, 1, 2, 2], np.array([0, 1, 3])
    ),
}
NO_KEYS = Keys(np.zeros(5, np.uint32), np.zeros(5, np.uint32), np.arange(5, dtype=np.uint64))


def rows(ragged: Ragged, start: int, stop: int) -> Ragged:
    if not ragged.depth:
        return plain(ragged.values[start:stop])
    outer = ragged.offsets[0][start : stop + 1]
    a, b = outer[0], outer[-1]
    if ragged.depth == 1:
        return Ragged((outer - a,), {m: v[a:b] for m, v in ragged.content.items()})
    inner = rows(Ragged(ragged.offsets[1:], ragged.content), a, b)
    return Ragged((outer - a, *inner.offsets), inner.content)


def reply(columns, start: int, stop: int) -> Reply:
    present = PRESENT[start:stop]
    values = {c.name: rows(VALUES[c.name], start, stop) for c in columns}
    data = wire.encode_batch(columns, values, present)
    proof = wire.checksum(wire.row_hashes(NO_KEYS[start:stop], present, start))
    batches = (Batch(start, stop, proof, data),) if stop > start else ()
    return Reply(start, stop, batches, data.schema)


def written(path, columns, *ranges, tree="Events", rntuple=False):
    with output_file(path, columns, tree, rntuple=rntuple) as write:
        for start, stop in ranges:
            write(reply(columns, start, stop))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ranges", [[(0, 5)], [(0, 2), (2, 3), (3, 5)]])
@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_arrow_and_parquet_keep_nulls_and_nesting(tmp_path, suffix, ranges):
    path = tmp_path / f"out{suffix}"
    written(path, [*COLUMNS, DEEP], *ranges)
    table = pq.read_table(path) if suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    table.validate(full=True)
    assert table["hasParent"].to_pylist() == PRESENT.tolist()
    assert table["rho"].to_pylist() == [1, 2, None, 4, 5]
    pf = table["PF"].to_pylist()
    assert [None if e is None else [(o["PF_pt"], o["PF_id"]) for o in e] for e in pf] == [
        [(0, 0), (1, 11)],
        [],
        None,
        [(2, 22), (3, 33), (4, 44)],
        [(5, 55)],
    ]
    assert table["ElectronsAuxDyn.pt"].to_pylist() == [[7], [], None, [], [8, 9]]
    assert table["vertex_cov"].to_pylist() == [[[0]], [], None, [[1, 2]], []]


@pytest.mark.parametrize("ranges", [[(0, 5)], [(0, 2), (2, 3), (3, 5)]])
def test_root_files_share_a_counter_and_mark_events_without_parent(tmp_path, ranges):
    path = tmp_path / "out.root"
    written(path, COLUMNS, *ranges)
    with uproot.open(path) as file:
        tree = file["Events"]
        assert set(tree.keys()) == {
            "hasParent",
            "rho",
            "nPF",
            "PF_pt",
            "PF_id",
            "nElectronsAuxDyn.pt",
            "ElectronsAuxDyn.pt",
            "nElectronsAuxDyn.link",
            "ElectronsAuxDyn.link_m_persKey",
            "ElectronsAuxDyn.link_m_persIndex",
        }
        assert tree["hasParent"].array().tolist() == PRESENT.tolist()
        np.testing.assert_array_equal(tree["rho"].array(), [1, 2, np.nan, 4, 5])
        assert tree["nPF"].array().tolist() == [2, 0, 0, 3, 1]
        assert tree["PF_pt"].array().tolist() == [[0, 1], [], [], [2, 3, 4], [5]]
        assert tree["PF_id"].array().tolist() == [[0, 11], [], [], [22, 33, 44], [55]]
        assert tree["ElectronsAuxDyn.pt"].array().tolist() == [[7], [], [], [], [8, 9]]
        index = tree["ElectronsAuxDyn.link_m_persIndex"].array()
        assert index.tolist() == [[4], [], [], [], [5, 6]]
        assert ak.type(tree["PF_id"].array()) == ak.types.from_datashape("5 * var * int32")


@pytest.mark.parametrize("ranges", [[(0, 5)], [(0, 2), (2, 3), (3, 5)]])
def test_rntuples_hold_counts_and_lists_of_lists_under_names_without_dots(tmp_path, ranges):
    path = tmp_path / "out.root"
    written(path, [RHO, PT, ID, AUX, LINKS, DEEP], *ranges, rntuple=True)
    with uproot.open(path) as file:
        assert file.classname_of("Events") == "ROOT::RNTuple"
        found = file["Events"].arrays()
    assert set(found.fields) == {
        "hasParent",
        "rho",
        "nPF",
        "PF_pt",
        "PF_id",
        "ElectronsAuxDyn:pt",
        "ElectronsAuxDyn:link",
        "vertex_cov",
    }
    assert found.hasParent.tolist() == PRESENT.tolist()
    np.testing.assert_array_equal(found.rho, [1, 2, np.nan, 4, 5])
    assert found.nPF.tolist() == [2, 0, 0, 3, 1]
    assert found.PF_pt.tolist() == [[0, 1], [], [], [2, 3, 4], [5]]
    assert found["ElectronsAuxDyn:pt"].tolist() == [[7], [], [], [], [8, 9]]
    assert found["ElectronsAuxDyn:link"].m_persIndex.tolist() == [[4], [], [], [], [5, 6]]
    assert found.vertex_cov.tolist() == [[[0]], [], [], [[1, 2]], []]
    assert ak.type(found.PF_id) == ak.types.from_datashape("5 * var * int32")


@pytest.mark.parametrize("rntuple", [False, True])
def test_the_tree_bears_the_name_that_the_experiment_gives_it(tmp_path, rntuple):
    for tree in ("CollectionTree", "EventData"):
        path = tmp_path / "out.root"
        written(path, COLUMNS, (0, 5), tree=tree, rntuple=rntuple)
        with uproot.open(path) as file:
            assert file.keys(cycle=False) == ["EventData" if rntuple else "CollectionTree"]


MATCHED = Column("PF_far", FLOAT, 1, "PF", "far", "local:PF", origin="derived")
OTHERS = Column("PF_other", FLOAT, 1, "PF", "other", "PF")
VALUES |= {
    "PF_far": plain(np.arange(4, dtype=np.float32), np.array([0, 1, 1, 1, 3, 4])),
    "PF_other": VALUES["PF_pt"],
}


@pytest.mark.parametrize("rntuple", [False, True])
@pytest.mark.parametrize("columns", [[MATCHED], [MATCHED, OTHERS], [OTHERS, MATCHED]])
def test_what_was_computed_for_local_objects_has_their_counter(tmp_path, columns, rntuple):
    """And where the parent holds other objects under that name, one of the two has."""
    path = tmp_path / "out.root"
    written(path, columns, (0, 2), (2, 5), rntuple=rntuple)
    with uproot.open(path) as file:
        found = file["Events"].arrays()
    counts = ak.num(found[columns[0].name]).tolist()
    assert found.nPF.tolist() == counts
    assert found.PF_far.tolist() == [[0], [], [], [1, 2], [3]]


def test_an_rntuple_without_rows_has_all_fields(tmp_path):
    path = tmp_path / "out.root"
    written(path, [*COLUMNS, DEEP], (3, 3), rntuple=True)
    with uproot.open(path) as file:
        assert file["Events"].num_entries == 0
        assert {"PF_pt", "nPF", "vertex_cov"} <= set(file["Events"].keys())


@pytest.mark.parametrize("suffix", [".arrow", ".parquet", ".root"])
def test_no_rows_give_a_file_with_all_columns(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    written(path, COLUMNS, (3, 3))
    if suffix == ".root":
        with uproot.open(path) as file:
            assert file["Events"].num_entries == 0
            assert "PF_pt" in file["Events"]
    elif suffix == ".parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert "PF" in pa.ipc.open_file(str(path)).schema.names


@pytest.mark.parametrize("suffix", [".arrow", ".parquet", ".root"])
def test_a_failure_leaves_the_older_file_and_nothing_half_written(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("older")

    def fail_midway():
        with output_file(path, COLUMNS, "Events") as write:
            write(reply(COLUMNS, 0, 2))
            raise RequestError("The service says no.")

    with pytest.raises(RequestError):
        fail_midway()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


@pytest.mark.parametrize("suffix", [".arrow", ".parquet", ".root"])
def test_a_directory_that_is_not_there_is_told(tmp_path, suffix):
    def write_there():
        with output_file(tmp_path / "absent" / f"out{suffix}", COLUMNS, "Events") as write:
            write(reply(COLUMNS, 0, 2))

    with pytest.raises(SetupError, match=r"Cannot write .*absent/out"):
        write_there()


def test_lists_of_lists_are_refused_for_root_before_anything_is_fetched(tmp_path):
    with (
        pytest.raises(RequestError, match="vertex_cov: lists of lists"),
        output_file(tmp_path / "out.root", [PT, DEEP], "Events"),
    ):
        pytest.fail("nothing may be fetched")
    assert list(tmp_path.iterdir()) == []


def test_an_ending_that_names_no_format_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"\.arrow, \.parquet, \.root"):
        demand_suffix(tmp_path / "out.csv")
    with pytest.raises(RequestError, match=r"out\.parquet cannot hold an RNTuple"):
        demand_suffix(tmp_path / "out.parquet", rntuple=True)
