from __future__ import annotations

import gc
import json

import pytest

from benchmarks import measure, registry, report
from benchmarks.__main__ import main, options_of, parser
from benchmarks.measure import Options, Side, Target, WrongAnswer, compare, holds, row_of

pytestmark = pytest.mark.fast

FAST, SMALL = Target("join/peer", 2.0), Target("memory/before", 1.5, "<=")
OPTIONS = Options({t.name: t for t in (FAST, SMALL)}, {"events": 7}, pairs=4)


@pytest.fixture(autouse=True)
def _nothing_to_sweep():
    """Before each run garbage is swept out: not what a whole run of tests has left behind."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_a_speed_is_the_peers_figure_over_ours():
    row = row_of(OPTIONS, "join/peer", [1.0, 2.0, 1.0], [3.0, 3.0, 3.0], input_bytes=8)
    assert (row.ratio, row.met, row.seconds, row.peer_seconds) == (3.0, True, 1.0, 3.0)
    assert 1.5 <= row.low <= row.high <= 3.0


def test_a_cost_is_our_figure_over_the_peers():
    row = row_of(OPTIONS, "memory/before", [300.0], [100.0], input_bytes=8, seconds=0.5)
    assert (row.ratio, row.met, row.seconds) == (3.0, False, 0.5)


def test_both_sides_run_in_turn_after_a_warm_up_every_second_time_the_other_way_round():
    ran = []

    def side(name, value=1):
        def run():
            ran.append(name)
            return value

        return run

    row = compare(
        OPTIONS,
        "join/peer",
        ours=Side(side("A"), prepare=side("p")),
        peers={"B": side("B"), "C": side("C")},
        same=lambda mine, other: mine == other,
        input_bytes=8,
    )
    assert "".join(ran) == "pABC" + ("pABC" + "CBpA") * 2
    assert "B " in row.note
    assert "C " in row.note


def test_the_fastest_peer_counts_unless_it_is_only_told(monkeypatch):
    seconds = {"ours": 1.0, "slow": 3.0, "fast": 2.0, "told": 0.5}
    monkeypatch.setattr(
        measure, "timed", lambda side: (seconds[side.run()], side.run() and "answer")
    )
    peers = {"slow": lambda: "slow", "fast": lambda: "fast"}
    row = compare(
        OPTIONS,
        "join/peer",
        ours=lambda: "ours",
        peers={**peers, "told": Side(lambda: "told", counted=False)},
        same=lambda mine, other: mine == other,
        input_bytes=8,
        note="one thread",
    )
    assert (row.ratio, row.peer_seconds) == (2.0, 2.0)
    assert row.note == "one thread; fast 2 s, slow 3 s; not counted: told 0.5 s"


def test_what_is_only_told_must_give_the_same_answer_too():
    with pytest.raises(WrongAnswer, match="told gives another answer"):
        compare(
            OPTIONS,
            "join/peer",
            ours=lambda: 1,
            peers={"peer": lambda: 1, "told": Side(lambda: 2, counted=False)},
            same=lambda mine, other: mine == other,
            input_bytes=8,
        )


def test_a_peer_with_another_answer_is_not_timed():
    with pytest.raises(WrongAnswer, match="join/peer: slow gives another answer"):
        compare(
            OPTIONS,
            "join/peer",
            ours=lambda: 1,
            peers={"slow": lambda: 2},
            same=lambda mine, other: mine == other,
            input_bytes=8,
        )


@pytest.mark.parametrize(("truth", "ratio"), [(True, 1.0), (False, 0.0)])
def test_what_holds_has_the_ratio_one(truth, ratio):
    row = holds(
        Options({"import/light": Target("import/light", 1.0)}, {}), "import/light", truth, 1
    )
    assert (row.ratio, row.met) == (ratio, truth)


def test_rows_are_chosen_by_name_beginning_or_pattern():
    def names(*patterns):
        return [t.name for targets in registry.selected(patterns).values() for t in targets]

    assert names("join-natural") == names("join-natural/*") == ["join-natural/best-peer"]
    assert names("*-natural/best-peer") == ["join-natural/best-peer"]
    assert names() == [t.name for room in registry.ROOMS for t in room.targets]
    with pytest.raises(LookupError, match="nothing"):
        names("nothing")


def test_an_unknown_row_is_refused(capsys):
    assert main(["nothing"]) == 2
    assert "No row is called" in capsys.readouterr().out


def test_sizes_come_from_flags_and_are_small_when_quick():
    def size(*words):
        return options_of(parser().parse_args(words), ()).size("join_events")

    normal = registry.sizes()["join_events"]
    assert (size(), size("--quick")) == (normal.normal, normal.quick)
    assert size("--join-events", "99") == size("--quick", "--join-events", "99") == 99


def test_results_keep_rows_of_other_runs_and_tell_no_place(tmp_path):
    rows = [
        row_of(OPTIONS, "memory/before", [1.0], [1.0], input_bytes=8),
        row_of(OPTIONS, "join/peer", [1.0], [3.0], input_bytes=8, note="one thread"),
    ]
    for row in rows:
        report.write(tmp_path, [row], ["join/peer", "memory/before"])
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in kept["rows"]] == ["join/peer", "memory/before"]
    assert {"commit", "date"} <= set(kept["rows"][0])
    page = (tmp_path / "table.md").read_text()
    assert "| join/peer | 3 |" in page
    for text in (page, (tmp_path / "ratios.svg").read_text()):
        assert str(tmp_path) not in text
