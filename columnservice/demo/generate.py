"""Writes a SYNTHETIC pair: one compact local file and the parent files that hold the same events.

Needs uproot only. Events are made block by block, so that memory does not grow with their number.
Every tree's title says that it is synthetic.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import uproot

from columnservice.demo import atlas, cms, physics
from columnservice.demo.blocks import Layout, Rows, Sample, Truth
from columnservice.demo.particles import particles
from columnservice.errors import RequestError
from columnservice.model import FormatName

Experiment = Literal["cms", "atlas"]

TITLE = "SYNTHETIC events of the columnservice demo, no physics result"

_LOCAL_CHUNK_EVENTS = 2000
_PARENT_CHUNK_EVENTS = 200
_PARENT_CHUNK_EVENTS_HL_LHC = 50


@dataclass(frozen=True)
class Pair:
    """What was written.

    Attributes:
        experiment: cms or atlas.
        sample: what was asked for.
        local: the compact file.
        parents: the parent files, in the order of ``truth.parent_file``.
        local_format, parent_format: their Formats.
        local_tree, parent_tree: names of their event trees.
        truth: where each local row stands in the parents.
    """

    experiment: Experiment
    sample: Sample
    local: Path
    parents: tuple[Path, ...]
    local_format: FormatName
    parent_format: FormatName
    local_tree: str
    parent_tree: str
    truth: Truth


class _Tree:
    """A tree that is filled in chunks of a few hundred or thousand events."""

    def __init__(
        self,
        file: uproot.WritableDirectory,
        name: str,
        branch: Callable[[str, str], str],
        chunk_events: int,
    ) -> None:
        self._file, self._name, self._branch = file, name, branch
        self._chunk_events = chunk_events
        self._waiting: list[dict[str, Any]] = []
        self._waiting_events = 0
        self._tree: Any = None

    def add(self, columns: dict[str, Any]) -> None:
        self._waiting.append(columns)
        self._waiting_events += len(next(iter(columns.values())))
        if self._waiting_events >= self._chunk_events:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        chunk = {
            name: ak.concatenate([columns[name] for columns in self._waiting])
            for name in self._waiting[0]
        }
        self._waiting, self._waiting_events = [], 0
        if self._tree is None:
            self._tree = self._file.mktree(
                self._name,
                {name: ak.type(array).content for name, array in chunk.items()},
                title=TITLE,
                field_name=self._field_name,
                initial_basket_capacity=256,
            )
        if len(next(iter(chunk.values()))):
            self._tree.extend(chunk)

    def _field_name(self, outer: str, inner: str) -> str:
        return self._branch(outer, inner) if outer else inner


def _content(experiment: Experiment) -> Any:
    """The module that knows an experiment's branches."""
    known = {"cms": cms, "atlas": atlas}
    if experiment not in known:
        raise RequestError(f"no demo for experiment {experiment!r}: choose cms or atlas.")
    return known[experiment]


def _core(layout: Layout, block: int, events: Rows) -> physics.Core:
    whole = physics.core(layout.sample, block, len(layout.events_of(block)))
    return physics.take(whole, events - layout.starts[block])


def _write_local(layout: Layout, content: Any, path: Path) -> None:
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        tree = _Tree(file, content.LOCAL_TREE, content.local_branch, _LOCAL_CHUNK_EVENTS)
        for block, events in layout.local():
            core = _core(layout, block, events)
            tree.add(content.local_chunk(layout.sample, block, layout.keys(events), core))
        tree.flush()


def _write_parents(
    layout: Layout, content: Any, paths: tuple[Path, ...], progress: Callable[[int, int], None]
) -> None:
    sample = layout.sample
    chunk = _PARENT_CHUNK_EVENTS_HL_LHC if sample.hl_lhc else _PARENT_CHUNK_EVENTS
    lumis: list[list[int]] = [[] for _ in paths]
    with ExitStack() as stack:
        files = [
            stack.enter_context(uproot.recreate(path, compression=uproot.ZSTD(5))) for path in paths
        ]
        trees = [_Tree(f, content.PARENT_TREE, content.parent_branch, chunk) for f in files]
        for done, (block, parts) in enumerate(layout.parents()):
            rows = layout.events_of(block)
            core = physics.core(sample, block, len(rows))
            around = particles(sample, block, core)
            columns = content.parent_block(sample, block, layout.keys(rows), core, around)
            if done == 0:  # a parent file that gets no events has the branches all the same
                for tree in trees:
                    tree.add({name: array[:0] for name, array in columns.items()})
            for parent, events in parts.items():
                wanted = events - layout.starts[block]
                trees[parent].add({name: array[wanted] for name, array in columns.items()})
                lumis[parent].append(block + 1)
            progress(done + 1, layout.blocks)
        for file, tree, held in zip(files, trees, lumis, strict=True):
            tree.flush()
            for name, columns in content.other_trees(sample.run, np.array(held)).items():
                other = _Tree(file, name, content.parent_branch, 1)
                other.add(columns)


def generate(
    experiment: Experiment,
    directory: Path,
    sample: Sample,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    parents_directory: Path | None = None,
) -> Pair:
    """Write a pair.

    Args:
        experiment: cms (NanoAOD-like ← MiniAOD-like) or atlas (PHYSLITE-like ← DAOD-like).
        directory: existing directory; gets ``local.root`` and ``parent_0.root``, ….
        sample: how many events, in how many files, from which seed.
        progress: called with blocks done and blocks in all.
        parents_directory: where the parents go instead, if they shall stand elsewhere.
    """
    content = _content(experiment)
    layout = Layout(sample)
    local = directory / "local.root"
    above = parents_directory or directory
    parents = tuple(above / f"parent_{n}.root" for n in range(sample.parents))
    _write_local(layout, content, local)
    _write_parents(layout, content, parents, progress)
    return Pair(
        experiment,
        sample,
        local,
        parents,
        content.LOCAL_FORMAT,
        content.PARENT_FORMAT,
        content.LOCAL_TREE,
        content.PARENT_TREE,
        layout.truth,
    )
