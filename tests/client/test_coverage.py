"""Coverage as the service tells it: numbers, text and a picture."""

from __future__ import annotations

import pytest

from columnservice.client.coverage import coverage_of
from columnservice.errors import RequestError, SetupError

pytestmark = pytest.mark.fast

INFO = {
    "name": "nano",
    "parent": "mini",
    "coverage": {"events": 200, "with_parent": 150},
    "duplicates": 3,
    "witnesses": [{"name": "rho", "compared": 100, "agreed": 100}],
}


def test_numbers_are_told_in_words():
    coverage = coverage_of(INFO)
    assert coverage.fraction == 0.75
    assert "150 of 200 events of nano have a parent in mini (75.00%)" in repr(coverage)
    assert "rho: 100 of 100" in repr(coverage)
    assert "3 events stand more than once" in repr(coverage)
    assert "<progress" in coverage._repr_html_()
    assert coverage_of({**INFO, "coverage": {"events": 0, "with_parent": 0}}).fraction == 1


def test_no_witness_is_said_openly():
    assert "nothing shows" in repr(coverage_of({**INFO, "witnesses": []}))


@pytest.mark.parametrize(
    ("change", "says"), [({"parent": None}, "no parent"), ({"coverage": None}, "joined")]
)
def test_what_is_not_known_is_an_error_that_says_what_to_do(change, says):
    with pytest.raises(RequestError, match=says):
        coverage_of({**INFO, **change})


def test_a_plot_is_drawn_into_given_axes():
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert coverage_of(INFO).plot(axes) is axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["events (200)", "rho (100)"]
    assert [round(b.get_width(), 2) for b in axes.patches[2:]] == [0.75, 1.0]


def test_without_matplotlib_the_numbers_remain(monkeypatch):
    from columnservice.client import coverage

    monkeypatch.setattr(coverage, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="pip install matplotlib"):
        coverage_of(INFO).plot()
