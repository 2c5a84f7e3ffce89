from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from columnservice.reader.futures import give_up, submit

pytestmark = pytest.mark.fast


def test_without_threads_the_work_is_done_here_and_so_are_its_errors():
    assert submit(None, lambda _: threading.get_ident(), 0).result() == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        submit(None, lambda n: 1 // n, 0)


def test_of_what_is_given_up_the_begun_ends_and_the_rest_never_begins():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(number):
        begun.set()
        go_on.wait()
        done.append(number)

    with ThreadPoolExecutor(1) as threads:
        futures = [submit(threads, work, number) for number in range(3)]
        begun.wait()
        # Lets the first one end once the last one is cancelled, which is when it is waited for.
        futures[-1].add_done_callback(lambda _: go_on.set())
        give_up(futures)
        assert done == [0]
        assert [future.cancelled() for future in futures] == [False, True, True]


def test_an_error_of_what_is_given_up_is_nobodys():
    with ThreadPoolExecutor(1) as threads:
        failed = submit(threads, lambda n: 1 // n, 0)
        give_up([failed])
        assert failed.done()


def test_what_never_began_is_not_waited_for():
    """Nobody would ever say that it is over, as long as the threads are busy with other things."""
    go_on, given_up = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(go_on.wait)
        never = submit(threads, lambda n: n, 0)

        def work() -> None:
            give_up([never])
            given_up.set()

        threading.Thread(target=work, daemon=True).start()
        over = given_up.wait(10)
        go_on.set()
    assert over
    assert never.cancelled()
