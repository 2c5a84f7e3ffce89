"""Definitions of columns: what is kept, what they become, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier

import pytest

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.costs import with_costs
from columnservice.catalogue.defined import TAKEN, defined_columns, standing
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.drafting import define, undefine
from columnservice.catalogue.naming import belonging, collection_of
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.compute import compute
from columnservice.delivery.derivation import needs_of
from columnservice.errors import (
    BadExpression,
    ColumnExists,
    ColumnInUse,
    ColumnServiceError,
    RequestError,
    UnknownColumn,
)
from columnservice.model import ColumnSet, Dataset, LumiRange, OfferedColumn
from columnservice.selection import LANGUAGE_VERSION, check, parse
from columnservice.selection.installed import InstalledFunction
from columnservice.selection.names import Names
from tests.catalogue.conftest import offered, record
from tests.selection.support import COLUMNS
from tests.support.ragged import lists_of, ragged_of

pytestmark = pytest.mark.fast

LOCAL = ColumnSet(
    "cd" * 16,
    (
        offered("run", "uint32"),
        offered("MET_pt", collection="MET", field="pt"),
        offered("nMuon", "uint32", counts_of="Muon"),
        *(
            offered(f"Muon_{f}", depth=1, collection="Muon", field=f, shape="Muon")
            for f in ("pt", "eta", "phi")
        ),
    ),
)
PARENT = ColumnSet(
    "ef" * 16,
    tuple(
        offered(f"PFCands_{f}", depth=1, collection="PFCands", field=f, shape="PFCands")
        for f in ("pt", "eta", "phi")
    ),
)


@pytest.fixture
def nano(catalogue):
    """A catalogue with one local dataset and its parent."""
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    catalogue.add_files("mini", [record(1).url])
    catalogue.record_file("mini", record(1, LumiRange(1, 1, 1), columnset=PARENT), PARENT)
    local = record(2, LumiRange(1, 1, 1), columnset=LOCAL)
    catalogue.add_files("nano", [local.url])
    catalogue.record_file("nano", local, LOCAL)
    return catalogue


def draft(name, expression, **told):
    return Definition(name, expression, "ada", **told)


def column(catalogue, name):
    return next((o for o in columns_of(catalogue, "nano") if o.column.name == name), None)


def test_a_definition_is_kept_with_all_that_was_understood(nano):
    made = define(nano, "nano", draft("Muon_iso", "sum( PFCands_pt[dR<0.4] )", created_seconds=7))
    assert made == Definition(
        "Muon_iso", "sum(PFCands_pt[dR(Muon, PFCands) < 0.4])", "ada", "", "", 1, 7
    )
    assert nano.definitions("nano") == (made,)
    one = column(nano, "Muon_iso")
    assert (one.column.origin, one.column.shape, one.column.depth) == ("derived", "local:Muon", 1)
    assert one.column.source == made.expression
    assert one.derivation.compute == "expression"
    assert one.derivation.inputs == (
        "PFCands_pt", "Muon_eta", "Muon_phi", "PFCands_eta", "PFCands_phi",
    )  # fmt: skip


def test_only_another_expression_is_another_version_and_another_digest(nano):
    first = define(nano, "nano", draft("Muon_x", "Muon_pt + 1", created_seconds=1))
    digest = column(nano, "Muon_x").derivation.digest
    same = define(nano, "nano", draft("Muon_x", "Muon_pt+1", doc="told", created_seconds=2))
    assert (same.version, same.created_seconds, same.doc) == (1, 1, "told")
    assert column(nano, "Muon_x").derivation.digest == digest
    assert "told" in column(nano, "Muon_x").column.doc
    second = define(nano, "nano", draft("Muon_x", "Muon_pt + 2", created_seconds=3))
    assert (second.version, second.created_seconds) == (2, 3)
    assert column(nano, "Muon_x").derivation.digest != digest
    undefine(nano, "nano", "Muon_x")
    assert column(nano, "Muon_x") is None
    assert define(nano, "nano", draft("Muon_x", "Muon_pt * 3")).version == first.version


def test_other_processes_see_a_definition_at_once(nano, url):
    from columnservice.catalogue.store import Catalogue

    other = Catalogue(url)
    before = columns_of(other, "nano")
    define(nano, "nano", draft("Muon_x", "Muon_pt + 1"))
    assert len(columns_of(other, "nano")) == len(before) + 1
    other.close()


def test_definitions_go_with_their_dataset(nano):
    define(nano, "nano", draft("Muon_x", "Muon_pt + 1"))
    nano.remove_dataset("nano")
    nano.add_dataset(Dataset("nano", "nanoaod", "mini"))
    assert nano.definitions("nano") == ()


def test_what_others_are_computed_from_stays(nano):
    define(nano, "nano", draft("Muon_a", "Muon_pt + 1"))
    define(nano, "nano", draft("Muon_b", "Muon_a * 2"))
    define(nano, "nano", draft("largestB", "max(Muon_b)"))
    with pytest.raises(ColumnInUse, match="Muon_b, largestB of nano is computed from Muon_a"):
        undefine(nano, "nano", "Muon_a")
    with pytest.raises(ColumnInUse, match=r"largestB is computed from it and would not fit: .*max"):
        define(nano, "nano", draft("Muon_b", "Muon_a > 2"))
    with pytest.raises(BadExpression, match="from itself, through largestB"):
        define(nano, "nano", draft("Muon_a", "Muon_pt + largestB"))
    with pytest.raises(BadExpression, match="from itself, through Muon_a"):
        define(nano, "nano", draft("Muon_a", "Muon_a + 1"))
    assert define(nano, "nano", draft("Muon_a", "Muon_pt + 5")).version == 2


def test_what_does_not_fit_any_more_is_listed_with_the_reason(nano):
    define(nano, "nano", draft("Muon_a", "sum(PFCands_pt[dR < 1])"))
    define(nano, "nano", draft("Muon_b", "Muon_a * 2"))
    lesser = ColumnSet("12" * 16, tuple(o for o in PARENT.columns if o.column.field != "phi"))
    more = record(3, LumiRange(1, 2, 2), columnset=lesser)
    nano.add_files("mini", [more.url])
    nano.record_file("mini", more, lesser)
    a, b = column(nano, "Muon_a"), column(nano, "Muon_b")
    assert (a.column.support, a.derivation) == ("unsupported", None)
    assert "PFCands has no phi" in a.column.reason
    assert b.column.reason == "computed from Muon_a, which cannot be computed"


def test_definitions_that_need_each_other_are_refused_however_they_came_about():
    known = [OfferedColumn(c, None) for c in COLUMNS]
    pair = [
        draft("Muon_a", "Muon_b + 1"),
        draft("Muon_b", "Muon_a + 1"),
        draft("Muon_c", "Muon_pt"),
    ]
    found = {o.column.name: o.column for o in defined_columns("nanoaod", known, (), pair)}
    assert found["Muon_c"].support == "ok"
    assert found["Muon_a"].reason == "computed from Muon_b, which cannot be computed"


def test_definitions_made_at_one_moment_never_need_each_other(nano, url):
    """Each fits what its thread saw; only what fits what is kept may be kept."""
    ready = Barrier(8)

    def attempt(number: int) -> bool:
        other = Catalogue(url)
        try:
            ready.wait(60)
            for i in range(6):
                a, b = ("Muon_a", "Muon_b") if (number + i) % 2 else ("Muon_b", "Muon_a")
                with suppress(ColumnServiceError):
                    define(other, "nano", draft(a, f"{b} + {number}"))
                    define(other, "nano", draft(a, f"Muon_pt + {i}"))
                with suppress(ColumnServiceError):
                    undefine(other, "nano", a)
        finally:
            other.close()
        return True

    for name in ("Muon_a", "Muon_b"):
        define(nano, "nano", draft(name, "Muon_pt"))
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(attempt, range(8)))
    made = [o.column for o in columns_of(nano, "nano") if o.column.origin == "derived"]
    assert [c.reason for c in made if c.support != "ok"] == []


def test_what_changed_since_the_check_is_checked_again(nano, monkeypatch):
    define(nano, "nano", draft("Muon_a", "Muon_pt"))
    define(nano, "nano", draft("Muon_b", "Muon_pt"))
    seen = nano.definitions("nano")
    assert nano.define("nano", draft("Muon_b", "Muon_a + 1"), seen[:1]) is None
    assert nano.undefine("nano", "Muon_b", seen[:1]) is False
    assert nano.definitions("nano") == seen

    def after_another(dataset, definition, known):
        monkeypatch.undo()
        assert nano.define("nano", draft("Muon_b", "Muon_a + 1"), seen)
        return nano.define(dataset, definition, known)

    monkeypatch.setattr(nano, "define", after_another)
    with pytest.raises(BadExpression, match="computed from itself, through Muon_b"):
        define(nano, "nano", draft("Muon_a", "Muon_b + 1"))
    assert column(nano, "Muon_b").column.support == "ok"


def test_a_dataset_without_a_parent_and_taken_names_are_refused(nano):
    with pytest.raises(RequestError, match="mini has no parent"):
        define(nano, "mini", draft("PFCands_x", "PFCands_pt"))
    for taken in ("Muon_pt", "PFCands_pt"):
        with pytest.raises(ColumnExists, match=f"'{taken}' already"):
            define(nano, "nano", draft(taken, "Muon_pt"))
    with pytest.raises(UnknownColumn, match="Nobody defined a column 'Muon_xx'"):
        undefine(nano, "nano", "Muon_xx")


@pytest.mark.parametrize("what", ["doc", "unit", "author"])
@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "a\rb", "\u202egnp", "\x00", "\u2028"])
def test_nothing_that_is_shown_to_readers_steers_their_terminals(nano, what, text):
    told = {"name": "Muon_x", "expression": "Muon_pt", "author": "ada", what: f"so {text}"}
    with pytest.raises(RequestError, match=f"The {what} of Muon_x holds characters"):
        define(nano, "nano", Definition(**told))
    assert nano.definitions("nano") == ()


def test_the_digest_knows_everything_that_decides_the_values(nano):
    define(nano, "nano", draft("Muon_a", "Muon_pt + 1"))
    parameters = dict(column(nano, "Muon_a").derivation.parameters)
    assert parameters["text"] == "Muon_pt + 1"
    assert parameters["language"] == LANGUAGE_VERSION
    assert '"dtype": "float32"' in parameters["columns"]


def test_the_digest_knows_nothing_else(nano):
    define(nano, "nano", draft("Muon_a", "Muon_pt + 1"))
    digest = column(nano, "Muon_a").derivation.digest
    told = tuple(
        replace(o, column=replace(o.column, doc="told anew", cost_bytes=7.5)) for o in LOCAL.columns
    )
    other = ColumnSet("98" * 16, told)
    nano.remove_files("nano", [record(2).url])
    nano.add_files("nano", [record(2).url])
    nano.record_file("nano", record(2, LumiRange(1, 1, 1), columnset=other), other)
    assert column(nano, "Muon_pt").column.doc == "told anew"
    assert column(nano, "Muon_a").derivation.digest == digest


FITTING = {
    "Muon_iso": ("Muon_pt", 1, "Muon", "iso", "local:Muon"),
    "Muon_pf_iso": ("Muon_pt", 1, "Muon", "pf_iso", "local:Muon"),
    "PFCands_near": ("min(dR(PFCands, Muon))", 1, "PFCands", "near", "PFCands"),
    "nGoodMuon": ("count(Muon)", 0, None, None, None),
    "MET_extra": ("MET_pt * 2", 0, "MET", "extra", None),
    "my_value": ("rho", 0, "my", "value", None),
}


@pytest.mark.parametrize(("name", "about"), FITTING.items())
def test_a_name_says_where_a_column_stands(name, about):
    expression, *wanted = about
    program, names = check(parse(expression), COLUMNS, expression), Names.of(COLUMNS)
    found = belonging(name, program.root.axes, program.inputs, names, "nanoaod")
    assert [found.depth, found.collection, found.field, found.shape] == wanted


MISLEADING = {
    "pf_iso": ("Muon_pt", "Call it Muon_pf_iso"),
    "Jet_iso": ("Muon_pt", "Call it Muon_Jet_iso"),
    "iso": ("Muon_pt", "Call it Muon_iso"),
    "Muon_sum": ("sum(Muon_pt)", "would stand among the fields of Muon"),
    "nJet": ("sum(Muon_pt)", "would be taken for the number of Jet"),
    "MET": ("sum(Muon_pt)", "cannot stand beside each other"),
    "run_x": ("sum(Muon_pt)", "run_x and run cannot stand beside each other"),
    "Muon_far2": ("Muon_far", "which is no collection of its own"),
    "Muon_some": ("Muon_pt[Muon_pt > 5]", r"where\(…\)"),
    "Muon_list": ("dR(Muon, Jet)", "would be a list for each Muon"),
}


@pytest.mark.parametrize(("name", "about"), MISLEADING.items())
def test_a_name_that_misleads_is_refused(name, about):
    expression, said = about
    program, names = check(parse(expression), COLUMNS, expression), Names.of(COLUMNS)
    with pytest.raises(BadExpression, match=said):
        belonging(name, program.root.axes, program.inputs, names, "nanoaod")


def test_names_of_atlas_are_branches_of_a_store():
    assert collection_of("AnalysisMuonsAuxDyn.iso", "physlite") == "AnalysisMuons"
    assert collection_of("nGoodMuons", "physlite") is None
    for bad in ("AnalysisMuons.iso", "a b", "9x", "x-y", "AnalysisMuonsAuxDyn.", "_x", "lambda"):
        with pytest.raises(BadExpression, match="cannot be a column's name"):
            collection_of(bad, "physlite")
    for bad in ("Muon.iso", "Muon_", "sum", "pi", "across", "if", "x" * 129, "Müon_pt"):
        with pytest.raises(BadExpression, match="cannot be a column's name"):
            collection_of(bad, "nanoaod")


def function(name, inputs, collection="Muon", dtype="float32"):
    return InstalledFunction(
        name, inputs, dtype, collection, 3, "a score", "bob", "", "pkg 1.0, pkg:score", print
    )


def test_functions_are_columns_where_their_inputs_are():
    known = [OfferedColumn(c, None) for c in COLUMNS]
    functions = [
        function("Muon_score", ("Muon_pt", "PFCands_pt")),
        function("Muon_better", ("Muon_score", "Muon_pt")),
        function("eventScore", ("Muon_pt",), None),
        function("Muon_lacks", ("Muon_pt", "Nowhere_pt")),
        function("Muon_lonely", ("PFCands_pt",)),
        function("Foreign_x", ("Nowhere_pt",)),
        function("Muon_pt", ("Muon_eta",)),
    ]
    definitions = [draft("Muon_twice", "Muon_score * 2")]
    found = {o.column.name: o for o in defined_columns("nanoaod", known, functions, definitions)}
    assert set(found) == {
        "Muon_score", "Muon_better", "eventScore", "Muon_lacks", "Muon_lonely", "Muon_twice",
    }  # fmt: skip
    score = found["Muon_score"]
    assert score.column.source == "pkg 1.0, pkg:score"
    assert score.column.doc == "a score (by bob, version 3)"
    assert (score.column.type, score.column.shape) == ("var * float32", "local:Muon")
    assert score.derivation.compute == "function"
    assert dict(score.derivation.parameters)["objects_of"] == 0
    assert found["eventScore"].column.depth == 0
    assert found["Muon_lacks"].column.reason == "it needs Nowhere_pt: is not there"
    assert "how many Muon there are" in found["Muon_lonely"].column.reason
    assert found["Muon_twice"].column.support == "ok"


def test_a_function_and_a_definition_of_one_name_are_both_refused_and_harm_nothing_else(
    nano, monkeypatch
):
    """The operator installs a function under a name that a user took, using the user's columns."""
    define(nano, "nano", draft("Muon_score", "Muon_pt + 1"))
    define(nano, "nano", draft("Muon_twice", "Muon_score * 2"))
    both = (function("Muon_score", ("Muon_pt", "Muon_twice")), function("Muon_other", ("Muon_pt",)))
    for room in ("catalogue.columns", "catalogue.drafting"):
        monkeypatch.setattr(f"columnservice.{room}.installed", lambda: (both, ()))
    nano.add_files("mini", [record(9).url])  # the catalogue remembers columns until files change
    nano.record_file("mini", record(9, LumiRange(1, 9, 9), columnset=PARENT), PARENT)

    known = {o.column.name: o for o in columns_of(nano, "nano")}
    assert len(known) == len(columns_of(nano, "nano"))
    clash = known["Muon_score"].column
    assert (clash.support, clash.reason) == (
        "unsupported", "users define Muon_score too: which one is meant?"
    )  # fmt: skip
    assert known["Muon_twice"].column.reason == "computed from Muon_score, which cannot be computed"
    assert known["Muon_other"].column.support == known["Muon_pt"].column.support == "ok"
    [mine] = [d for d in nano.definitions("nano") if d.name == "Muon_score"]
    assert standing(mine, known) == standing(both[0], known) == clash
    with pytest.raises(ColumnExists, match="'Muon_score' already"):
        define(nano, "nano", draft("Muon_score", "Muon_pt + 3"))
    undefine(nano, "nano", "Muon_twice")
    undefine(nano, "nano", "Muon_score")
    assert column(nano, "Muon_score").derivation is None  # its function needs Muon_twice
    assert "Muon_twice: is not there" in column(nano, "Muon_score").column.reason


