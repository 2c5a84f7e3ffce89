from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys
from threading import Thread
import numpy as np
from columnservice.delivery.memory import keep_what_is_freed

if sys.argv[1] == "keep":
    assert keep_what_is_freed()

def task():
    held = [np.ones(3_000_000, np.uint8) for _ in range(60)]
    del held

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = Thread(target=task)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults(), faults())
"""


def faults(how: str) -> list[int]:
    """Page faults of three tasks in a row, in threads, that fill 180 MB each."""
    command = [sys.executable, "-c", PROGRAM, how]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(n) for n in told.stdout.split()]


def test_a_later_task_gets_the_memory_of_an_earlier_one_without_asking_the_system():
    kept, given_back = faults("keep"), faults("not")
    assert 3 * max(kept[1:]) < kept[0]
    assert 3 * max(kept[1:]) < min(given_back)
