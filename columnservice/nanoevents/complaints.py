"""Says on the log what must not go unheard: each thing once per process.

awkward hides errors that are raised while a field is looked up as an attribute. Knows
``logging``; without any handler Python writes these lines to stderr.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable

log = logging.getLogger("columnservice")

_said: set[Hashable] = set()


def say_once(level: int, about: Hashable, text: str) -> None:
    """Log a text, unless something was said about the same thing before.

    Args:
        level: of ``logging``.
        about: what the text is about.
        text: one line.
    """
    if about not in _said:
        _said.add(about)
        log.log(level, "%s", text)


def forget() -> None:
    """Forget what was said."""
    _said.clear()
