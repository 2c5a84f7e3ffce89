"""fetch: the right columns, proven against the local file; and the whole way through a service."""

from __future__ import annotations

import json
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import columnservice
from columnservice import wire
from columnservice.cli.fetch import (
    Asking,
    LocalFile,
    choose,
    demand_proof,
    ranges_of,
    write_fetched,
)
from columnservice.client import Reply
from columnservice.client.makings import Makings
from columnservice.client.reply import Batch
from columnservice.errors import (
    OutOfRange,
    ProofMismatch,
    ProvenanceChanged,
    RequestError,
    UnknownColumn,
    UnsupportedColumn,
)
from columnservice.model import Column, FileLocation, Keys, Member

FLOAT = (Member("", "float32"),)
OFFERED = [
    Column("run", FLOAT, 0, origin="local"),
    Column("PF_pt", FLOAT, 1),
    Column("PF_eta", FLOAT, 1),
    Column("PF_bad", FLOAT, 1, support="unsupported", reason="stored memberwise"),
]


def chosen(*names):
    return [c.name for c in choose(OFFERED, names, "nano")]


@pytest.mark.fast
def test_names_and_patterns_choose_each_column_once():
    assert chosen("PF_eta", " PF_pt", "", "PF_eta") == ["PF_eta", "PF_pt"]
    assert chosen("PF_*") == ["PF_pt", "PF_eta"]
    assert chosen("PF_eta", "*") == ["PF_eta", "PF_pt"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        (["PF_ptt"], UnknownColumn, "nearest: PF_pt"),
        (["zz*"], UnknownColumn, "fits 'zz\\*'"),
        (["PF_bad"], UnsupportedColumn, "stored memberwise"),
        (["run"], RequestError, "stands in the local files"),
        ([" ", ""], RequestError, "No column is named"),
    ],
)
def test_what_cannot_be_chosen_is_told(names, error, told):
    with pytest.raises(error, match=told):
        choose(OFFERED, names, "nano")


@pytest.mark.fast
def test_ranges_follow_the_partitions():
    file = LocalFile(FileLocation("/f.root", ("/f.root",), "Events"), "nanoaod", "u", 100)
    document = {"partitions": [(0, 40), (40, 80), (80, 100)]}
    assert ranges_of(document, 0, 100, file) == [(0, 40), (40, 80), (80, 100)]
    assert ranges_of(document, 39, 41, file) == [(39, 40), (40, 41)]
    assert ranges_of(document, 40, 80, file) == [(40, 80)]
    assert ranges_of(document, 50, 50, file) == [(50, 50)]
    for start, stop in ((0, 101), (60, 50)):
        with pytest.raises(OutOfRange, match=f"Rows {start} to {stop} of /f.root, which has 100"):
            ranges_of(document, start, stop, file)


@pytest.mark.fast
def test_rows_of_other_events_are_refused():
    keys = Keys(np.ones(6, np.uint32), np.ones(6, np.uint32), np.arange(6, dtype=np.uint64))
    present = np.array([True, False, True])
    data = wire.encode_batch([], {}, present)
    first = wire.checksum(wire.row_hashes(keys[:3], present, 10))
    second = wire.checksum(wire.row_hashes(keys[3:], present, 13))
    batches = Batch(10, 13, first, data), Batch(13, 16, second, data)
    demand_proof(Reply(10, 16, batches, data.schema), keys, "f.root")

    shifted = keys[np.array([0, 1, 2, 4, 5, 3])]
    with pytest.raises(ProofMismatch, match=r"Rows 13 to 16 that came for f\.root"):
        demand_proof(Reply(10, 16, batches, data.schema), shifted, "f.root")


