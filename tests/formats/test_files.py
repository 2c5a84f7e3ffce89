"""Every experiment file at hand: what is offered can be read, and is what was advertised."""

from __future__ import annotations

import re
import struct
from collections import defaultdict

import awkward as ak
import numpy as np
import pytest

from columnservice.errors import NoEventKeys
from columnservice.formats import apply, format_named, layout_digest
from tests.formats.support import FILES, RAW

# The whole of them takes minutes; one of each kind is small.
FAST = ("edm_unit/", "cms_demo_mini/", "cms_demo_syn/parent_0", "atlas_demo_derived/")
EACH = [
    pytest.param((path, name), id=path, marks=[pytest.mark.fast] * path.startswith(FAST))
    for path, name in FILES
]


@pytest.fixture(scope="module", params=EACH)
def opened(request, opened_file):
    return opened_file(*request.param)


def test_every_column_offered_as_ok_reads_as_advertised(opened):
    rows = opened.tree.num_entries
    assert opened.readable()
    for offered in opened.readable():
        column, recipe = offered.column, offered.recipe
        values = apply(recipe, opened.inputs(recipe.reads))
        assert len(values) == rows, column.name
        assert values.depth == column.depth, column.name
        assert list(values.content) == [m.name for m in column.members], column.name
        for member in column.members:
            flat = values.content[member.name]
            assert flat.dtype == np.dtype(member.dtype), column.name
            assert flat.dtype.isnative, column.name
            assert flat.flags.c_contiguous, column.name
            assert flat.ndim == 1, column.name
        lengths = {len(flat) for flat in values.content.values()}
        assert len(lengths) == 1
        below = [*(len(o) - 1 for o in values.offsets[1:]), *lengths]
        for offsets, length in zip(values.offsets, below, strict=False):
            assert offsets.dtype == np.int64
            assert offsets[0] == 0
            assert offsets[-1] == length
            assert (np.diff(offsets) >= 0).all()


def test_undecoded_columns_equal_what_uproot_reads(opened):
    for offered in opened.readable():
        if offered.recipe.decode != "as_is":
            continue
        array = opened.tree[offered.recipe.reads[0].path].array()
        found = opened.column(offered.column.name)
        flat = _flat(array, offered.column.depth)
        for member in offered.column.members:
            truth = flat[member.name] if member.name else flat
            np.testing.assert_array_equal(found.content[member.name], truth.to_numpy())


def _flat(array, depth):
    for _ in range(depth):
        array = ak.flatten(array, axis=1)
    return array


def test_columns_of_one_shape_hold_the_same_number_of_objects_in_every_event(opened):
    shapes = defaultdict(dict)
    for offered in opened.readable():
        column = offered.column
        if column.shape is not None:
            counts = np.diff(opened.column(column.name).offsets[0])
            shapes[column.shape][column.name] = counts
        elif column.counts_of is not None:
            shapes[column.counts_of][column.name] = opened.column(column.name).values
    for name, counts in shapes.items():
        first, *others = counts.values()
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=name)


def test_every_shape_of_cms_has_its_counts_and_atlas_has_none(opened):
    columns = [offered.column for offered in opened.readable()]
    shapes = {c.shape for c in columns if c.shape is not None}
    counted = [c.counts_of for c in columns if c.counts_of is not None]
    if opened.format.name in ("physlite", "daod"):
        assert not counted
        assert all(c.shape == c.name for c in columns if c.depth)
    else:
        assert set(counted) == shapes
        assert len(counted) == len(shapes)
        assert all(c.name == "n" + c.counts_of for c in columns if c.counts_of is not None)


def test_names_are_unique_and_well_formed_and_unsupported_columns_have_reasons(opened):
    columns = [offered.column for offered in opened.format.offer(opened.tree)]
    names = [c.name for c in columns]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in names)
    for offered in opened.offered.values():
        column = offered.column
        assert (column.support == "ok") == (offered.recipe is not None)
        assert (column.support == "ok") == (not column.reason)
        assert column.source
        if offered.recipe is not None:
            assert offered.recipe.column == column.name
            assert all(read.path in opened.tree for read in offered.recipe.reads)


def test_collections_of_cms_are_what_coffea_makes_of_the_names(opened):
    """NanoAODSchema: what stands before the first ``_`` is a collection, its fields are alike."""
    if opened.format.name not in ("miniaod", "aod"):
        return  # NanoAOD files name their own branches, and NanoAODSchema does not read ATLAS
    shapes = defaultdict(set)
    for offered in opened.readable():
        column = offered.column
        if column.counts_of is None:
            shapes[column.name.partition("_")[0]].add(column.shape)
    for collection, found in shapes.items():
        assert found in ({collection}, {None}), collection


def test_files_with_one_digest_offer_the_same(opened_file):
    parents = [opened_file(f"cms_demo_syn/parent_{i}.root", "miniaod") for i in range(4)]
    digests = {layout_digest(parent.tree, parent.format) for parent in parents}
    assert len(digests) == 1
    assert all(parent.offered == parents[0].offered for parent in parents)


def test_another_layout_or_format_has_another_digest(opened_file):
    dy, dimuon = (opened_file(f"cms/nano_{n}.root", "nanoaod") for n in ("dy", "dimuon"))
    digests = {
        layout_digest(dy.tree, dy.format),
        layout_digest(dimuon.tree, dimuon.format),
        layout_digest(dy.tree, format_named("miniaod")),
    }
    assert len(digests) == 3


