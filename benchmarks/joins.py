"""Joining EventKeys: our TakeIndex against polars, duckdb, pyarrow and pandas, one thread each.

Ours is what the product does: from the memory-mapped EventIndexes of a local file and its parents
to the TakeIndex, with repeated keys found on both sides. The peers join frames that are in memory
already, on (run, lumi, event), and answer file and row in local order; they look for no repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.inputs import Sample, natural, shuffled
from benchmarks.measure import Options, Row, compare
from columnservice.alignment.eventindex import open_eventindex, write_eventindex
from columnservice.alignment.takeindex import TakeIndex, make_takeindex
from columnservice.model import FileIdentity, Keys

KEYS = ["run", "lumi", "event"]
Found = tuple[NDArray[np.int32], NDArray[np.int64]]


def rows(options: Options) -> Iterator[Row]:
    """The rows ``join-natural/best-peer`` and ``join-shuffled/best-peer``."""
    events, gap = options.size("join_events"), options.size("join_gap")
    disorder = options.size("join_disorder")
    made: tuple[tuple[str, Callable[[], Sample]], ...] = (
        ("join-natural/best-peer", lambda: natural(events, gap, disorder)),
        ("join-shuffled/best-peer", lambda: shuffled(events, gap)),
    )
    for name, make in made:
        if options.wants(name):
            options.say(f"{name}: making events")
            sample = _mapped(make(), options.scratch)
            yield compare(
                options,
                name,
                ours=_ours(sample),
                peers=peers(sample),
                same=_same,
                input_bytes=16 * (len(sample.local) + sum(len(p) for p in sample.parents)),
                note="one thread",
            )


def _mapped(sample: Sample, directory: Path) -> Sample:
    """The same keys, kept as EventIndexes and opened again."""

    def kept(keys: Keys, name: str) -> Keys:
        write_eventindex(directory / name, keys)
        found = open_eventindex(directory / name)
        assert found is not None
        return found

    parents = (kept(keys, f"{number}.arrow") for number, keys in enumerate(sample.parents))
    return Sample(kept(sample.local, "local.arrow"), tuple(parents))


def _ours(sample: Sample) -> Callable[[], TakeIndex]:
    identities = [FileIdentity(str(n), 0) for n in range(len(sample.parents))]
    return lambda: make_takeindex(sample.local, sample.parents, identities)


def _same(ours: TakeIndex, peer: Found) -> bool:
    return np.array_equal(ours.file, peer[0]) and np.array_equal(ours.row, peer[1])


def peers(sample: Sample) -> dict[str, Callable[[], Found]]:
    """The peers, each with its frames made."""
    columns = {key: getattr(sample.local, key) for key in KEYS}
    local = pa.table({**columns, "place": np.arange(len(sample.local))})
    parent = pa.concat_tables(
        pa.table(
            {
                **{key: getattr(keys, key) for key in KEYS},
                "file": np.full(len(keys), number, np.int32),
                "row": np.arange(len(keys)),
            }
        )
        for number, keys in enumerate(sample.parents)
    ).combine_chunks()
    return {
        "polars": _polars(local, parent),
        "duckdb": _duckdb(local, parent),
        "pyarrow": _pyarrow(local, parent),
        "pandas": _pandas(local, parent),
    }


def _polars(local: pa.Table, parent: pa.Table) -> Callable[[], Found]:
    assert pl.thread_pool_size() == 1
    mine, other = pl.from_arrow(local).drop("place"), pl.from_arrow(parent)

    def run() -> Found:
        found = mine.join(other, on=KEYS, how="left", maintain_order="left")
        filled = found.select(pl.col("file", "row").fill_null(-1))
        return filled["file"].to_numpy(), filled["row"].to_numpy()

    return run


def _duckdb(local: pa.Table, parent: pa.Table) -> Callable[[], Found]:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set enable_progress_bar = false")
    connection.register("arrow_local", local)
    connection.register("arrow_parent", parent)
    connection.execute("create table local as select * from arrow_local")
    connection.execute("create table parent as select * from arrow_parent")

    def run() -> Found:
        # Rows come in the order of the hash join: put into place, which is faster than a sort.
        query = f"select place, file, row from local join parent using ({', '.join(KEYS)})"
        found = connection.execute(query).fetchnumpy()
        return _placed(local.num_rows, found["place"], found["file"], found["row"])

    return run


def _pyarrow(local: pa.Table, parent: pa.Table) -> Callable[[], Found]:
    pa.set_cpu_count(1)

    def run() -> Found:
        found = local.join(parent, KEYS, join_type="inner", use_threads=False)
        columns = (found[name].to_numpy() for name in ("place", "file", "row"))
        return _placed(local.num_rows, *columns)

    return run


def _pandas(local: pa.Table, parent: pa.Table) -> Callable[[], Found]:
    mine, other = local.drop_columns("place").to_pandas(), parent.to_pandas()

    def run() -> Found:
        found: pd.DataFrame = mine.merge(other, on=KEYS, how="left")
        filled = found[["file", "row"]].fillna(-1)
        return filled["file"].to_numpy(np.int32), filled["row"].to_numpy(np.int64)

    return run


def _placed(rows: int, at: NDArray, file: NDArray, row: NDArray) -> Found:  # type: ignore[type-arg]
    files, places = np.full(rows, -1, np.int32), np.full(rows, -1, np.int64)
    files[at], places[at] = file, row
    return files, places
