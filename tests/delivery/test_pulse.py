"""Signs of life: what a worker says arrives, and a watcher's own sleep is not held against it."""

from __future__ import annotations

import multiprocessing

import pytest

from columnservice.delivery.pulse import LONGEST_STEP_SECONDS, Pulse, Stillness

CONTEXT = multiprocessing.get_context("spawn")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _say_everything(pulse: Pulse) -> None:
    pulse.beat()
    pulse.begin()
    pulse.progress()
    if pulse.leaving:
        pulse.be_ready()


def test_what_a_spawned_process_says_is_seen_and_it_sees_that_it_shall_leave():
    pulse = Pulse(CONTEXT)
    pulse.leave()
    process = CONTEXT.Process(target=_say_everything, args=(pulse,))
    process.start()
    process.join()
    assert (pulse.beats, pulse.begun, pulse.steps, pulse.ready) == (1, 1, 2, True)


@pytest.mark.fast
def test_stillness_grows_while_nothing_is_counted_and_ends_with_the_next_count():
    counts, clock = [0], Clock()
    still = Stillness(lambda: counts[0], clock)
    for expected in (1.0, 2.0, 3.0):
        clock.now += 1.0
        assert still.seconds() == expected
    counts[0] += 1
    clock.now += 1.0
    assert still.seconds() == 0.0
    clock.now += 0.5
    assert still.seconds() == 0.5


@pytest.mark.fast
def test_a_watcher_that_slept_does_not_count_its_own_sleep():
    clock = Clock()
    still = Stillness(lambda: 0, clock)
    clock.now += 3600.0
    assert still.seconds() == LONGEST_STEP_SECONDS
