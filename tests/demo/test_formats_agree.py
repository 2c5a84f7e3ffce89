"""The formats room reads what the generator wrote: keys, luminosity blocks, decoded numbers."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice import formats
from columnservice.demo import physics
from columnservice.demo.blocks import Layout, Sample
from columnservice.demo.generate import Pair, generate
from columnservice.demo.particles import particles
from columnservice.model import BranchRead, Ragged

SAMPLE = Sample(events=120, parents=2, block_events=30, seed=8)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return generate("cms", tmp_path_factory.mktemp("cms"), SAMPLE)


def read(tree: uproot.TTree, branch: BranchRead) -> Ragged:
    raw = uproot.AsJagged(uproot.AsDtype("u1")) if branch.raw else None
    return formats.ragged_from_layout(tree[branch.path].array(raw).layout)


def decoded(tree: uproot.TTree, format_name: str) -> dict[str, ak.Array]:
    """Every supported column of a tree, as an Awkward Array."""
    found = {}
    for offered in formats.format_named(format_name).offer(tree):
        if offered.recipe is None:
            continue
        column = formats.apply(
            offered.recipe, [read(tree, branch) for branch in offered.recipe.reads]
        )
        array = ak.Array(column.values)
        for offsets in reversed(column.offsets):
            array = ak.unflatten(array, np.diff(offsets))
        found[offered.column.name] = array
    return found


def events_of_parents(pair: Pair) -> list[np.ndarray]:
    """The generator's event numbers of each parent file, in row order."""
    rows: list[list[int]] = [[] for _ in pair.parents]
    for _, parts in Layout(pair.sample).parents():
        for parent, events in parts.items():
            rows[parent].extend(events.tolist())
    return [np.array(r) for r in rows]


def true_particles(pair: Pair) -> ak.Array:
    """The particles of all events, as they were made."""
    layout = Layout(pair.sample)
    blocks = []
    for block in range(layout.blocks):
        core = physics.core(pair.sample, block, len(layout.events_of(block)))
        made = particles(pair.sample, block, core)
        blocks.append(ak.unflatten(ak.zip(made.columns), made.counts))
    return ak.concatenate(blocks)


def test_eventkeys_and_luminosity_blocks_are_read(pair: Pair):
    layout = Layout(pair.sample)
    miniaod = formats.format_named("miniaod")
    for path, events in zip(pair.parents, events_of_parents(pair), strict=True):
        with uproot.open(path) as file:
            tree = formats.find_tree(file, miniaod)
            keys = miniaod.keys([read(tree, branch) for branch in miniaod.key_reads(tree)])
            ranges = miniaod.lumi_ranges(file)
        expected = layout.keys(events)
        assert np.array_equal(keys.run, expected.run)
        assert np.array_equal(keys.lumi, expected.lumi)
        assert np.array_equal(keys.event, expected.event)
        assert ranges is not None
        held = {lumi for r in ranges for lumi in range(r.first, r.last + 1)}
        assert held == set(expected.lumi.tolist())


def assert_close(
    found: dict[str, ak.Array], made: ak.Array, name: str, field: str, **tolerance: float
) -> None:
    one, other = ak.flatten(found[f"PFCands_{name}"]), ak.flatten(made[field])
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), **tolerance)


def test_decoded_candidates_are_the_particles_that_were_made(pair: Pair):
    truth = true_particles(pair)
    for path, events in zip(pair.parents, events_of_parents(pair), strict=True):
        with uproot.open(path) as file:
            found = decoded(file["Events"], "miniaod")
        made = truth[events]

        assert ak.array_equal(found["nPFCands"], ak.num(made), dtype_exact=False)
        assert_close(found, made, "pt", "pt", rtol=6e-4)
        assert_close(found, made, "eta", "eta", atol=1.0e-4)
        assert_close(found, made, "phi", "phi", atol=1.6e-4)
        assert_close(found, made, "mass", "mass", rtol=6e-4)
        assert_close(found, made, "dxy", "dxy", rtol=6e-4, atol=1e-6)
        assert_close(found, made, "dz", "dz", rtol=6e-4, atol=1e-6)
        assert_close(found, made, "puppiWeight", "puppi", atol=1 / 255)
        for name, field in (("pdgId", "pdg_id"), ("charge", "charge"), ("pvIdx", "vertex")):
            assert ak.array_equal(found[f"PFCands_{name}"], made[field], dtype_exact=False)


def test_every_branch_becomes_a_column_or_has_a_reason(pair: Pair, tmp_path: Path):
    atlas = generate("atlas", tmp_path, SAMPLE)
    for one in (pair, atlas):
        for path, name in ((one.local, one.local_format), (one.parents[0], one.parent_format)):
            with uproot.open(path) as file:
                tree = formats.find_tree(file, formats.format_named(name))
                offered = formats.format_named(name).offer(tree)
                assert len(decoded(tree, name)) > 20
            assert all(o.recipe is not None or o.column.reason for o in offered)
