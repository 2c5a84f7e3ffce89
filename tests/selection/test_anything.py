"""Whatever is written from known words is refused with a reason, or has the type that was told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from columnservice.errors import BadExpression
from columnservice.selection import check, evaluate, parse, text
from columnservice.selection.names import Names
from columnservice.selection.operations import FUNCTIONS, OPERATORS
from columnservice.selection.reductions import REDUCTIONS
from columnservice.selection.tree import Binary, Call, Constant, Item, Mask, Name, Unary
from tests.selection.support import COLUMNS, values_of

pytestmark = pytest.mark.fast

NAMES = Names.of(COLUMNS)
VALUES = values_of(np.random.default_rng(11), 30)
WORDS = [
    *(c.name for c in COLUMNS), "Muon", "Jet", "PFCands", "MET", "Jets", "Event", "pi", "nan", "dR",
]  # fmt: skip
# A few words that go together are more often accepted than all at once.
VOCABULARIES = [
    WORDS,
    ["Muon_pt", "Muon_eta", "Muon_charge", "Muon_loose", "rho"],
    ["Muon_pt", "PFCands_pt", "PFCands_eta", "Muon", "PFCands", "dR"],
    ["Jet_pt", "Jet_id", "Muon", "Jet", "Muon_loose"],
    ["run", "event", "nMuon", "MET_pt", "Muon_layers", "Event.number"],
    ["Event.weights", "Event.times", "Event.number", "rho"],
    ["Muon_hits", "Muon_pt", "Muon_same", "Muon_far", "Jets.pt", "Jets.eta"],
]
CALLS = [*FUNCTIONS, *REDUCTIONS, "dR", "dEta", "dPhi", "across", "index"]
NUMBERS = [0, 1, -3, 2**62, 0.5, -1e300, True, False]


def is_written(node) -> bool:
    return isinstance(node, Constant)


def trees_of(words):
    return st.recursive(
        st.sampled_from(words).map(Name) | st.sampled_from(NUMBERS).map(Constant),
        lambda inner: (
            st.builds(Unary, st.just("~"), inner)
            | inner.map(lambda n: n if is_written(n) else Unary("-", n))
            | st.builds(Binary, st.sampled_from([*OPERATORS]), inner, inner)
            | st.builds(
                lambda name, first, more, options: Call(
                    name, (first, *more), tuple(options.items())
                ),
                st.sampled_from(CALLS),
                inner,
                st.lists(inner, max_size=2),
                st.dictionaries(st.sampled_from(["by", "default"]), inner, max_size=1),
            )
            | st.builds(lambda n, *more: Call(n, more), st.sampled_from(CALLS), inner)
            | st.builds(lambda n, *more: Call(n, more), st.sampled_from(CALLS), inner, inner)
            | st.builds(Item, inner, st.integers(-2, 2))
            | st.builds(lambda a, n, b: Mask(a, Binary(">", b, Constant(n))), inner,
                        st.sampled_from([0.5, 1]), inner)
        ),
        max_leaves=7,
    )  # fmt: skip


# Made once: a strategy that is made for each example costs more than the example.
trees = st.one_of(*map(trees_of, VOCABULARIES))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.sampled_from([None, "Muon", "MET", "Nothing"]))
def test_an_expression_is_refused_or_gives_what_was_told(tree, about):
    source = text(tree)
    try:
        program = check(parse(source), COLUMNS, source, about)
    except BadExpression:
        return
    got = evaluate(program, {name: VALUES[name] for name in program.inputs})
    assert got.values.dtype == program.root.dtype
    assert got.depth == len(program.root.axes)
    assert len(got) == 30
    assert len(got.values) == (got.offsets[-1][-1] if got.offsets else 30)
    again = check(parse(program.text), COLUMNS, program.text)
    assert again.text == program.text
    assert (again.root.axes, again.root.dtype, again.inputs) == (
        program.root.axes, program.root.dtype, program.inputs,
    )  # fmt: skip
    # In a worker nothing is known but the inputs, and their axes.
    few = [c for c in COLUMNS if c.name in program.inputs]
    known = Names.of(few, {c.name: NAMES.axis_of(c) for c in few if c.depth})
    alone = evaluate(check(parse(program.text), known, program.text), VALUES)
    assert alone.values.tobytes() == got.values.tobytes()
    assert [o.tolist() for o in alone.offsets] == [o.tolist() for o in got.offsets]
