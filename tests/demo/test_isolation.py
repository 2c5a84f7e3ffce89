"""Results of the demo's analysis: saved, compared, and a wrong join noticed."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from columnservice.demo import reference as room
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate
from columnservice.demo.isolation import (
    Result,
    around,
    concatenate,
    largest_difference,
    pair_mass,
)
from columnservice.demo.plot import save_plot
from columnservice.demo.reference import reference
from columnservice.errors import MissingParent


@pytest.fixture(scope="module", params=["cms", "atlas"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    directory = tmp_path_factory.mktemp(request.param)
    return generate(request.param, directory, Sample(events=200, block_events=30))


@pytest.fixture(scope="module")
def result(pair: Pair) -> Result:
    return reference(pair)


def test_a_result_survives_being_saved(result: Result, tmp_path: Path):
    result.save(tmp_path / "result.npz")
    assert largest_difference(Result.load(tmp_path / "result.npz"), result) == ("nothing", 0.0)


def test_the_direct_read_does_not_depend_on_its_chunks(
    pair: Pair, result: Result, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "_CHUNK_EVENTS", 17)
    assert largest_difference(reference(pair), result)[1] < 1e-12


def test_two_exchanged_events_are_noticed(result: Result):
    order = np.arange(len(result.mass_gev))
    order[[3, 4]] = 4, 3
    wrong = Result(
        result.isolation[order],
        result.prompt[order],
        result.mass_gev[order],
        {name: values[order] for name, values in result.sums.items()},
    )
    assert largest_difference(wrong, result)[1] > 1e-2


def test_one_exchanged_column_is_noticed_although_the_muons_agree(result: Result):
    name = next(iter(result.sums))
    wrong = {**result.sums, name: np.roll(result.sums[name], 1)}
    found = largest_difference(
        Result(result.isolation, result.prompt, result.mass_gev, wrong), result
    )
    assert found[0] == f"sum of {name}"
    assert found[1] > 1e-2


def test_chunks_put_together_are_the_whole(result: Result):
    parts = [
        Result(
            result.isolation[rows],
            result.prompt[rows],
            result.mass_gev[rows],
            {name: values[rows] for name, values in result.sums.items()},
        )
        for rows in (slice(0, 50), slice(50, None))
    ]
    assert largest_difference(concatenate(parts), result) == ("nothing", 0.0)


def test_a_local_event_without_parent_is_an_error(tmp_path: Path):
    pair = generate("cms", tmp_path, Sample(events=50, missing=2, block_events=10))
    with pytest.raises(MissingParent, match="48 of 50"):
        reference(pair)


@pytest.mark.fast
def test_the_cone_closes_around_phi():
    muons = ak.zip({"pt": [[10.0]], "eta": [[0.0]], "phi": [[3.1]]})
    near, far = {"eta": 0.1, "phi": -3.1, "weight": 2.0}, {"eta": 0.1, "phi": 0.0, "weight": 5.0}
    assert around(muons, ak.Array([[near, far]])).to_list() == [[0.2]]
    assert around(muons, ak.Array([[near, far]])[:, :0]).to_list() == [[0.0]]


@pytest.mark.fast
def test_the_mass_needs_two_muons_of_opposite_charge():
    one = {"pt": 45.6, "eta": 0.0, "phi": 0.0, "charge": 1}
    other = {"pt": 45.6, "eta": 0.0, "phi": np.pi, "charge": -1}
    masses = pair_mass(ak.Array([[one, other], [one, one], [one], [other, one, one]]), 1.0)
    assert masses == pytest.approx([91.2, np.nan, np.nan, 91.2], nan_ok=True)


def test_a_plot_is_saved(result: Result, tmp_path: Path):
    save_plot(result, tmp_path / "plot.png", "test")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
