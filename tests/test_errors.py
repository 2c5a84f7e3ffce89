from __future__ import annotations

import pickle

import pytest

from columnservice import errors

pytestmark = pytest.mark.fast


def every_error(root=errors.ColumnServiceError):
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_error(child)


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda k: k.__name__)
def test_every_error_travels_as_a_problem_and_as_a_pickle(kind):
    error = kind("It broke.", "Mend it.")
    document = errors.problem(error)
    for twin in (errors.from_problem(document), pickle.loads(pickle.dumps(error))):
        assert type(twin) is kind
        assert str(twin) == "It broke. Mend it."
        assert twin.status == document["status"]


def test_only_transport_errors_are_os_errors():
    for kind in every_error():
        assert issubclass(kind, OSError) == issubclass(kind, errors.TransportError)


def test_every_error_of_the_drawing_exists_with_its_status():
    lines = [line.lstrip("│├└─ ") for line in errors.__doc__.splitlines()]
    drawn = {w[0]: int(w[-1]) for line in lines if (w := line.split()[:3]) and w[-1].isdigit()}
    drawn |= {
        w[0]: int(w[2]) for line in lines if len(w := line.split()) > 2 and w[1] == "(OSError)"
    }
    drawn |= {w[0]: int(w[1]) for line in lines if len(w := line.split()) > 1 and w[1].isdigit()}
    assert drawn == {kind.__name__: kind.status for kind in every_error()}


def test_nearest_names_are_offered():
    assert errors.nearest("Jet_ptt", ["Jet_pt", "Jet_phi", "run"]) == "nearest: Jet_pt, Jet_phi."
