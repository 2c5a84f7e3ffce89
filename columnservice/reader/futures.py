"""Work for threads, begun and given up. Knows threads; neither files nor what the work is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")


def submit(threads: ThreadPoolExecutor | None, work: Callable[[Any], T], item: Any) -> Future[T]:
    """Have something done in a thread, or, where there are none, here and now.

    Raises:
        whatever the work raises here.
    """
    if threads is not None:
        return threads.submit(work, item)
    done: Future[T] = Future()
    done.set_result(work(item))
    return done


def give_up(futures: Sequence[Future[Any]]) -> None:
    """See to it that none of these runs; those that have not begun never do."""
    wait([future for future in futures if not future.cancel()])