def test_a_name_that_files_bring_later_is_theirs(nano):
    define(nano, "nano", draft("Muon_new", "Muon_pt + 1"))
    define(nano, "nano", draft("Muon_more", "Muon_new * 2"))
    richer = ColumnSet(
        "34" * 16,
        (
            *LOCAL.columns,
            offered("Muon_new", depth=1, collection="Muon", field="new", shape="Muon"),
        ),
    )
    nano.remove_files("nano", [record(2).url])
    nano.add_files("nano", [record(2).url])
    nano.record_file("nano", record(2, LumiRange(1, 1, 1), columnset=richer), richer)

    listed = [o.column for o in columns_of(nano, "nano")]
    assert [c.origin for c in listed if c.name == "Muon_new"] == ["local"]
    known = {o.column.name: o for o in columns_of(nano, "nano")}
    by_name = {d.name: d for d in nano.definitions("nano")}
    told = standing(by_name["Muon_new"], known)
    assert (told.support, told.reason, told.source) == ("unsupported", TAKEN, "Muon_pt + 1")
    assert standing(by_name["Muon_more"], known).support == "ok"
    with pytest.raises(ColumnExists, match="'Muon_new' already"):
        define(nano, "nano", draft("Muon_new", "Muon_pt + 2"))
    define(nano, "nano", draft("Muon_more", "Muon_new * 3"))
    undefine(nano, "nano", "Muon_new")  # Muon_more is computed from the files' own
    assert column(nano, "Muon_new").column.origin == "local"