def test_a_branch_that_was_written_empty_is_refused(phys14):
    """In this file every other member of the candidates has 13282 values, this one has none."""
    opened = phys14
    column = opened.offered["PFCandsRaw_unpackedTrk"].column
    assert column.support == "unsupported"
    assert "nothing is stored" in column.reason
    assert ak.sum(ak.num(opened.tree[column.source].array())) == 0
    assert opened.column("nPFCands").values.sum() == len(opened.column("PFCands_pt").values) > 0


def test_what_uproot_read_of_every_branch_is_known(opened_file, data_dir):
    """The tables list branch by branch what uproot made of it: numbers that it read are offered."""
    tables = {
        "mini10": "cms/miniaodsim_phys14_10ev.root",
        "i951": "atlas/physlite_24.0.2_50ev.root",
        "i123b": "atlas_demo_pair/parent_physlite_100ev.root",
        "exot15": "atlas/daod_exot15_10ev.root",
    }
    for table, path in tables.items():
        opened = opened_file(path, dict(FILES)[path])
        offered = {
            read.path.rpartition("/")[2]
            for one in opened.readable()
            for read in one.recipe.reads
            if not read.raw  # bytes are decoded by us, whatever uproot made of them
        }
        refused = {
            one.column.source.rpartition("/")[2]: one.column.reason
            for one in opened.offered.values()
            if one.recipe is None
        }
        lines = (data_dir / "tables" / f"{table}.tsv").read_text().splitlines()
        read = 0
        for line in lines:
            _, branch, _, leaf, kind, typename, result, made, *_ = line.split("\t")
            if leaf != "True" or kind == "AsGrouped":
                continue
            if result.startswith("ERR"):
                assert branch not in offered, branch
            elif "struct" not in made and not any(t in made for t in ("string", "set", "{")):
                assert branch in offered or "nothing is stored" in refused[branch], branch
                read += 1
            elif branch in offered:
                assert "ElementLink" in typename, branch
        assert read > 500


def test_no_reference_type_and_no_whole_object_is_offered(opened):
    for offered in opened.readable():
        for read in offered.recipe.reads:
            typename = opened.tree[read.path].typename
            if not read.raw:
                assert not re.search(r"edm::|reco::|pat::|Run3Scouting|^DataVector", typename)


def _walked_ids(opened):
    """Run, lumi and event of every entry: an independent walk over the bytes with struct."""
    ids = []
    for entry in opened.tree["EventAuxiliary"].array(RAW):
        data = bytes(np.asarray(entry))

        def skip(at, data=data):
            (word,) = struct.unpack_from(">I", data, at)
            assert word & 0x40000000
            return at + 4 + (word & 0x3FFFFFFF)

        start = skip(0)
        end = skip(start)
        (version,) = struct.unpack_from(">H", data, start + 4)
        payload = data[start + 6 + (0 if version else 4) : end]
        if len(payload) == 16:
            ids.append(struct.unpack(">IIQ", payload))
        elif len(payload) == 12:
            ids.append(struct.unpack(">III", payload))
        else:
            run, event = struct.unpack(">II", payload)
            (lumi,) = struct.unpack_from(">I", data, skip(skip(end)))
            ids.append((run, lumi, event))
    return ids


KEY_BRANCHES = {
    "nanoaod": ("run", "luminosityBlock", "event"),
    "physlite": ("runNumber", "lumiBlock", "eventNumber"),
    "daod": ("runNumber", "lumiBlock", "eventNumber"),
}


def _true_ids(opened):
    if opened.format.name in ("miniaod", "aod"):
        return _walked_ids(opened)
    columns = []
    for wanted in KEY_BRANCHES[opened.format.name]:
        matches = [
            k
            for k in opened.tree.keys()  # noqa: SIM118 (a TTree is no mapping)
            if re.fullmatch(rf"(EventInfoAux(Dyn)?\.(/EventInfoAux\.)?)?{wanted}", k)
        ]
        assert len(matches) == 1
        columns.append(opened.tree[matches[0]].array(library="np").tolist())
    return list(zip(*columns, strict=True))


def test_keys_equal_an_independent_reading(opened):
    if "luminosityBlock" not in opened.tree and opened.format.name == "nanoaod":
        with pytest.raises(NoEventKeys, match="luminosityBlock"):
            opened.format.key_reads(opened.tree)
        return
    keys = opened.format.keys(opened.inputs(opened.format.key_reads(opened.tree)))
    assert (keys.run.dtype, keys.lumi.dtype, keys.event.dtype) == ("uint32", "uint32", "uint64")
    found = list(zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True))
    assert found == _true_ids(opened)
    assert len(found) == opened.tree.num_entries


def test_luminosity_trees_hold_the_blocks_of_all_events(opened):
    ranges = opened.format.lumi_ranges(opened.directory)
    has_tree = "LuminosityBlocks" in opened.directory
    assert (ranges is not None) == has_tree
    if ranges is None:
        return
    held = {(r.run, lumi) for r in ranges for lumi in range(r.first, r.last + 1)}
    # merged files list a block once per input
    assert len(held) <= opened.directory["LuminosityBlocks"].num_entries
    assert len(held) == sum(r.last - r.first + 1 for r in ranges)
    assert {(run, lumi) for run, lumi, _ in _true_ids(opened)} <= held