@pytest.mark.fast
def test_a_column_that_is_defined_anew_meanwhile_is_never_written_behind_the_old_one():
    class Changing:
        lists = ("new",)

        def catalogue(self, _dataset):
            return SimpleNamespace(makings=Makings({"rho": self.lists}))

        def fetch(self, _dataset, _uuid, start, stop, _names):
            told = {"recipes": {"rho": ["old" if start < 8 else "new"]}}
            data = wire.encode_batch([], {}, np.ones(stop - start, bool))
            schema = data.schema.with_metadata({wire.PROVENANCE: json.dumps(told)})
            return Reply(start, stop, (), schema)

    class Local(LocalFile):
        def keys(self, *_):
            return None

    written = []
    local = Local(FileLocation("/f.root", ("/f.root",), "Events"), "nanoaod", "u", 12)
    listed = Makings({"rho": ("old",)})
    asking = Asking(Changing(), "nano", [Column("rho", FLOAT, 0)], listed)

    def write():
        write_fetched(
            asking, None, local, [(0, 4), (4, 8), (8, 12)], lambda r: written.append(r.start)
        )

    with pytest.raises(ProvenanceChanged, match="rho is made otherwise") as caught:
        write()
    assert written == [0, 4]
    assert "Run the command again" in caught.value.remedy
    # the same with a layout that became known meanwhile, while the old one is there as ever
    Changing.lists = ("new", "old")
    written.clear()
    write()
    assert written == [0, 4, 8]


@pytest.fixture(scope="module")
def pair(service, data_dir):
    """The synthetic CMS pair, registered at a real service."""
    base = data_dir / "cms_demo_syn"
    service.register("fetch_mini", "miniaod", [base / f"parent_{n}.root" for n in range(4)])
    service.register("fetch_nano", "nanoaod", [base / "local_NanoAODv5_1000ev.root"], "fetch_mini")
    return base