def test_a_function_whose_name_the_files_hold_is_listed_with_the_reason():
    known = {c.name: OfferedColumn(c, None) for c in COLUMNS}
    told = standing(function("Muon_pt", ("Muon_eta",)), known)
    assert (told.support, told.reason, told.source) == ("unsupported", TAKEN, "pkg 1.0, pkg:score")
    assert standing(function("Muon_pt", ("Nowhere_x",)), known) is None
    assert standing(function("Muon_unheard", ("Nowhere_x",)), known) is None


def test_definitions_that_use_each_other_a_thousand_times_over_stop_nobody():
    known = [OfferedColumn(replace(c, cost_bytes=2.0), None) for c in COLUMNS]
    chain = [draft("Muon_d0", "Muon_pt")]
    chain += [draft(f"Muon_d{n}", f"Muon_d{n - 1} + 1") for n in range(1, 1000)]
    made = defined_columns("nanoaod", known, (), chain[:20])
    assert all(o.column.support == "ok" for o in made)
    first = made[0]
    made = [
        OfferedColumn(
            replace(first.column, name=d.name), None,
            replace(first.derivation, inputs=(f"Muon_d{n - 1}" if n else "Muon_pt",)),
        )
        for n, d in enumerate(chain)
    ]  # fmt: skip
    known = {o.column.name: o for o in with_costs([*known, *reversed(made)])}
    assert known["Muon_d999"].column.cost_bytes == 2.0
    needs = needs_of(known, [known["Muon_d999"].column])
    assert [c.name for c, _ in needs.derived] == [d.name for d in chain]


