from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

import columnservice
from columnservice.client import ColumnList
from columnservice.errors import UnknownColumn
from columnservice.model import Column, Member

from .conftest import small_dataset

COLUMNS = ColumnList(small_dataset().columns)


@pytest.mark.fast
def test_a_column_list_is_a_list():
    assert len(COLUMNS) == 8
    assert COLUMNS[0].name == COLUMNS.names[0] == "rho"
    assert [c.name for c in COLUMNS[1:3]] == ["nPF", "PF_pt"]
    assert "PF_pt" in COLUMNS
    assert COLUMNS[0] in COLUMNS
    assert "PF_ptt" not in COLUMNS


@pytest.mark.fast
def test_a_column_is_found_by_name_and_a_mistake_names_the_nearest():
    assert COLUMNS["PF_pt"].type == "var * float32"
    with pytest.raises(UnknownColumn, match="nearest: PF_pt"):
        COLUMNS["PF_ptt"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("PF_*", ["PF_pt", "PF_good", "PF_hits"]),
        ("momentum", ["PF_pt"]),
        ("RHO", ["rho"]),
        ("nothing", []),
    ],
)
def test_columns_are_searched_by_pattern_and_word(text, found):
    assert COLUMNS.search(text).names == found


@pytest.mark.fast
def test_columns_are_filtered_by_all_that_is_given_and_sorted_by_cost():
    costs = ColumnList([replace(c, cost_bytes=i or None) for i, c in enumerate(COLUMNS)])
    assert costs.filter("PF_*", sort="cost").names == ["PF_hits", "PF_good", "PF_pt"]
    assert costs.filter(collection="P*", sort="name").names == ["PF_good", "PF_hits", "PF_pt"]
    assert costs.filter(origin="local").names == ["run"]
    assert costs.filter(sort="cost").names[-1] == "rho"
    unsupported = costs.filter(support="unsupported")
    assert all(c.reason for c in unsupported)
    assert len(unsupported) + len(costs.filter(support="ok")) == len(costs)
    assert "<td>2.0 B</td>" in costs._repr_html_()


@pytest.mark.fast
def test_columns_are_shown_as_text_table_and_html_without_trusting_their_docs():
    nasty = Column("x", (Member("", "float32"),), 0, doc="<script>[red]alert</script>")
    many = ColumnList([nasty] * 70)
    assert "10 more" in repr(many)
    assert "<script>" not in many._repr_html_()
    assert "&lt;script&gt;" in many._repr_html_()
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(many[:2])
    console.file.close()
    assert "[red]" in console.export_text()


def test_a_dataset_gives_its_columns(server):
    dataset = columnservice.connect(server.url).dataset("nano")
    assert dataset.columns().names == COLUMNS.names
    assert list(dataset.columns()) == list(COLUMNS)


def test_datasets_show_themselves_in_a_notebook(server):
    server.datasets["nano"].name = "<nano>"
    datasets = columnservice.connect(server.url).datasets()
    page = datasets._repr_html_()
    assert "&lt;nano&gt;" in page
    assert "<th>with a parent</th>" in page
    assert datasets.__rich__().row_count == 1
    assert "&lt;nano&gt;" in datasets[0]._repr_html_()
    assert "1 ok" in datasets[0]._repr_html_()
