"""The demo for real: servers start, the result is right, warm runs take nothing from the origin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from columnservice.demo import stage, story
from columnservice.demo.generate import Experiment
from columnservice.errors import ProofMismatch, SetupError
from tests.demo.test_servers import wait_gone

EVENTS = 150


@pytest.mark.xrootd
@pytest.mark.parametrize("experiment", ["cms", "atlas"])
def test_a_demo_is_right_and_takes_nothing_from_the_origin_when_warm(
    experiment: Experiment,
    xrootd_installed: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    told = story.run(experiment, events=EVENTS, output_dir=tmp_path)
    assert told.difference <= story.AGREEMENT
    cold, warm, emptied = told.runs
    assert cold.traffic.from_origin
    assert cold.traffic.from_xcache
    assert cold.traffic.from_service
    assert (warm.traffic.from_xcache, warm.traffic.from_origin) == (0, 0)
    assert emptied.traffic.from_xcache
    assert emptied.traffic.from_origin == 0
    wanted = {"cms": "PFCands_puppiWeight", "atlas": "InDetTrackParticlesAuxDyn.qOverP"}
    assert wanted[experiment] in cold.columns
    assert told.plot.exists()
    assert json.loads((tmp_path / f"{experiment}.json").read_text())["runs"][1]["name"] == "warm"
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    assert "equal to" in said
    assert told.parent_bytes > 5 * cold.traffic.from_origin


def test_without_xrootd_the_demo_says_so_and_reads_local_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(stage, "installed", lambda: False)
    told = story.run("atlas", events=EVENTS, output_dir=tmp_path)
    assert told.difference <= story.AGREEMENT
    assert [one.traffic.from_origin for one in told.runs] == [None, None]
    assert "no xrootd server programs here" in capsys.readouterr().out


@pytest.mark.parametrize("difference", [2 * story.AGREEMENT, float("inf"), float("nan")])
def test_a_result_that_differs_from_the_direct_read_fails_the_demo(
    difference: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = story.Outcome((), 1, 1, "isolation", difference, tmp_path / "plot.png", None)
    monkeypatch.setattr(stage, "installed", lambda: False)
    monkeypatch.setattr(story, "_tell", lambda *_: told)
    with pytest.raises(ProofMismatch, match="differs from a direct read of the parents in isol"):
        story.run("atlas", events=EVENTS, output_dir=tmp_path)


def test_what_the_demo_needs_beyond_the_service_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(story.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SetupError, match=r"needs coffea.*columnservice\[demo\]"):
        story.run(output_dir=tmp_path)


@pytest.mark.xrootd
def test_a_kept_demo_goes_on_and_ends_by_its_script(xrootd_installed: None, tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from columnservice.demo.story import run\n"
        "told = run('cms', events=60, keep=True, output_dir=Path(sys.argv[1]))\n"
        "print('STOP', told.stop)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    stop = Path(done.stdout.rpartition("STOP ")[2].strip())
    lines = done.stdout.splitlines()
    first = lines.index("import columnservice")
    last = lines.index(").events()", first)
    snippet = "\n".join(lines[first : last + 1]) + "\nprint(len(events.PFCands.pt))"
    pids = [int(pid) for pid in stop.read_text().splitlines()[1].split()[1:]]
    try:
        time.sleep(0.5)  # more than the guards need to notice that their starter is gone
        used = subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, check=False
        )
        assert used.returncode == 0, used.stderr
        assert used.stdout.strip() == "60"
    finally:
        subprocess.run([str(stop)], check=True)
    for pid in pids:
        wait_gone(pid)
    assert not stop.exists()
