"""That a wrong sample is refused, duplicates are met only where asked for, changes are noticed."""

from __future__ import annotations

import os

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import uproot

from columnservice import wire


def write_nano(path, keys, rho, muons=None, lumis=None, extra=False):
    """A small NanoAOD file; ``lumis``: what its LuminosityBlocks tree lists."""
    run, lumi, event = (np.array(k, np.uint64) for k in zip(*keys, strict=True))
    data = {
        "run": run.astype("u4"),
        "luminosityBlock": lumi.astype("u4"),
        "event": event,
        "fixedGridRhoFastjetAll": rho,
    }
    if muons is not None:
        fields = {"pt": muons}
        if extra:  # another layout: one more field, and before the others
            fields = {"eta": ak.zeros_like(ak.Array(muons)), **fields, "zeta": muons}
        data["Muon"] = ak.zip(fields)
    kinds = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in data.items()}
    with uproot.recreate(path) as file:
        file.mktree("Events", kinds)
        file["Events"].extend(data)
        if lumis is not None:
            blocks = {
                "run": np.array([r for r, _ in lumis], "u4"),
                "luminosityBlock": np.array([b for _, b in lumis], "u4"),
            }
            file.mktree("LuminosityBlocks", {k: v.dtype for k, v in blocks.items()})
            file["LuminosityBlocks"].extend(blocks)
    return path


