"""Having a process keep the memory that it frees, for the next task.

The C library gives large blocks back to the system as soon as they are free. The next task then
gets new pages, each of which the system clears first, and on a virtual machine may have to ask its
host for: a third of the time of a task, and sometimes more than all the rest. Knows no tasks.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt, from malloc.h of the GNU C library.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST_MMAP_THRESHOLD = 32 * 1024**2
KEPT_BYTES = 512 * 1024**2
"""About what an idle process keeps; more where something small in use stands above it."""


def keep_what_is_freed() -> bool:
    """Keep up to ``KEPT_BYTES``; to be called before any thread is started.

    Returns:
        whether the C library does so. Another than GNU's may not; all goes on as it was then.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = {
        _ARENA_MAX: 1,  # threads' own arenas are given back as soon as they are empty
        _MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD,
        _TRIM_THRESHOLD: KEPT_BYTES,
    }
    done = [mallopt(parameter, value) for parameter, value in told.items()]
    return all(done)
