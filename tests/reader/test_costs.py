"""What columns cost, against the bytes that files of all kinds say they hold."""

from __future__ import annotations

import pytest
import uproot


@pytest.fixture
def costs(data_dir, indexed):
    def of(path, name):
        record, layout = indexed(str(path.relative_to(data_dir)), name)
        return record.entries, {o.column.name: o.column for o in layout.columns}

    return of


def test_a_branch_costs_its_compressed_bytes_over_the_events(costs, data_dir):
    path = data_dir / "cms/nano_dy.root"
    entries, columns = costs(path, "nanoaod")
    tree = uproot.open(path)["Events"]
    assert columns["Muon_pt"].cost_bytes == round(tree["Muon_pt"].compressed_bytes / entries, 2)
    assert all(c.cost_bytes for c in columns.values() if c.support == "ok")


def test_what_is_decoded_from_several_branches_costs_all_and_what_is_not_read_costs_nothing(
    costs, data_dir
):
    path = data_dir / "cms_demo_syn/parent_0.root"
    entries, columns = costs(path, "miniaod")
    tree = uproot.open(path)["Events"]
    parts = [p for p in tree.keys() if p.endswith(("packedPhi_", "packedPt_")) and "Gen" not in p]  # noqa: SIM118
    whole = sum(tree[p].compressed_bytes for p in parts if "packedPFCandidates" in p)
    assert columns["PFCands_phi"].cost_bytes == round(whole / entries, 2)
    assert columns["EventAuxiliary"].cost_bytes is None


def test_a_link_costs_both_of_the_branches_that_it_is_split_into(costs, data_dir):
    path = data_dir / "atlas/physlite_24.0.2_50ev.root"
    entries, columns = costs(path, "physlite")
    tree = uproot.open(path)["CollectionTree"]
    links = [c for c in columns.values() if c.support == "ok" and tree[c.source].branches]
    assert links
    for column in links:
        whole = sum(b.compressed_bytes for b in tree[column.source].branches)
        assert column.cost_bytes == round(whole / entries, 2)


def test_an_rntuple_costs_the_pages_of_its_columns_about_as_much_as_the_file_holds(costs, data_dir):
    path = data_dir / "rntuple/nano_dy_rntuple.root"
    _entries, columns = costs(path, "nanoaod")
    readable = [c for c in columns.values() if c.support == "ok"]
    assert all(c.cost_bytes is not None for c in readable)
    # the offsets of a collection count in every one of its fields
    scalars = sum(c.cost_bytes for c in readable if not c.depth)
    assert 0 < scalars * 40 < path.stat().st_size


def test_a_tree_without_events_has_no_costs_and_a_layout_of_its_own(costs, data_dir):
    _, columns = costs(data_dir / "cms/miniaodsim_2018_schema_0ev.root", "miniaod")
    assert {c.cost_bytes for c in columns.values()} == {None}