def parents_pt(base):
    """Candidates' pt per local row, read directly, in the truth's order; None: no parent."""
    truth = json.loads((base / "truth.json").read_text())
    found = {}
    for name, ids in truth["parent_files"].items():
        with uproot.open(base / name) as file:
            tree = file["Events"]
            (branch,) = tree.keys(filter_name="*packedPFCandidates*packedPt_", full_paths=False)
            codes = tree[branch].array()
        counts, flat = ak.num(codes).to_numpy(), ak.flatten(codes).to_numpy()
        events = np.split(flat.astype(np.uint16).view(np.float16), np.cumsum(counts)[:-1])
        found.update(zip(map(tuple, ids), events, strict=True))
    with uproot.open(base / "local_NanoAODv5_1000ev.root") as file:
        keys = file["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
    rows = [found.get(tuple(map(int, key))) for key in zip(*keys.values(), strict=True)]
    missing = [n for n, row in enumerate(rows) if row is None]
    assert missing == truth["local_rows_missing_in_parent"]
    return [None if row is None else row.astype(np.float32).tolist() for row in rows]


@pytest.mark.parametrize("suffix", ["arrow", "parquet", "root", "rntuple"])
def test_fetched_columns_are_those_of_the_parents_by_the_truth(
    run, service, pair, tmp_path, suffix
):
    rntuple = suffix == "rntuple"
    out = tmp_path / ("out.root" if rntuple else f"out.{suffix}")
    outcome = run(
        "fetch",
        pair / "local_NanoAODv5_1000ev.root",
        "--url",
        service.url,
        "--dataset",
        "fetch_nano",
        "--columns",
        "PFCands_pt,PFCands_dxy",
        "--start",
        100,
        "--stop",
        900,
        "-o",
        out,
        *["--rntuple"][: int(rntuple)],
    )
    assert outcome.code == 0, outcome.err
    expected = parents_pt(pair)[100:900]
    missing = expected.count(None)
    assert outcome.err.splitlines()[-1].startswith(f"{missing} events have no parent")
    assert outcome.out == f"{out}: 800 events, 2 columns\n"
    if suffix in ("root", "rntuple"):
        with uproot.open(out) as file:
            assert file.classname_of("Events") == ("ROOT::RNTuple" if rntuple else "TTree")
            present = file["Events"]["hasParent"].array().tolist()
            values = file["Events"]["PFCands_pt"].array().tolist()
        assert present == [row is not None for row in expected]
        assert values == [row or [] for row in expected]
        return
    table = pq.read_table(out) if suffix == "parquet" else pa.ipc.open_file(out).read_all()
    assert [
        None if event is None else [candidate["PFCands_pt"] for candidate in event]
        for event in table["PFCands"].to_pylist()
    ] == expected


def together(run, service, dataset, local, columns, own, out, *more):
    told = ["--url", service.url, "--dataset", dataset, "--columns", columns, "--rntuple"]
    return run("fetch", local, *told, "--with-local", own, "-o", out, *more)


def flat(array) -> bytes:
    return np.asarray(ak.flatten(array, axis=None)).tobytes()


def is_same(found, wanted) -> bool:
    """The same lists and the same bytes."""
    same_lists = ak.to_list(ak.num(found, axis=-1)) == ak.to_list(ak.num(wanted, axis=-1))
    return same_lists and flat(found) == flat(wanted)


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what an old file lacks."""

    warn_missing_crossrefs = False


@pytest.mark.filterwarnings("ignore:Branch .* already exists:RuntimeWarning")
def test_local_and_fetched_columns_stand_in_one_rntuple_that_coffea_reads_alone(
    run, service, pair, tmp_path
):
    local, out = pair / "local_NanoAODv5_1000ev.root", tmp_path / "all.root"
    dataset = columnservice.connect(service.url).dataset("fetch_nano")
    dataset.define("Muon_nNear", "count(PFCands[dR(Muon, PFCands) < 0.4])")
    dataset.define("nHard", "count(PFCands[PFCands_pt > 5])")
    columns = "PFCands_pt,PFCands_eta,PFCands_phi,Muon_nNear,nHard"
    done = together(run, service, "fetch_nano", local, columns, "*", out, "--stop", 950)
    assert done.code == 0, done.err
    tree = uproot.open(local)["Events"]
    assert done.out == f"{out}: 950 events, 5 columns and {len(tree.keys())} of the file's own\n"
    events, wanted = uproot.open(out)["Events"].arrays(), tree.arrays(entry_stop=950)
    expected = parents_pt(pair)[:950]
    present = np.array([row is not None for row in expected])
    assert done.err.splitlines()[-1].startswith(f"{(~present).sum()} events have no parent")

    assert {*wanted.fields} < {*events.fields}
    for name in wanted.fields:
        assert is_same(events[name][:, None], wanted[name][:, None]), name
    assert events.hasParent.tolist() == present.tolist()
    assert events.PFCands_pt.tolist() == [row or [] for row in expected]
    assert ak.num(events.Muon_nNear).tolist() == events.nMuon.tolist()
    assert ak.sum(events.Muon_nNear) > 0

    read = NanoEventsFactory.from_root({str(out): "Events"}, schemaclass=Nano).events()
    alone = NanoEventsFactory.from_root({str(local): "Events"}, schemaclass=Nano).events()[:950]
    for collection in ("Muon", "Jet", "Electron", "MET"):
        for field in ("pt", "phi"):
            assert is_same(read[collection][field][:, None], alone[collection][field][:, None])
    assert read.PFCands.pt.tolist() == [row or [] for row in expected]
    muons, candidates = read.Muon[present], read.PFCands[present]
    eta, phi = (
        np.subtract(*ak.unzip(ak.cartesian([muons[f], candidates[f]], nested=True)))
        for f in ("eta", "phi")
    )
    pairs = np.hypot(eta, (phi + np.pi) % (2 * np.pi) - np.pi)
    sure = ak.all(ak.all(abs(pairs - 0.4) > 1e-5, axis=-1), axis=-1)
    counted = ak.sum(pairs < 0.4, axis=-1)
    assert counted[sure].tolist() == muons.nNear[sure].tolist()
    assert ak.sum(sure) > 900
    assert read.nHard[present].tolist() == ak.sum(candidates.pt > 5, axis=1).tolist()


@pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning")
def test_of_a_physlite_all_is_written_that_can_be_read_and_the_rest_is_told(
    run, service, data_dir, tmp_path
):
    folder, out = data_dir / "atlas_demo_pair", tmp_path / "all.root"
    local, parent = (
        folder / "local_physlite_21.2.108_40ev.root",
        folder / "parent_physlite_100ev.root",
    )
    service.register("fetch_daod", "physlite", [parent])
    service.register("fetch_lite", "physlite", [local], parent="fetch_daod")
    offered = columnservice.connect(service.url).dataset("fetch_lite").columns()
    lost = [c for c in offered if c.origin == "local" and c.support != "ok"]
    kept = [c for c in offered if c.origin == "local" and c.support == "ok"]
    added = [c for c in offered if c.origin == "parent" and c.support == "ok"][::5]
    names = ",".join(c.name for c in added)
    assert lost
    assert len(added) > 10
    done = together(run, service, "fetch_lite", local, names, "*", out)
    assert done.code == 0, done.err
    for column in lost:
        assert f"{column.name} of the file cannot be taken: {column.reason}." in done.err
    events = uproot.open(out)["EventData"]
    names = {c.name.replace(".", ":") for c in [*kept, *added]}
    assert {*events.keys(recursive=False)} == names | {"hasParent"}
    here, there = (
        uproot.open(file)["CollectionTree"]["EventInfoAux.eventNumber"].array()
        for file in (local, parent)
    )
    rows = [there.tolist().index(number) for number in here.tolist()]
    for columns, source in ((kept, local), (added, parent)):
        tree = uproot.open(source)["CollectionTree"]
        for column in columns:
            if column.depth > 1 or column.name not in tree or column.members[0].name:
                continue  # uproot alone gives other types
            wanted = tree[column.name].array()
            wanted = wanted if source == local else wanted[rows]
            assert is_same(events[column.name.replace(".", ":")].array()[:, None], wanted[:, None])


def test_local_columns_that_cannot_be_written_are_told_before_anything_is(
    run, service, pair, tmp_path
):
    local = pair / "local_NanoAODv5_1000ev.root"
    out = tmp_path / "all.root"
    done = together(run, service, "fetch_nano", local, "PFCands_pt", "Muon_ptt", out)
    assert "has no column 'Muon_ptt'; nearest: Muon_pt" in done.err
    done = run("fetch", local, "--url", service.url, "--dataset", "fetch_nano", "--columns",
               "PFCands_pt", "--with-local", "*", "-o", out)  # fmt: skip
    assert "Add --rntuple" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_of_the_dataset_is_told_and_nothing_is_written(
    run, service, pair, data_dir, tmp_path
):
    out = tmp_path / "out.arrow"
    outcome = run(
        "fetch",
        data_dir / "cms" / "nano_dy.root",
        "--url",
        service.url,
        "--dataset",
        "fetch_nano",
        "--columns",
        "PFCands_pt",
        "-o",
        out,
    )
    assert outcome.code == 1
    assert outcome.err.startswith("error: No file with UUID")
    assert list(tmp_path.iterdir()) == []


def test_the_whole_command_line_against_a_service(run, service, pair, data_dir):
    url = ["--url", service.url]
    assert "fetch_nano\tnanoaod\tfetch_mini\t1\t1000\t0" in run("dataset", "list", *url).out
    shown = run("dataset", "show", "fetch_nano", *url).out
    assert "coverage: 975 of 1000 (97.5 %) events have a parent" in shown
    listed = run("columns", "fetch_nano", "--match", "PFCands_*", *url).out.splitlines()
    assert any(line.startswith("PFCands_pt\tvar * float32\t") for line in listed)
    assert run("cache", "stats", *url).code == run("cache", "verify", *url).code == 0
    assert run("dataset", "check", "fetch_nano", *url).code == 0
    assert "parent of fetch_nano" in run("dataset", "remove", "fetch_mini", *url).err
    good, bad = data_dir / "cms" / "nano_dy.root", data_dir / "cms" / "missing_luminosityBlock.root"
    added = run("dataset", "add", "some", "--format", "nanoaod", good, bad, *url)
    assert added.code == 1
    assert "files: 1 ok, 1 failed" in added.out
    assert f"{bad}\t'Events' has no branch luminosityBlock" in added.out
    assert run("dataset", "refresh", "some", *url).code == 1
    assert run("dataset", "remove", "some", *url).code == 0
