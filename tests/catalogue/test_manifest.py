"""Manifests: three spellings of the same, mistakes named by line, and declared files."""

from __future__ import annotations

import json

import pytest

from columnservice.catalogue.manifest import (
    ManifestEntry,
    entry_of,
    entry_to_json,
    parse_manifest,
)
from columnservice.catalogue.records import FileCounts
from columnservice.errors import RequestError
from columnservice.model import Dataset, LumiRange
from tests.catalogue.conftest import LAYOUT, record

pytestmark = pytest.mark.fast

ENTRIES = (
    ManifestEntry("/a.root", 10, (LumiRange(1, 1, 5), LumiRange(2, 7, 7))),
    ManifestEntry("/b.root", None, ()),
)
LINES = """
{"file": "/a.root", "size": 10, "lumis": {"1": [[1, 5]], "2": [[7, 7]]}}

{"file": "/b.root"}
"""
CSV = "file,size,lumis\n/a.root,10,1:1-5;2:7\n/b.root,,\n"


def test_the_three_spellings_say_the_same():
    whole = json.dumps([entry_to_json(e) for e in ENTRIES])
    assert parse_manifest(LINES) == parse_manifest(CSV) == parse_manifest(whole) == ENTRIES


def test_an_entry_survives_json():
    for entry in ENTRIES:
        assert entry_of(json.loads(json.dumps(entry_to_json(entry)))) == entry


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"file": "/a"}\n{nonsense', "Line 2 of the manifest is not JSON"),
        ('[{"file": "/a"}, {"size": 3}]', "Entry 2 of the manifest names no file"),
        ("[1]", "Entry 1 of the manifest names no file"),
        ("path,size\n/a.root,1\n", "Entry 1 of the manifest names no file"),
        ("file,size,lumis\n/a.root,big,1:1\n", r"Entry 1 of the manifest \(/a.root\)"),
        ("file,size,lumis\n/a.root,1,1:5-1\n", "no range of luminosity blocks"),
        ('[{"file": "/a", "lumis": [[1, 2]]}]', r"\(/a\)"),
        ('[{"file": "/a", "lumis": [[1, 0, 4294967296]]}]', "no range"),
        ('[{"file": "/a", "lumis": 5}]', r"\(/a\)"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, told):
    with pytest.raises(RequestError, match=told) as caught:
        parse_manifest(text)
    assert "JSON lines or CSV" in caught.value.remedy


def test_declared_files_are_found_by_block_and_become_ok_when_opened(catalogue):
    catalogue.add_dataset(Dataset("p", "miniaod"))
    opened = record(1, LumiRange(1, 1, 4))
    entries = [ManifestEntry(opened.url, 1001, (LumiRange(1, 1, 5),)), *ENTRIES[1:]]
    assert catalogue.import_manifest("p", entries) == 2
    assert catalogue.import_manifest("p", entries) == 0
    assert catalogue.counts("p") == FileCounts(ok=0, pending=0, declared=2, failed=0, entries=0)

    # A file of which no block is known may hold any event.
    assert catalogue.declared("p", [LumiRange(1, 5, 9)]) == (opened.url, "/b.root")
    assert catalogue.declared("p", [LumiRange(1, 6, 9)]) == ("/b.root",)
    assert catalogue.candidates("p", [LumiRange(1, 5, 9)]) == ()

    catalogue.record_file("p", opened, LAYOUT)
    assert catalogue.declared("p") == ("/b.root",)
    assert catalogue.candidates("p", [LumiRange(1, 4, 9)]) == (opened,)


def test_a_manifest_leaves_known_files_alone(catalogue):
    catalogue.add_dataset(Dataset("p", "miniaod"))
    catalogue.record_file("p", record(1), LAYOUT)
    assert catalogue.import_manifest("p", [ManifestEntry(record(1).url, 5, ())]) == 0
    assert catalogue.files("p") == (record(1),)
