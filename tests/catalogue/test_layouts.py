"""Layouts of a dataset: what one does not name is read as the others name it, and never mixed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.catalogue.columns import merged
from columnservice.catalogue.layouts import completed
from columnservice.formats.byname import path_stores, product_of, results
from columnservice.formats.discovery import Refused
from columnservice.formats.places import Names
from columnservice.formats.products import Leaf, Product, ProductName, base_names
from columnservice.formats.triggers import TYPE
from columnservice.model import BranchRead, ColumnSet, OfferedColumn, Recipe
from tests.catalogue.conftest import offered

pytestmark = pytest.mark.fast

MENU, OTHER = "ab" * 16, "cd" * 16
HLT_RESULTS = "edmTriggerResults_TriggerResults__HLT./obj"


def store(name: str, source: str, unlisted: str = "", reason: str = "", *menus) -> OfferedColumn:
    """A store of values under names; ``unlisted`` is the decoder of those that are not listed."""
    reason = reason or unlisted or "label by label"
    made = offered(name, support="unsupported", reason=reason, source=source)
    how = Recipe(name, (BranchRead(source, raw=True),), unlisted, menus) if unlisted else None
    return replace(made, unlisted=how)


def label(name: str, source: str, decode: str, *parameters) -> OfferedColumn:
    made = offered(name, source=source)
    return replace(made, recipe=Recipe(name, (BranchRead(source, raw=True),), decode, parameters))


def path(name: str, source: str, process: str, *parameters) -> OfferedColumn:
    made = label(name, source, "trigger_path", *parameters)
    doc = f"whether {name}_v1 of process {process} accepted the event"
    return replace(made, column=replace(made.column, doc=doc))


def names(layout: ColumnSet) -> list[str]:
    return [o.column.name for o in layout.columns]


KNOWS = ColumnSet(
    "a" * 32,
    (store("ids", "here.ids"), label("Tau_x", "here.ids", "pair_float32", ("x", 0.0))),
)
UNKNOWING = ColumnSet("b" * 32, (store("ids", "there.ids", "pair_float32"),))


def test_a_layout_that_tells_no_labels_gets_those_of_the_others_from_its_own_branches():
    (_, first), (filled, count) = completed([(KNOWS, 1), (UNKNOWING, 2)])
    assert (first, count) == (1, 2)
    made = filled.columns[1]
    assert made.column.name == "Tau_x"
    assert made.column.source == "there.ids"
    assert made.recipe == Recipe(
        "Tau_x", (BranchRead("there.ids", raw=True),), "pair_float32", (("x", 0.0),)
    )
    assert filled.columns[0].column.reason == "label by label"


def test_a_layout_that_tells_other_labels_reads_those_of_the_others_too():
    """Labels are known from some events only; an object that lacks one has NaN in any file."""
    other = ColumnSet(
        "c" * 32,
        (store("ids", "there.ids", "pair_float32", "label by label"),
         label("Tau_y", "there.ids", "pair_float32", ("y", 0.0))),
    )  # fmt: skip
    knows = replace(
        KNOWS, columns=(store("ids", "here.ids", "pair_float32", "both"), *KNOWS.columns[1:])
    )
    made = [layout for layout, _ in completed([(knows, 1), (other, 1)])]
    assert [sorted(names(layout)) for layout in made] == [["Tau_x", "Tau_y", "ids"]] * 2
    found = {o.column.name: o for o in made[1].columns}
    assert found["Tau_x"].recipe.parameters == (("x", 0.0),)
    assert found["Tau_x"].recipe.reads == (BranchRead("there.ids", raw=True),)
    assert [o.column.reason for layout in made for o in layout.columns if o.recipe is None] == [
        "both", "label by label",
    ]  # fmt: skip


def test_a_name_that_means_two_labels_is_refused_and_says_so(catalogue):
    """``a:b`` and ``a_b`` are cleaned alike; a file that has both calls the second otherwise."""

    def layout(digest, *told):
        labels = (label(n, "s.tauIDs_", "pair_float32", (text, 0.0)) for n, text in told)
        return ColumnSet(digest * 32, (store("ids", "s.tauIDs_", "pair_float32"), *labels))

    both = layout("a", ("Tau_a_b", "a:b"), ("Tau_tauIDs_a_b", "a_b"))
    one = layout("b", ("Tau_a_b", "a_b"), ("Tau_c", "c"))
    columns = {o.column.name: o for o in merged(completed([(both, 1), (one, 1)]), "parent")}
    assert columns["Tau_a_b"].recipe is None
    assert columns["Tau_a_b"].column.reason == (
        "it stands for different things in different files: tauIDs_ a:b, tauIDs_ a_b"
    )
    assert columns["Tau_c"].column.support == "ok"
    # the other name means one label everywhere
    assert columns["Tau_tauIDs_a_b"].column.support == "ok"
    assert merged(completed([(one, 2)]), "parent")[1].column.support == "ok"


def test_a_tau_id_and_a_user_float_of_one_name_are_not_one_column():
    def layout(digest, source, decode):
        made = label("Tau_x", source, decode, ("x", 0.0))
        return ColumnSet(digest * 32, (store(source, source, decode), made))

    ids = layout("a", "s.tauIDs_", "pair_float32")
    floats = layout("b", "s:userFloatLabels_", "label_float32")
    columns = {o.column.name: o for o in merged(completed([(ids, 1), (floats, 1)]), "parent")}
    assert columns["Tau_x"].recipe is None
    assert "tauIDs_ x, userFloatLabels_ x" in columns["Tau_x"].column.reason


def test_a_store_of_another_kind_or_name_gets_nothing_and_no_name_is_given_twice():
    kind = ColumnSet("c" * 32, (store("ids", "s", "label_float32"),))
    name = ColumnSet("d" * 32, (store("flags", "s", "pair_float32"),))
    held = ColumnSet("e" * 32, (store("ids", "s", "pair_float32"), offered("Tau_x")))
    found = completed([(KNOWS, 1), (kind, 1), (name, 1), (held, 1)])
    assert [names(layout) for layout, _ in found[1:]] == [["ids"], ["flags"], ["ids", "Tau_x"]]


def test_a_file_without_menus_gets_those_of_all_others():
    def menu(hashed, number):
        numbers = (hashed, float(number)), (f"{hashed}.paths", 9.0)
        return store("bits", HLT_RESULTS), path("HLT_x", HLT_RESULTS, "HLT", *numbers)

    one, two = ColumnSet("a" * 32, menu(MENU, 3)), ColumnSet("c" * 32, menu(OTHER, 5))
    bare = ColumnSet("b" * 32, (store("bits", HLT_RESULTS, "trigger_path"),))
    *_, (filled, _) = completed([(one, 1), (two, 1), (bare, 1)])
    assert dict(filled.columns[1].recipe.parameters) == {
        MENU: 3, f"{MENU}.paths": 9, OTHER: 5, f"{OTHER}.paths": 9,
    }  # fmt: skip


def menu_layout(digest, hashed, *paths):
    """A file with one menu of nine paths, some of them by name and number."""
    lacking = (hashed, -1.0), (f"{hashed}.paths", 9.0)
    made = [
        path(name, HLT_RESULTS, "HLT", (hashed, float(number)), (f"{hashed}.paths", 9.0))
        for name, number in paths
    ]
    bits = store("bits", HLT_RESULTS, "trigger_path", "by path", *lacking)
    return ColumnSet(digest * 32, (bits, *made))


def test_a_path_that_the_menus_of_a_file_lack_is_read_as_not_in_the_menu():
    """As in one file with two menus; only its own menus are known there."""
    one = menu_layout("a", MENU, ("HLT_x", 3), ("HLT_y", 4))
    two = menu_layout("c", OTHER, ("HLT_x", 5))
    bare = ColumnSet("b" * 32, (store("bits", HLT_RESULTS, "trigger_path"),))
    layouts = completed([(one, 1), (two, 1), (bare, 1)])
    of_one, of_two, of_bare = (
        {o.column.name: o.recipe and dict(o.recipe.parameters) for o in layout.columns}
        for layout, _ in layouts
    )
    assert of_one["HLT_y"] == {MENU: 4, f"{MENU}.paths": 9}
    assert of_two["HLT_y"] == {OTHER: -1, f"{OTHER}.paths": 9}
    assert of_bare["HLT_y"] == {MENU: 4, f"{MENU}.paths": 9, OTHER: -1, f"{OTHER}.paths": 9}
    assert of_bare["HLT_x"] == {MENU: 3, f"{MENU}.paths": 9, OTHER: 5, f"{OTHER}.paths": 9}
    offered_of_all = {o.column.name: o.column for o in merged(layouts, "parent")}
    assert {offered_of_all[name].support for name in ("HLT_x", "HLT_y")} == {"ok"}


def results_layout(digest, **processes) -> ColumnSet:
    """What a file offers whose TriggerResults of each process have those menus, by their hash."""
    found = []
    for process in processes:
        branch = f"edmTriggerResults_TriggerResults__{process}."
        name = ProductName("edmTriggerResults", "TriggerResults", "", process)
        leaf = Leaf(f"{branch}/obj", "obj", None, Refused("whole"), TYPE)
        found.append(Product(branch, name, (leaf,)))
    bases, taken, columns = base_names(found), Names(), []
    for product in found:
        base = taken.column(bases[product.name])
        made = {"obj": offered(base, support="unsupported", source=product.leaves[0].path)}
        columns += path_stores(product, made, processes)
    return ColumnSet(digest * 32, (*columns, *results(found, bases, processes, taken)))


def support_of(*layouts: ColumnSet) -> dict[str, str]:
    """Column name → why it is not delivered, of all trigger paths; "ok" where it is."""
    told = {o.column.name for one in layouts for o in one.columns if o.column.doc[:7] == "whether"}
    found = merged(completed([(one, 1) for one in layouts]), "parent")
    return {
        o.column.name: o.column.reason or o.column.support for o in found if o.column.name in told
    }


ABSENT = "absent from 1 of 2 files"


def test_a_path_that_a_file_has_under_another_name_is_not_false_there():
    """One of two paths of a name is called after its process; in a file without the other not."""
    both = results_layout("a", RECO={MENU: ("Flag_g",)}, PAT={OTHER: ("Flag_g", "step")})
    one = results_layout("b", PAT={OTHER: ("Flag_g", "step")})
    (_, _), (filled, _) = completed([(both, 1), (one, 1)])
    assert "Flag_g_pPAT" not in names(filled)
    found = support_of(both, one)
    assert found["Flag_g_pPAT"] == found["TriggerResultsPAT_step"] == ABSENT
    assert found["TriggerResults_step"] == ABSENT
    assert found["Flag_g"] == (
        "it stands for different things in different files: path Flag_g of process PAT, "
        "path Flag_g of process RECO"
    )
    # a file without menus may hold events of the menu that lists it, under either name
    bare = results_layout("c", PAT={})
    third = completed([(both, 1), (one, 1), (bare, 1)])[2][0]
    assert not {"Flag_g", "Flag_g_pPAT"} & set(names(third))


def test_no_path_is_false_in_a_file_without_results_of_its_process():
    hlt = results_layout("a", HLT={MENU: ("HLT_X_v5",)})
    pat = results_layout("b", PAT={OTHER: ("Flag_g",)})
    found = support_of(hlt, pat)
    assert found["HLT_X"] == found["Flag_g"] == ABSENT
    assert found["TriggerResultsBits"] == (
        "it stands for different things in different files: trigger results of process HLT, "
        "trigger results of process PAT"
    )
    again = results_layout("c", HLT2={OTHER: ("HLT_X_v5",)})
    found = support_of(hlt, again)
    assert found["HLT_X"] == found["TriggerResults_HLT_X"] == ABSENT
    # nor do events of another process come by their menu
    without = results_layout("d", HLT2={})
    assert "HLT_X" not in names(completed([(hlt, 1), (without, 1)])[1][0])


def test_versions_of_one_path_are_not_false_under_each_others_names():
    several = results_layout("a", HLT={MENU: ("HLT_X_v5", "HLT_X_v6", "HLT_Y_v1")})
    one = results_layout("b", HLT={OTHER: ("HLT_X_v5", "HLT_Z_v1")})
    found = support_of(several, one)
    assert {found[name] for name in ("HLT_X", "HLT_X_v5", "HLT_X_v6")} == {ABSENT}
    assert found["HLT_Y"] == found["HLT_Z"] == "ok"
    bare = completed([(several, 1), (one, 1), (results_layout("c", HLT={}), 1)])[2][0]
    assert {n for n in names(bare) if n.startswith("HLT_")} == {"HLT_Y", "HLT_Z"}


def test_the_name_without_a_version_is_refused_where_one_menu_has_it_beside_a_version():
    """It is one path there, and the versioned one in the next file."""
    both = results_layout("a", HLT={MENU: ("HLT_X", "HLT_X_v5", "HLT_Y_v1")})
    one = results_layout("b", HLT={OTHER: ("HLT_X_v5", "HLT_Z_v1")})
    for layouts in ((both, one), (one, both)):
        found = support_of(*layouts)
        assert found["HLT_X"].startswith("a trigger menu lists several of HLT_X, HLT_X_v5, and")
        assert found["HLT_X_v5"] == ABSENT
        assert found["HLT_Y"] == found["HLT_Z"] == "ok"
    # nor is it False where a menu has neither, or unknown: only the path with its version is
    other = results_layout("c", HLT={OTHER: ("HLT_Z_v1",)})
    bare = results_layout("d", HLT={})
    for layout, _ in completed([(both, 1), (other, 1), (bare, 1)])[1:]:
        assert {n for n in names(layout) if n.startswith("HLT_X")} == {"HLT_X_v5"}
    # the refused one is not taken for the store of all paths, which knows the menus
    told = {o.column.name: o for o in layout.columns}
    assert dict(told["HLT_Z"].recipe.parameters) == {
        MENU: -1, f"{MENU}.paths": 3, OTHER: 0, f"{OTHER}.paths": 1,
    }  # fmt: skip
    assert "several" not in told["TriggerResults"].column.reason
    # a literal path alone is a path of any version, as HLT_X_v5 is
    literal = results_layout("e", HLT={MENU: ("HLT_X",)})
    assert support_of(literal, one)["HLT_X"] == "ok"


PATHS_SEEN = ("HLT_X", "HLT_X_v5", "HLT_X_v6", "HLT_Y_v1", "Flag_g", "step")
menus_of_files = st.lists(
    st.dictionaries(
        st.sampled_from(("HLT", "PAT", "HLT2")),
        st.dictionaries(
            st.sampled_from((MENU, OTHER)), st.permutations(PATHS_SEEN).map(lambda p: p[:3]),
            max_size=2,
        ),
        min_size=1,
    ),
    min_size=2, max_size=3,
)  # fmt: skip


@settings(deadline=None)
@given(menus_of_files)
def test_every_path_is_read_in_every_file_as_its_menus_say(files):
    """Of any files: a Column that all have is one path of one process, missing in no menu."""
    # a hash is one menu's everywhere
    listed = {}
    for file in files:
        for process, menus in file.items():
            for hashed in menus:
                menus[hashed] = listed.setdefault((process, hashed), tuple(menus[hashed]))
    layouts = [results_layout(str(i), **file) for i, file in enumerate(files)]
    filled = completed([(one, 1) for one in layouts])
    for column in (o.column for o in merged(filled, "parent") if o.recipe):
        told = [
            next(o for o in layout.columns if o.column.name == column.name) for layout, _ in filled
        ]
        if told[0].recipe.decode != "trigger_path":
            continue
        processes = {product_of(o.column).process for o in told}
        assert len(processes) == 1
        (process,) = processes
        numbers = {}
        for one in told:
            for hashed, number in one.recipe.parameters:
                assert numbers.setdefault(hashed, number) == number
        numbers = {hashed: int(n) for hashed, n in numbers.items() if hashed in (MENU, OTHER)}
        found = {listed[process, hashed][n] for hashed, n in numbers.items() if n >= 0}
        bare = {re.sub(r"_v\d+$", "", one) for one in found}
        assert len(bare) == 1
        kept = column.name.endswith(("_v5", "_v6"))
        for hashed, n in numbers.items():
            menu = listed[process, hashed]
            # one of several paths that could be meant is not chosen
            assert kept or sum(re.sub(r"_v\d+$", "", p) in bare for p in menu) <= 1
            if n < 0:
                meant = found if kept else bare
                assert not meant & {p if kept else re.sub(r"_v\d+$", "", p) for p in menu}


def test_a_label_is_not_mixed_with_a_member_of_its_name():
    """A file whose objects have a member ``x`` calls the label otherwise."""
    member = offered("Tau_x", source="s.x_")
    whole = ColumnSet(
        "a" * 32,
        (store("Tau_ids", "s.tauIDs_", "pair_float32"), member,
         label("Tau_tauIDs_x", "s.tauIDs_", "pair_float32", ("x", 0.0))),
    )  # fmt: skip
    lacking = ColumnSet(
        "b" * 32,
        (store("Tau_ids", "s.tauIDs_", "pair_float32"),
         label("Tau_x", "s.tauIDs_", "pair_float32", ("x", 0.0))),
    )  # fmt: skip
    layouts = completed([(whole, 1), (lacking, 1)])
    columns = {o.column.name: o for o in merged(layouts, "parent")}
    assert columns["Tau_x"].recipe is None
    assert columns["Tau_x"].column.reason == (
        "it stands for different things in different files: tauIDs_ x, the branch s.x_"
    )
    # the label is looked up in the objects, so its own name gets its values and not NaN
    assert columns["Tau_tauIDs_x"].column.support == "ok"
    read = {o.column.name: o.recipe for o in layouts[1][0].columns}["Tau_tauIDs_x"]
    assert read.parameters == (("x", 0.0),)
