"""Types, axes and names, before anything is read."""

from __future__ import annotations

import numpy as np
import pytest

from columnservice.errors import BadExpression
from columnservice.selection import check, parse
from tests.selection.support import COLUMNS, run, values_of

pytestmark = pytest.mark.fast

TYPES = {
    "Muon_pt * 2.5": "float32",
    "Muon_pt + rho": "float64",
    "Muon_pt + Muon_charge": "float64",
    "Muon_pt + Jet_id[0]": "float32",
    "Muon_charge / 2": "float64",
    "Muon_charge + 1": "int64",
    "Muon_loose + Muon_loose": "int64",
    "-Muon_layers": "int64",
    "Muon_charge ** 2": "float64",
    "Muon_pt ** 2": "float32",
    "event % 2": "uint64",
    "run // 3": "int64",
    "Muon_layers & 4": "int64",
    "Muon_pt > 1": "bool",
    "Muon_loose & (Muon_pt > 1)": "bool",
    "where(Muon_loose, Muon_charge, -1)": "int32",
    "where(Muon_loose, Muon_layers, -1)": "int64",
    "where(Muon_loose, Muon_pt, nan)": "float32",
    "maximum(Muon_charge, Muon_pt)": "float64",
    "abs(Muon_charge)": "int64",
    "sqrt(Muon_layers)": "float64",
    "sum(Muon_loose)": "int64",
    "sum(Muon_layers)": "int64",
    "mean(Muon_pt)": "float32",
    "max(Muon_charge)": "int32",
    "max(Muon_charge, default=0.5)": "float64",
    "float32(Muon_charge)": "float32",
    "int64(run) - 5": "int64",
    "float64(event) - 5": "float64",
    "across(1, Jet)": "int64",
    "across(0.5, Jet[Jet_pt > 3])": "float64",
    "dR(Muon, Jet)": "float32",
    "isnan(Muon_pt)": "bool",
    "index(Muon)": "int64",
}


@pytest.mark.parametrize(("source", "dtype"), TYPES.items())
def test_the_type_is_known_before_anything_is_read(source, dtype):
    assert check(parse(source), COLUMNS, source).root.dtype == dtype
    values = values_of(np.random.default_rng(3), 20)
    assert run(source, values).values.dtype == dtype


AXES = {
    "MET_pt / 2": (),
    "sum(Muon_pt)": (),
    "Muon_pt + MET_pt": ("Muon",),
    "dPhi(Muon, MET)": ("Muon",),
    "dR(Muon, PFCands)": ("Muon", "PFCands"),
    "PFCands_pt * across(Muon_pt, PFCands)": ("Muon", "PFCands"),
    "min(dR(Jet, Muon))": ("Jet",),
    "Muon_pt[Muon_pt > 5]": ("Muon[Muon_pt > 5]",),
    "Muon_same + Muon_pt": ("Muon",),
    "Muon_far": ("parent:Muon",),
    "Muon_hits": ("Muon", "Muon_hits#1"),
    "Event.weights * rho": ("Event.weights",),
    "min(dEta(Jets, Muon))": ("Jets",),
}


@pytest.mark.parametrize(("source", "axes"), AXES.items())
def test_axes_name_the_objects_that_values_are_for(source, axes):
    assert check(parse(source), COLUMNS, source).root.axes == axes


@pytest.mark.parametrize(
    "source",
    [
        "sum(PFCands_pt[dR < 0.4]) / Muon_pt",
        "sum( PFCands_pt [ dR( Muon,PFCands )<0.4 ] )/Muon_pt",
    ],
)
def test_a_distance_in_short_is_to_the_other_collection_of_the_expression(source):
    found = check(parse(source), COLUMNS, source)
    assert found.text == "sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt"
    assert check(parse(found.text), COLUMNS, found.text).text == found.text


def test_a_distance_in_short_is_to_the_collection_of_the_result_where_that_is_known():
    source = "sum(PFCands_pt[dR < 0.4])"
    assert check(parse(source), COLUMNS, source, "Jet").text == (
        "sum(PFCands_pt[dR(Jet, PFCands) < 0.4])"
    )
    for no_collection in (None, "pf", "MET"):
        with pytest.raises(BadExpression, match="between PFCands and what"):
            check(parse(source), COLUMNS, source, no_collection)
    source = "sum(PFCands_pt[dR < 0.4]) / Muon_pt * max(Jet_pt)"
    with pytest.raises(BadExpression, match="between PFCands and what: Muon or Jet"):
        check(parse(source), COLUMNS, source)


