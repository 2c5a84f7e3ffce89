"""What a user wrote becomes files, and nothing outside what the operator allows."""

from __future__ import annotations

import pytest

from columnservice.catalogue.listing import expand, matches
from columnservice.errors import NotAllowed, RequestError
from columnservice.settings import Settings

pytestmark = pytest.mark.fast


@pytest.fixture
def inside(tmp_path):
    """An allowed directory with some files, beside one that is not allowed."""
    for name in ("in/a.root", "in/b.root", "in/deep/er/c.root", "in/notes.txt", "in2/x.root"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "in"


@pytest.fixture
def settings(inside):
    return Settings(allowed_roots=(inside,), allowed_hosts=("origin", "cache:1095"))


def names(found, inside):
    return [path.removeprefix(f"{inside}/") for path in found]


def test_a_file_is_itself_even_when_it_does_not_exist_yet(inside, settings):
    assert expand(f"{inside}/a.root", settings) == [f"{inside}/a.root"]
    assert expand(f"{inside}/later.root", settings) == [f"{inside}/later.root"]
    assert expand(f"{inside}/deep/../a.root", settings) == [f"{inside}/a.root"]


def test_patterns_and_directories_become_sorted_files(inside, settings):
    assert names(expand(f"{inside}/*.root", settings), inside) == ["a.root", "b.root"]
    assert names(expand(f"{inside}/[b-z].root", settings), inside) == ["b.root"]
    everything = ["a.root", "b.root", "deep/er/c.root"]
    assert names(expand(f"{inside}/**/*.root", settings), inside) == everything
    assert names(expand(str(inside), settings), inside) == everything


def test_a_file_with_brackets_in_its_name_is_no_pattern(inside, settings):
    (inside / "run[1].root").write_text("")
    assert expand(f"{inside}/run[1].root", settings) == [f"{inside}/run[1].root"]


@pytest.mark.parametrize("pattern", ["/*.txt.root", "/deep", "/nothing/*"])
def test_what_matches_nothing_is_told_by_name(inside, settings, pattern):
    (inside / "deep/er/c.root").unlink()
    with pytest.raises(RequestError, match="No file matches") as caught:
        expand(f"{inside}{pattern}", settings)
    assert f"{inside}{pattern}" in caught.value.message


def test_paths_outside_the_allowed_roots_are_refused_with_the_settings_name(inside, settings):
    outside = inside.parent / "in2"
    for told in (
        f"{outside}/x.root",
        f"{outside}/*.root",
        str(outside),
        f"{inside}/../in2/x.root",
        f"{inside}/../*/x.root",
        "/etc/passwd",
        "/*",
    ):
        with pytest.raises(NotAllowed) as caught:
            expand(told, settings)
        assert "COLUMNSERVICE_ALLOWED_ROOTS" in caught.value.remedy


def test_symlinks_are_followed_before_they_are_allowed(inside, settings):
    (inside / "way_out").symlink_to(inside.parent / "in2")
    (inside / "out.root").symlink_to(inside.parent / "in2" / "x.root")
    (inside / "same.root").symlink_to(inside / "a.root")
    assert expand(f"{inside}/same.root", settings) == [f"{inside}/a.root"]
    for told in ("way_out/x.root", "way_out/*.root", "out.root", "o*.root", "*/x.root"):
        with pytest.raises(NotAllowed, match=r"in2/x.root lies outside|in2 lies outside"):
            expand(f"{inside}/{told}", settings)


@pytest.mark.parametrize(
    "told", ["a.root", "./a.root", "~/a.root", "https://x/a.root", "file:///a", "", "/a\0b"]
)
def test_what_is_neither_absolute_nor_xrootd_is_refused(settings, told):
    with pytest.raises(RequestError, match="neither an absolute path nor"):
        expand(told, settings)


@pytest.mark.parametrize(
    "url", ["root://origin//a.root", "root://origin:1094//a.root", "roots://cache:1095//a.root"]
)
def test_files_on_allowed_hosts_pass_without_asking_the_server(settings, url):
    assert expand(url, settings) == [url]


@pytest.mark.parametrize(
    "url", ["root://origin2//a.root", "root://cache//a.root", "root://cache:10950//a.root"]
)
def test_other_hosts_and_ports_are_refused_with_the_settings_name(settings, url):
    with pytest.raises(NotAllowed, match="COLUMNSERVICE_ALLOWED_HOSTS"):
        expand(url, settings)


@pytest.mark.parametrize(
    "url",
    [
        "root://user@origin//a.root",
        "root://origin//a.root?authz=Bearer%20secret",
        "root://origin//store/../a.root",
        "root://origin//a.root#x",
        "root://origin",
        "root://origin//",
        "root:///a.root",
        "root://[origin//a.root",
        "root://origin:port//a.root",
        "root://origin//a?.root",
    ],
)
def test_urls_hold_a_server_and_a_path_only_and_secrets_are_not_repeated(settings, url):
    with pytest.raises(RequestError, match="not the address of a file") as caught:
        expand(url, settings)
    assert "secret" not in str(caught.value)


TREE = {
    "/store": [("a", True), ("b", True), ("top.root", False), ("top.txt", False)],
    "/store/a": [("x.root", False), ("deep", True)],
    "/store/a/deep": [("y.root", False)],
    "/store/b": [("x.root", False)],
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.root", ["top.root"]),
        ("*/x.root", ["a/x.root", "b/x.root"]),
        ("**/*.root", ["a/deep/y.root", "a/x.root", "b/x.root", "top.root"]),
        ("**/deep/*", ["a/deep/y.root"]),
        ("a/**", ["a/deep/y.root", "a/x.root"]),
        ("**/**/y.root", ["a/deep/y.root"]),
        ("**/**/top.root", ["top.root"]),
        ("[ab]/nothing", []),
    ],
)
def test_patterns_walk_directories_each_once(pattern, expected):
    asked: list[str] = []

    def entries_of(directory):
        asked.append(directory)
        return TREE[directory]

    found = sorted(matches(entries_of, "/store", [tuple(pattern.split("/"))]))
    assert found == [f"/store/{name}" for name in expected]
    assert len(asked) == len(set(asked))