def test_names_are_told_apart_once_for_all_definitions_that_need_no_other(monkeypatch):
    made, of = [], Names.of
    monkeypatch.setattr(Names, "of", lambda *told: made.append(1) or of(*told))
    known = [OfferedColumn(c, None) for c in COLUMNS]
    many = [draft(f"Muon_n{n}", f"Muon_pt + {n}") for n in range(50)]
    more = [draft(f"Muon_m{n}", f"Muon_n{n} + {n}") for n in range(50)]
    found = defined_columns("nanoaod", known, (), [*more, *many])
    assert [o.column.support for o in found] == ["ok"] * 100
    assert len(made) == 2


IN_A_WORKER = {
    "sumOfLists": ("sum(Event.weights) + count(Event.times)", [5, 2]),
    "sumOfFar": ("sum(Muon_far) + count(Muon_pt)", [4, 3]),
    "longestList": ("maximum(count(Event.times), count(Event.weights))", [2, 2]),
}


@pytest.mark.parametrize(("name", "about"), IN_A_WORKER.items())
def test_what_is_accepted_is_computed_by_a_worker_that_knows_the_inputs_only(name, about):
    """Lists beside the scalars of an event, or beside a local collection, are axes of their own."""
    source, wanted = about
    known = [OfferedColumn(c, None) for c in COLUMNS]
    [one] = defined_columns("nanoaod", known, (), [draft(name, source)])
    assert one.column.support == "ok"
    values = {
        "Event.weights": ragged_of([[1, 3], []], 1),
        "Event.times": ragged_of([[7], [8, 9]], 1, "uint32"),
        "Muon_far": ragged_of([[1, 2], [3]], 1),
        "Muon_pt": ragged_of([[5], []], 1),
    }
    made = compute(one.derivation, [values[n] for n in one.derivation.inputs])
    assert lists_of(made) == wanted
