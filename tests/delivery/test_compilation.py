"""That nothing is compiled inside a request: kernels are ready when a worker is warm."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numba
from numba.core import event

local, parent, home = (Path(p) for p in sys.argv[1:4])
from columnservice.cache.pieces import PieceCache
from columnservice.catalogue.columns import merged
from columnservice.catalogue.derived import derived_columns
from columnservice.catalogue.indexing import index_file
from columnservice.delivery import check, derivation, derive, materialise as m, outline, tasks
from columnservice.formats import compile_kernels
from columnservice.model import Dataset, Partition
from columnservice.reader import FilePool, location_of

compile_kernels()
recorder = event.RecordingListener()
event.register("numba:compile", recorder)

mini, layout = index_file(str(parent), "miniaod", {})
nano, own = index_file(str(local), "nanoaod", {})
tools = m.Tools(FilePool(), PieceCache(home / "cache", 10**10), home / "indexes")
parents = outline.Parents((mini,), (location_of(mini, {}),), "0" * 32)
join, keys = outline.join_task(
    Dataset("n", "nanoaod", "m"), Dataset("m", "miniaod"), parents, location_of(nano, {})
)
for key in keys:
    m.make_keys(tools, key)
check.check(tools, tasks.CheckTask(join, (), ((),), 1))
packed = ("PFCands_", "PFCandsRaw_packed", "nPFCands", "PackedGenPart_", "LostTracks_")
offered = [o for o in layout.columns if o.recipe and o.column.name.startswith(packed)]
shapes = dict.fromkeys(o.column.shape for o in offered if o.column.shape)
task = tasks.MaterialiseTask(
    local=nano.identity,
    lfn=nano.lfn,
    partition=Partition(0, nano.entries),
    parents=parents.locations,
    parent_format="miniaod",
    take="0" * 32,
    columns=tuple(
        tasks.ColumnWork(o.column, (o.recipe,), f"{n:032x}") for n, o in enumerate(offered)
    ),
    offsets=tuple((shape, f"{n:031x}f") for n, shape in enumerate(shapes)),
    proof="e" * 32,
)
made = m.materialise(tools, task)
mine, theirs = merged([(own, 1)], "local"), merged([(layout, 1)], "parent")
more = derived_columns(("nanoaod", "miniaod"), mine, theirs)
known = {o.column.name: o for o in (*mine, *theirs, *more)}
needs = derivation.needs_of(known, [o.column for o in more])
shapes = dict.fromkeys(c.shape for c in needs.parent if c.shape)
source = replace(
    task,
    columns=tuple(
        tasks.ColumnWork(c, (known[c.name].recipe,), f"{n:030x}ab")
        for n, c in enumerate(needs.parent)
    ),
    offsets=tuple((shape, f"{n:029x}abc") for n, shape in enumerate(shapes)),
)
recipes = {c.name: known[c.name].recipe for c in needs.local}
digests = derivation.digests_of(needs, {w.column.name: w.recipes for w in source.columns}, recipes)
computing = derivation.derive_task(source, needs, digests, location_of(nano, {}), recipes)
computed = derive.derive(tools, computing)
found = {"computed": len(computing.wanted) - len(computed.unkept)}
found |= {"columns": len(offered), "unkept": len(made.unkept), "compiled": len(recorder.buffer)}
numba.njit(lambda x: x + 1)(1)
found["control"] = len(recorder.buffer)
print(json.dumps(found))
"""


def test_no_kernel_is_compiled_inside_a_request(data_dir, tmp_path):
    local = data_dir / "cms_demo_mini" / "local_nano_like_8ev.root"
    parent = data_dir / "cms" / "miniaodsim_phys14_10ev.root"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(local), str(parent), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["columns"] > 60
    assert found["computed"] > 400
    assert (found["unkept"], found["compiled"]) == (0, 0)
    assert found["control"] > 0