def test_inputs_are_what_must_be_read():
    assert check(parse("count(Jet[Jet_pt > 3])"), COLUMNS, "").inputs == ("Jet_pt",)
    assert check(parse("count(Jet)"), COLUMNS, "").inputs == ("Jet_id",)
    found = check(parse("sum(PFCands_pt[dR(Muon, PFCands) < 0.4])"), COLUMNS, "").inputs
    assert set(found) == {
        "PFCands_pt", "Muon_eta", "Muon_phi", "PFCands_eta", "PFCands_phi",
    }  # fmt: skip


def test_what_is_written_once_more_is_computed_once():
    found = check(
        parse("sum(PFCands_pt[dR < 0.4]) / sum(PFCands_pt[dR < 0.4])"), COLUMNS, "", "Jet"
    )
    assert len(found.inputs) == 5


FAULTS = {
    "Muon_ptt": r"Character 1, 'Muon_ptt': no column.*nearest: Muon_pt",
    "1 + sqr(Muon_pt)": r"Character 5, 'sqr\(Muon_pt\)': no function sqr; nearest: sqrt",
    "Muon_pt + Jet_pt": "Say which pairs are meant: across",
    "Muon_pt[Muon_pt > 5] + Muon_eta": "Put the same condition in brackets on both",
    "Muon_pt[Jet_pt > 5]": "it is for each Jet, and chooses among each Muon",
    "Muon_pt[MET_pt > 5]": r"it is for the event.*where\(…\)",
    "Muon_pt[Muon_charge]": "not a condition",
    "MET_pt[MET_pt > 1]": "nothing to choose from",
    "Muon_pt + 1 & Muon_loose": r"\(a > 1\) & \(b > 2\)",
    "Muon_pt & Muon_loose": "needs conditions",
    "Muon_layers & Muon_loose": "joins a condition with a number",
    "~Muon_charge": "needs conditions",
    "event - 5": "would wrap around",
    "event + Muon_charge": "no common type",
    "Muon_charge % Muon_layers": "may be zero",
    "Muon_charge % 0": "may be zero",
    "int64(Muon_pt)": "NaN and inf are no integers",
    "count(Muon_loose)": r"Write sum\(condition\)",
    "any(Muon_pt)": r"Compare first: any\(x > 0\)",
    "max(Muon_loose)": "not a condition",
    "max(Muon_layers)": r"default=…",
    "Muon_layers[0]": "value for 'not there'",
    "max(Muon_pt, Muon_eta)": r"maximum\(a, b\) compare two",
    "sum(MET_pt)": "nothing to go over",
    "sum(Muon_pt, default=1)": "takes no default=",
    "leading(Muon_pt)": "takes two values",
    "leading(Muon_pt, by=dR(Muon, Jet))": "nothing to go over",
    "max(Muon_pt, default=MET_pt)": "default must be a number",
    "Muon": "Name one of its columns, as Muon_",
    "Muon + 1": "a collection is not a number",
    "dR(Muon, Muon)": "Pairs within one collection are not formed",
    "dR(Muon[Muon_pt > 5], Muon)": "Pairs within one collection are not formed",
    "dR(Muon, MET)": "MET has no eta",
    "dR(Muon)": "is between two",
    "dR(Muon_eta, Muon_phi, Jet)": "is between two",
    "across(Muon_pt, 3)": "takes a value and a collection",
    "across(Muon_pt, MET)": "takes a value and a collection",
    "across(dR(Muon, PFCands), Jet)": "are not formed",
    "across(Muon_pt, Muon)": r"Muon_pt is for each Muon already.*Leave across away",
    "across(Muon_pt, Muon[Muon_pt > 5])": "for each Muon already",
    "across(Muon_pt[Muon_pt > 5], Muon)": "already",
    "across(dR(Muon, PFCands), PFCands)": "is for each Muon and each PFCands already",
    "int64(event)": r"uint64 may be 2\*\*63 or more.*Write float64\(x\), which is exact up to",
    "event + Muon_charge[0]": r"no common type.*Write float64\(x\)",
    "max(across(event, Muon))": r"uint64 has no value.*Write float64\(x\) inside, or default",
    "index(Muon_pt)": "takes a collection",
    "Muon_links": "it holds records",
    "Muon_no": "cannot be delivered: nobody can read it",
    "sqrt(Muon_pt, 2)": "takes 1 values, not 2",
    "sqrt(Muon_pt, by=2)": "takes no by=",
    "sqrt": "a function needs arguments",
    "dR": "a function needs arguments",
    "1 + 2": "it names no column",
    "9223372036854775807 + 1 + run": "more than 64 bits",
    "Muon_far + Muon_pt": "Muon_pt is for each Muon, Muon_far for each parent:Muon",
}


@pytest.mark.parametrize(("source", "said"), FAULTS.items())
def test_what_does_not_fit_is_said_in_one_line_with_its_place(source, said):
    with pytest.raises(BadExpression, match=said) as caught:
        check(parse(source), COLUMNS, source)
    assert "\n" not in str(caught.value)
    assert caught.value.status == 400
