"""Worker processes that die, freeze and hang: only the task concerned notices, if anyone does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from columnservice.delivery import crew as crew_room
from columnservice.delivery import process
from columnservice.delivery.house import make_home
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.workers import Workers
from columnservice.errors import DamagedFile, Unavailable, Unreachable
from columnservice.settings import Settings
from tests.delivery import chores
from tests.support.pairs import judged_pair
from tests.support.service import REPOSITORY

PATIENCE_SECONDS = 120
DEADLINE_SECONDS = 3.0


def until(true, what: str, seconds: float = PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def count(metrics: Metrics, name: str) -> float:
    lines = metrics.text().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name + "_total"))


@contextmanager
def crew(home: Path, **changes):
    """Workers with their own home, and their metrics."""
    settings = Settings(home=home, **{"workers": 2, "deadline_seconds": DEADLINE_SECONDS} | changes)
    make_home(settings)
    metrics = Metrics()
    workers = Workers(settings, metrics)
    try:
        until(lambda: workers.warm == settings.workers + 1, "the workers did not get warm", 600)
        yield workers, metrics
    finally:
        workers.stop()


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with crew(tmp_path_factory.mktemp("workers")) as made:
        yield made


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_everything_is_loaded_before_the_first_task(team):
    assert all(team[0].run(chores.loaded, "a.root").result(PATIENCE_SECONDS))


def test_no_task_has_to_wait_for_libraries_to_load(tmp_path):
    pair = judged_pair(tmp_path, events=60, parents=1).pair
    with crew(tmp_path / "home", workers=1, deadline_seconds=60) as (workers, _):
        late = workers.run(chores.late_imports, "a.root", str(pair.local), str(pair.parents[0]))
        heavy = {module.partition(".")[0] for module in late.result(PATIENCE_SECONDS)}
    assert heavy <= {"mmap", "encodings"}


def test_the_process_that_worked_last_is_given_the_next_task(team):
    """Its files are open, and its memory is its own already."""
    workers, _ = team
    pids = [workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS) for _ in range(6)]
    assert len(set(pids)) == 1


def test_a_process_in_which_something_broke_is_given_a_task_last(team):
    workers, _ = team
    first = workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS)
    with pytest.raises(MemoryError):
        workers.run(chores.break_down, "a.root").result(PATIENCE_SECONDS)
    pids = [workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS) for _ in range(3)]
    assert first not in pids


def test_what_a_task_raises_reaches_its_caller_and_costs_no_process(team):
    workers, metrics = team
    before = count(metrics, "columnservice_worker_deaths")
    with pytest.raises(DamagedFile, match=r"a\.root is damaged"):
        workers.result(workers.run(chores.fail, "a.root"))
    assert count(metrics, "columnservice_worker_deaths") == before
    assert workers.warm == 3


def test_at_most_so_many_tasks_run_at_a_time_and_the_spare_is_none_of_them(team, tmp_path):
    workers, _ = team
    notes, go = tmp_path / "notes", tmp_path / "go"
    notes.mkdir()
    futures = [workers.run(chores.note_and_wait, f"{n}", notes, go) for n in range(5)]
    until(lambda: len(list(notes.iterdir())) == 2, "two tasks begin")
    time.sleep(0.3)
    assert len(list(notes.iterdir())) == 2
    assert (workers.running, workers.waiting, workers.warm) == (2, 3, 3)
    go.touch()
    assert len([f.result(PATIENCE_SECONDS) for f in futures]) == 5


def test_a_task_without_progress_fails_naming_file_and_seconds_and_costs_its_process_only(
    team, tmp_path
):
    workers, metrics = team
    before = count(metrics, "columnservice_deadlines")
    other = workers.run(chores.wait_for, "other.root", tmp_path / "go")
    hung = workers.run(chores.note_and_hang, "/store/hung.root", tmp_path / "pid")
    with pytest.raises(Unreachable, match=r"/store/hung\.root: nothing arrived .* for 3 s"):
        hung.result(PATIENCE_SECONDS)
    assert not other.done()
    (tmp_path / "go").touch()
    assert other.result(PATIENCE_SECONDS) == "other.root"
    assert count(metrics, "columnservice_deadlines") == before + 1
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not alive(pid), "the process is ended")
    until(lambda: workers.warm == 3, "the process is replaced")


@pytest.fixture
def patient_team(tmp_path):
    """Workers whose deadline leaves time for other tasks meanwhile, however busy the machine is."""
    with crew(tmp_path / "home", deadline_seconds=7) as made:
        yield made


def test_a_server_that_gave_no_answer_keeps_one_process_busy_and_no_more(patient_team, tmp_path):
    workers, _ = patient_team
    hung = workers.run(chores.note_and_hang, "root://frozen:1//0.root", tmp_path / "pid0")
    with pytest.raises(Unreachable):
        hung.result(PATIENCE_SECONDS)
    again = [
        workers.run(chores.note_and_hang, f"root://frozen:1//{n}.root", tmp_path / f"pid{n}")
        for n in range(1, 4)
    ]
    until((tmp_path / "pid1").exists, "one finds out whether the server is back")
    others = [workers.run(chores.pid, f"root://well:1//{n}.root") for n in range(4)]
    assert all(future.result(PATIENCE_SECONDS) for future in others)
    assert not (tmp_path / "pid2").exists()
    for future in again:
        with pytest.raises(Unreachable):
            future.result(PATIENCE_SECONDS)
    until(lambda: workers.warm == 3, "the processes are replaced")
    assert workers.run(chores.pid, "root://frozen:1//a.root").result(PATIENCE_SECONDS)
    notes, go = tmp_path / "notes", tmp_path / "go"
    notes.mkdir()
    back = [
        workers.run(chores.note_and_wait, f"root://frozen:1//{n}.root", notes, go) for n in range(2)
    ]
    until(lambda: len(list(notes.iterdir())) == 2, "a server that is back serves several")
    go.touch()
    assert len({future.result(PATIENCE_SECONDS) for future in back}) == 2


def test_a_long_healthy_task_lives(team):
    steps = round(2 * DEADLINE_SECONDS / 0.5)
    task = team[0].run(chores.get_on_slowly, "long.root", 0.5, steps)
    assert task.result(PATIENCE_SECONDS) == "long.root"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGBUS, signal.SIGSEGV, signal.SIGSTOP])
def test_a_task_whose_process_died_or_froze_is_done_by_another(team, tmp_path, how):
    workers, metrics = team
    before = count(metrics, "columnservice_worker_deaths")
    other = workers.run(chores.wait_for, "other.root", tmp_path / "go")
    task = workers.run(chores.die_first, "a.root", tmp_path / "died", how)
    assert task.result(PATIENCE_SECONDS) == "a.root"
    assert count(metrics, "columnservice_worker_deaths") == before + 1
    (tmp_path / "go").touch()
    assert other.result(PATIENCE_SECONDS) == "other.root"
    until(lambda: workers.warm == 3, "the process is replaced")


def test_a_task_that_ends_its_process_by_itself_is_done_by_another(team, tmp_path):
    """The service does not end: nothing told it to."""
    workers, metrics = team
    before = count(metrics, "columnservice_worker_deaths")
    task = workers.run(chores.leave_first, "a.root", tmp_path / "left")
    assert task.result(PATIENCE_SECONDS) == "a.root"
    assert count(metrics, "columnservice_worker_deaths") == before + 1
    until(lambda: workers.warm == 3, "the process is replaced")


def test_a_task_that_kills_every_process_fails_and_the_others_go_on(team):
    workers, _ = team
    with pytest.raises(Unavailable, match=r"bad\.root: two worker processes died"):
        workers.result(workers.run(chores.die, "bad.root"))
    assert workers.result(workers.run(chores.pid, "good.root")) > 0


def test_an_idle_process_that_dies_is_replaced(team):
    workers, _ = team
    until(lambda: workers.warm == 3, "all processes are warm")
    killed = workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive(killed), "it is dead")
    seen = set()
    for _ in range(20):
        seen.add(workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS))
    assert killed not in seen
    until(lambda: workers.warm == 3, "the process is replaced")


def test_an_idle_process_that_freezes_is_replaced(team, monkeypatch):
    monkeypatch.setattr(process, "FROZEN_SECONDS", 3.0)
    workers, metrics = team
    until(lambda: workers.warm == 3, "all processes are warm")
    before = count(metrics, "columnservice_worker_deaths")
    frozen = workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS)
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: count(metrics, "columnservice_worker_deaths") > before, "it is noticed")
    until(lambda: not alive(frozen), "it is ended")
    until(lambda: workers.warm == 3, "the process is replaced")


def test_sigterm_from_elsewhere_does_not_end_a_task(team, tmp_path):
    workers, _ = team
    notes = tmp_path / "notes"
    notes.mkdir()
    task = workers.run(chores.note_and_wait, "a.root", notes, tmp_path / "go")
    [pid] = until(lambda: [int(p.name) for p in notes.iterdir()], "the task begins")
    os.kill(pid, signal.SIGTERM)
    (tmp_path / "go").touch()
    assert task.result(PATIENCE_SECONDS) == pid


def test_the_end_of_the_workers_fails_what_runs_and_what_waits_and_leaves_no_process(tmp_path):
    with crew(tmp_path / "home", workers=1) as (workers, _):
        hung = workers.run(chores.note_and_hang, "a.root", tmp_path / "pid")
        waiting = workers.run(chores.pid, "b.root")
        pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), ""))
        workers.stop()
        for future in (hung, waiting, workers.run(chores.pid, "c.root")):
            with pytest.raises(Unavailable, match="shutting down"):
                future.result(PATIENCE_SECONDS)
        assert not alive(pid)
        assert workers.warm <= 1


def test_processes_that_cannot_load_are_an_error_and_not_an_endless_wait(tmp_path):
    settings = Settings(home=tmp_path / "home", workers=1)
    make_home(settings)
    settings.cache_dir.rmdir()
    settings.cache_dir.write_text("this is no directory")
    workers = Workers(settings, Metrics())
    try:
        with pytest.raises(Unavailable, match="do not start"):
            workers.run(chores.pid, "a.root").result(PATIENCE_SECONDS)
        assert not workers.ready
    finally:
        workers.stop()


BROKEN_TEMPLATE = """
import sys
from pathlib import Path
from columnservice.delivery import crew, process
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.workers import Workers
from columnservice.errors import Unavailable
from columnservice.settings import Settings
from tests.delivery import chores
process.TEMPLATE = sys.argv[2]
crew.LOADING_SECONDS = 4.0
workers = Workers(Settings(home=Path(sys.argv[1]), workers=1), Metrics())
try:
    workers.run(chores.pid, "a.root").result(120)
