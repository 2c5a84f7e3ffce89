"""Values of expressions, against plain loops over objects."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from columnservice.errors import BadExpression, CountsMismatch
from columnservice.model import Ragged
from columnservice.selection import check, parse, text
from columnservice.selection import evaluation as room
from columnservice.selection.tree import names
from tests.selection.support import COLUMNS, Reference, run, values_of
from tests.support.ragged import lists_of, ragged_of

pytestmark = pytest.mark.fast

PER_OBJECT = {
    "": ["MET_pt", "rho", "nMuon", "run"],
    "Muon": ["Muon_pt", "Muon_eta", "Muon_charge", "Muon_layers"],
    "Jet": ["Jet_pt", "Jet_eta", "Jet_id"],
    "PFCands": ["PFCands_pt", "PFCands_eta"],
}
COLLECTIONS = ("Muon", "Jet", "PFCands")


@st.composite
def numbers(draw, axis: str, depth: int) -> str:
    """An expression that gives one number for each object of an axis, or per event."""
    kinds = ["column", "constant"] if axis else ["column"]
    if depth:
        kinds += ["binary", "function", "where", "reduce", "pairs"]
        kinds += [] if axis else ["reduce", "reduce"]
    kind = draw(st.sampled_from(kinds))
    deeper = {"axis": axis, "depth": depth - 1}
    if kind == "column":
        return draw(st.sampled_from(PER_OBJECT[axis] + PER_OBJECT[""]))
    if kind == "constant":
        return draw(st.sampled_from(["2", "0.5", "-1", "pi"]))
    if kind == "binary":
        sign = draw(st.sampled_from("+-*/"))
        return f"({draw(numbers(**deeper))} {sign} {draw(numbers(**deeper))})"
    if kind == "function":
        name = draw(st.sampled_from(["sqrt", "abs"]))
        return f"{name}({draw(numbers(**deeper))})"
    if kind == "where":
        condition = draw(conditions(**deeper))
        return f"where({condition}, {draw(numbers(**deeper))}, {draw(numbers(**deeper))})"
    inner = draw(st.sampled_from([c for c in COLLECTIONS if c != axis]))
    if kind == "reduce" and axis:
        return draw(st.sampled_from(PER_OBJECT[axis]))
    if kind == "pairs" and axis:
        return draw(pair_reductions(axis, inner))
    value = draw(numbers(inner, depth - 1))
    # The value must be one per object, whatever it is made of.
    value = f"({value} + 0 * {inner}_pt)" if draw(st.booleans()) else f"{inner}_pt"
    mask = f"[{draw(objects_chosen(inner, depth - 1))}]" if draw(st.booleans()) else ""
    name = draw(st.sampled_from(["sum", "mean", "count", "min", "max", "leading", "item"]))
    if name == "item":
        return f"{value}{mask}[{draw(st.integers(-3, 3))}]"
    if name == "leading":
        return f"leading({value}{mask}, by={inner}_eta{mask})"
    default = ", default=-1.5" if name in ("min", "max") and draw(st.booleans()) else ""
    return f"{name}({value}{mask}{default})"


@st.composite
def pair_reductions(draw, outer: str, inner: str) -> str:
    """A number for each outer object, made of the inner ones near it."""
    cone = draw(st.sampled_from(["0.5", "1", "2.5"]))
    near = f"dR({outer}, {inner}) < {cone}"
    if draw(st.booleans()):
        near = f"({near}) & ({inner}_pt > 0.5 * across({outer}_pt, {inner}))"
    chosen = f"{inner}_pt[{near}]"
    first = f"{inner}[{inner}_pt > 10]"
    return draw(
        st.sampled_from(
            [
                f"sum({chosen})",
                f"count({chosen})",
                f"max({chosen}, default=0)",
                f"mean({chosen})",
                f"min(dR({outer}, {inner}))",
                f"min(dR({outer}, {first}), default=9)",
                f"closest({inner}_pt, dR({outer}, {inner}))",
                f"sum(({inner}_pt * across({outer}_eta, {inner}))[{near}])",
                f"sum({inner}_pt[{inner}_pt > 10][dR({outer}, {first}) < {cone}])",
                f"count({inner}[{near}])",
                f"where(any({near}), 1, 2) + 0 * {outer}_pt",
            ]
        )
    )


@st.composite
def conditions(draw, axis: str, depth: int) -> str:
    sign = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
    compared = f"{draw(numbers(axis, max(depth - 1, 0)))} {sign} {draw(numbers(axis, 0))}"
    if depth and draw(st.booleans()):
        word = draw(st.sampled_from(["and", "or"]))
        return f"({compared} {word} not {draw(conditions(axis, depth - 1))})"
    return f"({compared})"


@st.composite
def objects_chosen(draw, axis: str, depth: int) -> str:
    """A condition for each object of an axis."""
    return f"{draw(conditions(axis, depth))} & ({axis}_pt > {draw(st.sampled_from(['-1', '15']))})"


def same(got: Any, want: Any) -> bool:
    if isinstance(want, list):
        return len(got) == len(want) and all(map(same, got, want))
    return bool(np.isclose(float(got), float(want), rtol=2e-4, atol=1e-4, equal_nan=True))


def demand_like_loops(source: str, values: dict[str, Ragged], events: int) -> None:
    got = lists_of(run(source, values))
    tree = parse(source)
    with np.errstate(all="ignore"):
        want = [Reference(values, event).result(tree) for event in range(events)]
    assert same(got, want), (source, got, want)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["", "Muon", "Jet"]).flatmap(lambda axis: numbers(axis, 3)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 5),
)
def test_expressions_give_what_loops_over_objects_give(source, seed, events):
    values = values_of(np.random.default_rng(seed), events)
    assume(names(parse(source)) not in ((), ("pi",)))
    program = check(parse(source), COLUMNS, source)
    assert text(parse(program.text)) == program.text
    demand_like_loops(source, values, events)


EXPRESSIONS = (
    "sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt",
    "count(Jet[~any(dR(Jet, Muon) < 0.8)])",
    "min(dR(Jet, Muon[Muon_pt > 10]), default=9)",
    "sum(PFCands_pt[PFCands_pt > 5][dR(Muon, PFCands[PFCands_pt > 5]) < 1])",
    "max(Jet_pt[Jet_eta > 0][0] * Muon_pt)",
)


@pytest.mark.parametrize("source", EXPRESSIONS)
@pytest.mark.parametrize("most", [1, 7, 100, 10_000])
def test_values_do_not_depend_on_how_events_are_cut(monkeypatch, source, most):
    events = 200
    values = values_of(np.random.default_rng(5), events, most=6)
    whole = run(source, values)
    monkeypatch.setattr(room, "MOST_OBJECTS", most)
    cut = run(source, values)
    assert [o.tolist() for o in cut.offsets] == [o.tolist() for o in whole.offsets]
    assert cut.values.tobytes() == whole.values.tobytes()
    assert cut.values.dtype == whole.values.dtype
    demand_like_loops(source, values, events)


@pytest.mark.parametrize(
    ("source", "pairs_most"),
    [
        ("sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt", 5_000),
        ("max(max(dR(Jet[Jet_pt > 60], PFCands[PFCands_pt > 20])))", 1_500),
    ],
)
def test_pairs_of_many_events_are_never_held_at_once(monkeypatch, source, pairs_most):
    events, held = 400, []
    values = values_of(np.random.default_rng(6), events, most=40)
    whole = run(source, values)
    made_by = room.Run._demand_pairs

    def watched(self, count):
        made_by(self, count)
        held.append(count)

    monkeypatch.setattr(room, "MOST_OBJECTS", pairs_most)
    monkeypatch.setattr(room.Run, "_demand_pairs", watched)
    cut = run(source, values)
    assert cut.values.tobytes() == whole.values.tobytes()
    assert max(held) <= pairs_most < sum(held)
    # Many events at a time: conditions are counted before chunks are taken to be too large.
    assert len(held) < events / 2


DENSE = {
    "Muon_eta": ragged_of([np.linspace(-2, 2, 300)], 1),
    "Muon_phi": ragged_of([np.linspace(-3, 3, 300)], 1),
    "Muon_pt": ragged_of([np.arange(300.0)], 1),
    "Jet_eta": ragged_of([np.linspace(-2, 2, 400)], 1),
    "Jet_phi": ragged_of([np.linspace(3, -3, 400)], 1),
    "Jet_pt": ragged_of([np.arange(400.0)], 1),
    "Jet_id": ragged_of([np.zeros(400)], 1, "int16"),
}


REMEDIED = {
    "min(dR(Muon, Jet[Jet_pt > 390]))": lambda far: far[:, 391:].min(axis=1),
    "min(dR(Muon[Muon_pt > 295], Jet))": lambda far: far[296:].min(axis=1),
    "min(dR(Muon[Muon_pt > 150], Jet[Jet_pt > 390]))": lambda far: far[151:, 391:].min(axis=1),
    "sum(Jet_pt[Jet_pt > 390][dR(Muon, Jet[Jet_pt > 390]) < 2])": lambda far: (
        (far[:, 391:] < 2) @ np.arange(391.0, 400)
    ),
}


@pytest.mark.parametrize(("remedied", "truth"), REMEDIED.items())
def test_one_event_with_too_many_pairs_is_an_error_and_what_it_advises_helps(
    monkeypatch, remedied, truth
):
    monkeypatch.setattr(room, "MOST_BYTES", 2_000_000)
    with pytest.raises(BadExpression, match="One event has 120000 pairs") as caught:
        run("min(dR(Muon, Jet))", DENSE)
    assert "Choose objects before pairs are formed" in caught.value.remedy
    with pytest.raises(BadExpression, match="One event has 59600 pairs"):
        run("min(dR(Muon[Muon_pt > 150], Jet))", DENSE)
    eta, phi = (np.subtract.outer(DENSE[f"Muon_{f}"].values, DENSE[f"Jet_{f}"].values)
                for f in ("eta", "phi"))  # fmt: skip
    far = np.hypot(eta, (phi + np.pi) % (2 * np.pi) - np.pi)
    np.testing.assert_allclose(run(remedied, DENSE).values, truth(far), rtol=1e-4)


def test_memory_follows_how_wide_an_expression_is_and_not_how_long(monkeypatch):
    """Thirty values of each pair, never more than a few of them at once."""
    pairs = 300 * 400
    parts = [f"dR(Muon_eta, Muon_phi, across({n}, Jet) * Jet_eta, Jet_phi)" for n in range(30)]
    long = f"max({' + '.join(parts)})"
    deep = parts[0]
    for part in parts[1:12]:
        deep = f"{part} + ({deep})"
    for source in (long, f"max({deep})"):
        tracemalloc.start()
        whole = run(source, DENSE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 200 * pairs, source
        # And what is allowed is kept to, or refused.
        for limit in (50, 100, 200):
            monkeypatch.setattr(room, "MOST_BYTES", limit * pairs)
            tracemalloc.start()
            try:
                assert run(source, DENSE).values.tobytes() == whole.values.tobytes()
            except BadExpression:
                assert limit < 200
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < limit * pairs + 1_000_000
        monkeypatch.undo()


def test_a_number_is_repeated_for_each_object():
    values = {"Jet_id": ragged_of([[1, 2], [], [3]], 1, "int16")}
    values["Jet_pt"] = ragged_of([[5.0, 50.0], [], [70.0]], 1)
    assert lists_of(run("across(1, Jet)", values)) == [[1, 1], [], [1]]
    assert lists_of(run("sum(across(1, Jet))", values)) == [2, 0, 1]
    assert lists_of(run("across(0.5, Jet[Jet_pt > 9])", values)) == [[0.5], [], [0.5]]
    assert lists_of(run("leading(across(2 + 3, Jet), by=Jet_pt, default=0)", values)) == [5, 0, 5]
    assert lists_of(run("across(7, Jet)[1]", values))[0] == 7
    assert lists_of(run("any(across(True, Jet))", values)) == [True, False, True]


def test_lists_beside_the_scalars_of_an_event_have_nothing_to_do_with_each_other():
    values = {
        "Event.weights": ragged_of([[1.0, 2.0], []], 1),
        "Event.times": ragged_of([[7], [8, 9]], 1, "uint32"),
    }
    assert lists_of(run("sum(Event.weights) + count(Event.times)", values)) == [4, 2]
    with pytest.raises(BadExpression, match=r"for each Event\.times, Event\.weights for"):
        run("Event.weights + Event.times", values)


def test_no_events_give_no_values():
    values = values_of(np.random.default_rng(8), 0)
    for source in EXPRESSIONS:
        got = run(source, values)
        assert len(got.values) == 0
        assert len(got) == 0


def test_absent_objects_give_nan_or_the_smallest_integer_or_the_default():
    empty = {
        "Muon_pt": ragged_of([[]], 1),
        "Muon_charge": ragged_of([[]], 1, "int32"),
        "Muon_loose": ragged_of([[]], 1, "bool"),
        "Muon_layers": ragged_of([[]], 1, "uint8"),
    }
    wanted = {
        "max(Muon_pt)": np.nan,
        "Muon_pt[0]": np.nan,
        "mean(Muon_pt)": np.nan,
        "max(Muon_charge)": -(2**31),
        "Muon_charge[-1]": -(2**31),
        "leading(Muon_loose, by=Muon_pt)": False,
        "min(Muon_charge, default=7)": 7,
        "sum(Muon_pt)": 0,
        "count(Muon)": 0,
        "any(Muon_loose)": False,
        "all(Muon_loose)": True,
    }
    for source, value in wanted.items():
        assert same(run(source, empty).values[0], value), source


def test_division_by_zero_gives_inf_and_nan_without_a_warning():
    values = {"Muon_pt": ragged_of([[0.0, 2.0, -2.0]], 1), "rho": Ragged((), {"": np.zeros(1)})}
    assert same(run("Muon_pt / rho", values).values.tolist(), [np.nan, np.inf, -np.inf])
    assert same(run("sqrt(Muon_pt)", values).values.tolist(), [0, 2**0.5, np.nan])
    assert same(run("Muon_pt % rho", values).values.tolist(), [np.nan] * 3)


def test_nan_is_never_the_leading_object_and_ties_go_to_the_first():
    values = {
        "Muon_pt": ragged_of([[np.nan, 3.0, 3.0, 1.0], [np.nan]], 1),
        "Muon_eta": ragged_of([[0.0, 1.0, 2.0, 3.0], [4.0]], 1),
    }
    assert same(run("leading(Muon_eta, by=Muon_pt)", values).values.tolist(), [1.0, np.nan])
    assert same(run("closest(Muon_eta, Muon_pt)", values).values.tolist(), [3.0, np.nan])
    assert same(run("max(Muon_pt)", values).values.tolist(), [np.nan, np.nan])


def test_sums_of_many_small_numbers_lose_nothing():
    many = np.full(1_000_000, 0.1, np.float32)
    values = {"Muon_pt": Ragged((np.array([0, len(many)]),), {"": many})}
    got = run("sum(Muon_pt)", values).values
    assert got.dtype == np.float32
    assert got[0] == np.float32(np.sum(many.astype(np.float64)))


def test_whole_numbers_do_not_wrap():
    values = {
        "Muon_layers": ragged_of([[250, 3]], 1, "uint8"),
        "nMuon": Ragged((), {"": np.array([1], np.uint32)}),
        "Jet_id": ragged_of([[32000, -32000]], 1, "int16"),
        "event": Ragged((), {"": np.array([2**63 + 5], np.uint64)}),
    }
    assert run("Muon_layers + 10", values).values.tolist() == [260, 13]
    assert run("nMuon - 5", values).values.tolist() == [-4]
    assert run("Jet_id * 2", values).values.tolist() == [64000, -64000]
    assert run("-Muon_layers", values).values.tolist() == [-250, -3]
    assert run("event % 4", values).values.tolist() == [1]
    assert run("event == 9223372036854775807", values).values.tolist() == [False]
    assert run("event > -1", values).values.tolist() == [True]


def test_positions_name_objects_before_any_condition():
    values = {
        "PFCands_pt": ragged_of([[5.0, 1.0, 9.0], [], [2.0]], 1),
        "PFCands_eta": ragged_of([[0.0, 0.0, 3.0], [], [0.0]], 1),
    }
    got = run("leading(index(PFCands[PFCands_eta < 1]), PFCands_pt[PFCands_eta < 1])", values)
    assert got.values.tolist() == [0, -(2**63), 0]
    got = run("leading(index(PFCands), by=PFCands_pt, default=-1)", values)
    assert got.values.tolist() == [2, -1, 0]


def test_angles_are_wrapped():
    values = {
        "Muon_phi": ragged_of([[3.1, -3.1, 0.5]], 1),
        "MET_phi": Ragged((), {"": np.array([-3.1], np.float32)}),
    }
    got = run("dPhi(Muon, MET)", values).values
    assert np.allclose(got, [3.1 + 3.1 - 2 * np.pi, 0.0, -2 * np.pi + 3.6], atol=1e-6)


def test_lists_within_objects_are_reduced_one_level_at_a_time():
    values = {
        "Muon_hits": ragged_of([[[1, 2, 3], []], [], [[4, 5]]], 2),
        "Muon_pt": ragged_of([[2.0, 1.0], [], [4.5]], 1),
    }
    assert lists_of(run("sum(Muon_hits)", values)) == [[6, 0], [], [9]]
    assert lists_of(run("sum(sum(Muon_hits))", values)) == [6, 0, 9]
    assert lists_of(run("count(Muon_hits[Muon_hits > Muon_pt])", values)) == [[1, 0], [], [1]]
    assert lists_of(run("Muon_hits[1]", values))[2] == [5.0]


def test_variables_of_a_container_need_lists_of_one_length():
    good = {"Jets.pt": ragged_of([[1, 2]], 1), "Jets.eta": ragged_of([[3, 4]], 1)}
    assert lists_of(run("Jets.pt + Jets.eta", good)) == [[4, 6]]
    bad = {**good, "Jets.eta": ragged_of([[3]], 1)}
    with pytest.raises(CountsMismatch, match=r"Jets\.pt and Jets\.eta hold different numbers"):
        run("Jets.pt + Jets.eta", bad)
