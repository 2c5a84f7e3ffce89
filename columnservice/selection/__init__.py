"""A small language for columns that are computed from other columns.

``parse`` reads text into a tree, ``check`` finds types and axes from the Columns' types alone,
``evaluate`` runs what was checked over plain arrays. No text ever reaches Python's own evaluation.
Knows no file, no catalogue and no request.
"""

from __future__ import annotations

from columnservice.selection.checking import check
from columnservice.selection.evaluation import evaluate
from columnservice.selection.parsing import parse
from columnservice.selection.program import Program
from columnservice.selection.tree import Node, names, text

__all__ = ["LANGUAGE_VERSION", "Node", "Program", "check", "evaluate", "names", "parse", "text"]

LANGUAGE_VERSION = 2
"""Counted up when the same text over the same values would give another result."""