except Unavailable as error:
    print(error, workers.ready)
workers.stop()
print("stopped")
"""


@pytest.mark.parametrize("how", ["raise", "hang"])
def test_a_template_that_cannot_load_is_told_and_holds_nobody_up(tmp_path, how):
    broken = f"tests.delivery.template_that_{how}s"
    found = subprocess.run(
        [sys.executable, "-c", BROKEN_TEMPLATE, str(tmp_path), broken],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    told, end = found.stdout.splitlines()
    assert "Worker processes do not start" in told
    assert told.endswith("False")
    assert end == "stopped"


def _harm_template(workers, template, how):
    """Kill or freeze the template, until there is another one."""
    os.kill(template, how)
    idle = workers.run(chores.pid, "b.root")
    if how == signal.SIGSTOP:  # a process is missing, and cannot be had from this template
        os.kill(idle.result(PATIENCE_SECONDS), signal.SIGKILL)
    until(lambda: process.template_pid() != template, "there is another template")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_template_that_dies_or_freezes_is_replaced_and_no_task_is_blamed(
    team, tmp_path, monkeypatch, how
):
    workers, _ = team
    until(lambda: workers.warm == 3, "all processes are warm")
    notes, go = tmp_path / "notes", tmp_path / "go"
    notes.mkdir()
    task = workers.run(chores.note_and_wait, "a.root", notes, go)
    [first] = until(lambda: [int(p.name) for p in notes.iterdir()], "the task begins")
    template = process.template_pid()
    with monkeypatch.context() as impatient:
        impatient.setattr(crew_room, "LOADING_SECONDS", 40.0)
        _harm_template(workers, template, how)
    until(lambda: not alive(first), "nobody is left that the service does not know")
    go.touch()
    assert task.result(PATIENCE_SECONDS) != first
    until(lambda: workers.warm == 3, "all processes are warm again")


def test_a_task_that_cannot_even_begin_fails(team):
    with pytest.raises(Unavailable, match=r"bad\.root: worker processes died before it began"):
        team[0].run(chores.pid, chores.Poison("bad.root")).result(PATIENCE_SECONDS)


def test_processes_end_before_their_locks_are_taken_away():
    """Else one that has just begun says in the log that it has none."""
    done: list[str] = []
    pool = process._Pool(max_workers=1, context=process.CONTEXT)
    steps = ("close_channels", "force_stop_workers")
    told = {step: lambda step=step: done.append(step) for step in steps}
    pool._pool_manager.worker_manager = SimpleNamespace(**told)
    pool._stop_pool()
    assert done == ["force_stop_workers", "close_channels", "force_stop_workers"]