KEYS = [(1, 1 + e // 10, e) for e in range(100)]


def fetch(service, name, start, stop, columns):
    body = {"file": service.uuids(name)[0], "start": start, "stop": stop, "columns": columns}
    return service.ask("POST", f"/v1/datasets/{name}/columns/query", body)


def column(service, name, start, stop, wanted):
    data = service.data(name, service.uuids(name)[0], start, stop, [wanted])
    table = pa.ipc.open_stream(data).read_all().combine_chunks()
    told = next(c for c in service.columns(name) if c["name"] == wanted)
    return wire.decode_column(wire.column_from_json(told), table.to_batches()[0])


def test_another_sample_with_the_same_keys_is_refused_as_parent(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    local = write_nano(tmp_path / "ttbar.root", KEYS, rho)
    parent = write_nano(tmp_path / "drell_yan.root", KEYS, rho[::-1].copy())
    service.register("dy", "nanoaod", [parent])
    summary = service.register("tt", "nanoaod", [local], parent="dy")
    assert summary["files"] == {"ok": 0, "pending": 0, "declared": 0, "failed": 1}
    [failure] = summary["failures"]
    assert failure["code"] == "WrongParent"
    assert "fixedGridRhoFastjetAll" in failure["error"]


def test_the_same_sample_is_accepted_and_its_witnesses_are_told(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    order = np.random.default_rng(1).permutation(100)
    parent = write_nano(tmp_path / "parent.root", KEYS, rho, [[float(e)] for e in range(100)])
    local = write_nano(tmp_path / "local.root", [KEYS[i] for i in order], rho[order])
    service.register("same_parent", "nanoaod", [parent])
    summary = service.register("same", "nanoaod", [local], parent="same_parent")
    [witness] = summary["witnesses"]
    assert witness == {"name": "fixedGridRhoFastjetAll", "compared": 100, "agreed": 100}
    values = column(service, "same", 0, 100, "Muon_pt").values
    assert values.tolist() == order.astype(float).tolist()


def test_duplicates_are_an_error_only_for_events_that_meet_one(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    muons = [[float(e)] for e in range(100)]
    first = write_nano(tmp_path / "first.root", KEYS[:60], rho[:60], muons[:60])
    second = write_nano(tmp_path / "second.root", KEYS[50:], rho[50:], muons[50:])
    local = write_nano(tmp_path / "local.root", KEYS, rho)
    service.register("twice_parent", "nanoaod", [first, second])
    summary = service.register("twice", "nanoaod", [local], parent="twice_parent")
    assert summary["duplicates"] == 10
    assert column(service, "twice", 0, 50, "Muon_pt").values.tolist() == list(range(50))
    assert column(service, "twice", 60, 100, "Muon_pt").values.tolist() == list(range(60, 100))
    status, document = fetch(service, "twice", 45, 55, ["Muon_pt"])
    assert (status, document["title"]) == (409, "DuplicateEvents")
    assert "5 of the events 45 to 55" in document["detail"]


def test_a_local_duplicate_gets_its_parent_twice(service, tmp_path):
    rho = np.full(3, 5, "f4")
    parent = write_nano(tmp_path / "p.root", KEYS[:2], rho[:2], [[1.0], [2.0]])
    local = write_nano(tmp_path / "l.root", [KEYS[0], KEYS[1], KEYS[0]], rho)
    service.register("local_twice_parent", "nanoaod", [parent])
    summary = service.register("local_twice", "nanoaod", [local], parent="local_twice_parent")
    assert (summary["duplicates"], summary["local_duplicates"]) == (0, 1)
    assert column(service, "local_twice", 0, 3, "Muon_pt").values.tolist() == [1, 2, 1]


def test_adding_a_parent_file_fills_what_was_null(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    muons = [[float(e)] for e in range(100)]
    half = write_nano(tmp_path / "half.root", KEYS[:50], rho[:50], muons[:50])
    rest = write_nano(tmp_path / "rest.root", KEYS[50:], rho[50:], muons[50:])
    local = write_nano(tmp_path / "local.root", KEYS, rho)
    service.register("grow_parent", "nanoaod", [half])
    service.register("grow", "nanoaod", [local], parent="grow_parent")
    assert len(column(service, "grow", 0, 100, "Muon_pt").values) == 50
    status, _ = service.ask("POST", "/v1/datasets/grow_parent/files", {"files": [str(rest)]})
    assert status == 201
    service.follow("grow_parent")
    assert column(service, "grow", 0, 100, "Muon_pt").values.tolist() == list(range(100))


def test_a_replaced_parent_is_an_error_until_it_is_refreshed(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    muons = [[float(e)] for e in range(100)]
    path = write_nano(tmp_path / "p.root", KEYS, rho, muons)
    local = write_nano(tmp_path / "l.root", KEYS, rho)
    service.register("replaced_parent", "nanoaod", [path])
    service.register("replaced", "nanoaod", [local], parent="replaced_parent")
    write_nano(path, KEYS[::-1], rho[::-1].copy(), [[1000.0 + m[0]] for m in muons[::-1]])
    status, document = fetch(service, "replaced", 0, 100, ["Muon_pt"])
    assert (status, document["title"]) == (409, "FileChanged")
    assert "refresh" in document["remedy"]
    service.ask("POST", "/v1/datasets/replaced_parent/refresh")
    service.follow("replaced_parent")
    values = column(service, "replaced", 0, 100, "Muon_pt").values
    assert values.tolist() == [1000.0 + e for e in range(100)]


def test_check_tells_of_a_replaced_file_and_changes_nothing(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    path = write_nano(tmp_path / "p.root", KEYS, rho)
    service.register("checked", "nanoaod", [path])
    before = service.uuids("checked")
    write_nano(path, KEYS[:50], rho[:50])
    service.ask("POST", "/v1/datasets/checked/check")
    summary = service.follow("checked")
    assert [f["code"] for f in summary["failures"]] == ["FileChanged"]
    assert service.uuids("checked") == before
    service.ask("POST", "/v1/datasets/checked/refresh")
    summary = service.follow("checked")
    assert (summary["failures"], summary["entries"]) == ([], 50)


def test_a_parent_of_another_sample_that_is_added_later_is_refused_before_it_is_used(
    service, tmp_path
):
    rho = np.linspace(10, 30, 100).astype("f4")
    good = write_nano(tmp_path / "good.root", KEYS[:90], rho[:90], [[1.0]] * 90)
    foreign = write_nano(tmp_path / "foreign.root", KEYS[90:], 3 * rho[90:], [[9.0]] * 10)
    local = write_nano(tmp_path / "local.root", KEYS, rho)
    service.register("late_parent", "nanoaod", [good])
    service.register("late", "nanoaod", [local], parent="late_parent")
    assert column(service, "late", 0, 100, "Muon_pt").values.tolist() == [1.0] * 90
    service.ask("POST", "/v1/datasets/late_parent/files", {"files": [str(foreign)]})
    service.follow("late_parent")
    status, document = fetch(service, "late", 0, 100, ["Muon_pt"])
    assert (status, document["title"]) == (409, "WrongParent")
    assert "foreign.root" in document["detail"]
    service.ask("POST", "/v1/datasets/late/check")
    summary = service.follow("late")
    assert [f["code"] for f in summary["failures"]] == ["WrongParent"]
    status, _ = service.ask("DELETE", "/v1/datasets/late_parent/files", {"files": [str(foreign)]})
    assert status == 200
    assert column(service, "late", 0, 100, "Muon_pt").values.tolist() == [1.0] * 90


def test_an_update_in_place_that_keeps_size_and_uuid_is_joined_anew(service, tmp_path):
    rho = np.full(4, 5, "f4")
    parent = write_nano(tmp_path / "p.root", KEYS[:4], rho, [[1.0], [2.0], [3.0], [4.0]])
    local = write_nano(tmp_path / "l.root", [(1, 1, 900 + e) for e in range(4)], rho)
    service.register("inplace_parent", "nanoaod", [parent])
    summary = service.register("inplace", "nanoaod", [local], parent="inplace_parent")
    assert summary["coverage"]["with_parent"] == 0
    uuid = service.uuids("inplace")
    data = bytearray(local.read_bytes())
    for e in range(4):
        old = np.array([900 + e], ">u8").tobytes()
        at = data.find(old)
        assert at > 0
        data[at : at + 8] = np.array([e], ">u8").tobytes()
    local.write_bytes(data)
    os.utime(local, (1e9, 1e9))
    service.ask("POST", "/v1/datasets/inplace/refresh")
    summary = service.follow("inplace")
    assert service.uuids("inplace") == uuid
    assert summary["coverage"] == {"events": 4, "with_parent": 4}
    assert column(service, "inplace", 0, 4, "Muon_pt").values.tolist() == [1, 2, 3, 4]


def test_a_local_list_of_luminosity_blocks_that_lacks_some_loses_no_event(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    halves = [KEYS[:50], KEYS[50:]]
    parents = [
        write_nano(tmp_path / f"p{n}.root", keys, rho[50 * n : 50 * n + 50], [[1.0]] * 50)
        for n, keys in enumerate(halves)
    ]
    local = write_nano(tmp_path / "l.root", KEYS, rho, lumis=[(1, 1), (1, 2)])
    service.register("blocks_parent_all", "nanoaod", parents)
    summary = service.register("blocks_local", "nanoaod", [local], parent="blocks_parent_all")
    assert summary["coverage"] == {"events": 100, "with_parent": 100}


def test_a_parent_whose_list_of_luminosity_blocks_lacks_some_is_told(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    parent = write_nano(tmp_path / "p.root", KEYS, rho, [[1.0]] * 100, lumis=[(1, 1), (1, 2)])
    local = write_nano(tmp_path / "l.root", KEYS, rho)
    service.register("short_list_parent", "nanoaod", [parent])
    summary = service.register("short_list", "nanoaod", [local], parent="short_list_parent")
    [failure] = summary["failures"]
    assert failure["code"] == "DamagedFile"
    assert "luminosity blocks that its own list lacks" in failure["error"]


def test_parents_of_two_layouts_are_each_read_by_their_own_recipe(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    muons = [[float(e)] for e in range(100)]
    plain = write_nano(tmp_path / "a.root", KEYS[:50], rho[:50], muons[:50])
    richer = write_nano(tmp_path / "b.root", KEYS[50:], rho[50:], muons[50:], extra=True)
    local = write_nano(tmp_path / "l.root", KEYS, rho)
    service.register("layouts_parent", "nanoaod", [plain, richer])
    service.register("layouts", "nanoaod", [local], parent="layouts_parent")
    assert column(service, "layouts", 0, 100, "Muon_pt").values.tolist() == list(range(100))
    told = {c["name"]: c for c in service.columns("layouts")}
    assert told["Muon_zeta"]["reason"] == "absent from 1 of 2 files"
    status, _ = fetch(service, "layouts", 0, 100, ["Muon_zeta"])
    assert status == 422


def test_what_the_parent_calls_by_a_local_name_is_served_as_a_reference(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    muons = [[float(e), 0.5] for e in range(100)]
    parent = write_nano(tmp_path / "p.root", KEYS, rho, muons, extra=True)
    local = write_nano(tmp_path / "l.root", KEYS[::-1], rho[::-1].copy(), muons[::-1])
    service.register("reference_parent", "nanoaod", [parent])
    service.register("reference", "nanoaod", [local], parent="reference_parent")
    told = {c["name"]: c["origin"] for c in service.columns("reference")}
    assert told["Muon_pt"] == "local"
    assert told["parent:Muon_pt"] == "reference"
    got = column(service, "reference", 0, 100, "parent:Muon_pt").values.tolist()
    assert got == [value for event in muons[::-1] for value in event]


@pytest.mark.parametrize("event", [2**32 + 5, 2**63 + 1, 2**64 - 2])
def test_events_of_64_bits_are_joined_exactly(service, tmp_path, event):
    keys = [(1, 1, event), (1, 1, event % 2**32), (1, 1, event + 1)]
    name = f"wide{event % 1000}"
    rho = np.array([1, 2, 3], "f4")
    parent = write_nano(tmp_path / "p.root", keys[::-1], rho[::-1].copy(), [[3.0], [2.0], [1.0]])
    service.register(f"{name}_parent", "nanoaod", [parent])
    local = write_nano(tmp_path / "l.root", keys, rho)
    service.register(name, "nanoaod", [local], parent=f"{name}_parent")
    assert column(service, name, 0, 3, "Muon_pt").values.tolist() == [1, 2, 3]
