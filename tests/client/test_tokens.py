from __future__ import annotations

import os

import pytest

from columnservice.client.tokens import find_token
from columnservice.errors import Unauthenticated

pytestmark = pytest.mark.fast

NAME = f"bt_u{os.geteuid()}"


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(
        "columnservice.client.tokens._usual_places", lambda: iter([tmp_path / NAME])
    )


def test_without_any_token_none_is_sent():
    assert find_token() is None


def test_the_environment_comes_before_the_files(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("from.file")
    (tmp_path / NAME).write_text("from.runtime\n")
    assert find_token() == "from.runtime"
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "file"))
    assert find_token() == "from.file"
    monkeypatch.setenv("BEARER_TOKEN", " from.env ")
    assert find_token() == "from.env"


def test_a_renewed_token_is_seen_at_once(tmp_path):
    (tmp_path / NAME).write_text("old")
    assert find_token() == "old"
    (tmp_path / NAME).write_text("new")
    assert find_token() == "new"


def test_a_named_file_that_is_not_there_is_an_error_without_an_oserror_in_its_chain(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(Unauthenticated, match="nowhere") as caught:
        find_token()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["two words", "a\r\nX-Evil: 1", "sécret"])
def test_what_is_no_token_is_refused_and_not_repeated(monkeypatch, text):
    monkeypatch.setenv("BEARER_TOKEN", text)
    with pytest.raises(Unauthenticated) as caught:
        find_token()
    assert text not in str(caught.value)


def test_the_usual_places_are_those_of_the_wlcg_profile(monkeypatch, tmp_path):
    monkeypatch.undo()
    from columnservice.client import tokens

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert [str(p) for p in tokens._usual_places()] == [str(tmp_path / NAME), f"/tmp/{NAME}"]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert [str(p) for p in tokens._usual_places()] == [f"/tmp/{NAME}"]
