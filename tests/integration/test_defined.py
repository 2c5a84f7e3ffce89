"""Columns that users define, through the real service: against loops over what files hold."""

from __future__ import annotations

from typing import ClassVar

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import columnservice
from tests.integration.test_every_column import from_ids
from tests.support.truth import Parent, expected

SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"
ISOLATION = "sum(PFCands_pt[dR < 0.4]) / Muon_pt"


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what an old file lacks, or has already."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}


@pytest.fixture(scope="module")
def syn(service, data_dir):
    """The synthetic pair: the client's dataset, and the truth as (parent, row) per local row."""
    files = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
    service.register("defined_mini", "miniaod", files)
    service.register("defined_nano", "nanoaod", [data_dir / SYN], parent="defined_mini")
    tree = uproot.open(data_dir / SYN)["Events"]
    keys = tree.arrays(["run", "luminosityBlock", "event"], library="np")
    local = [tuple(int(v) for v in key) for key in zip(*keys.values(), strict=True)]
    dataset = columnservice.connect(service.url).dataset("defined_nano")
    return dataset, from_ids(data_dir, (), local)


@pytest.fixture(scope="module")
def direct(data_dir, syn):
    """What expressions are about, read by plain uproot, one list per local event."""
    parents = [Parent(data_dir / f"cms_demo_syn/parent_{n}.root", "miniaod") for n in range(4)]
    found = {}
    for name in ("PFCands_pt", "PFCands_eta", "PFCands_phi"):
        ragged = expected(parents, name, syn[1])
        found[name] = [
            ragged.values[a:b]
            for a, b in zip(ragged.offsets[0], ragged.offsets[0][1:], strict=False)
        ]
    tree = uproot.open(data_dir / SYN)["Events"]
    for name in ("Muon_pt", "Muon_eta", "Muon_phi"):
        found[name] = [np.asarray(event) for event in tree[name].array()]
    return found


def isolations(direct, take, cone=0.4):
    """The example, one muon and one candidate after the other; None without a parent."""
    values = []
    for event, (parent, _) in enumerate(take):
        if parent < 0:
            values.append(None)
            continue
        mine = []
        for pt, eta, phi in zip(
            *(direct[f"Muon_{f}"][event] for f in ("pt", "eta", "phi")), strict=True
        ):
            total = 0.0
            candidates = (direct[f"PFCands_{f}"][event] for f in ("pt", "eta", "phi"))
            for other_pt, other_eta, other_phi in zip(*candidates, strict=True):
                around = abs(float(phi) - float(other_phi))
                around = min(around, 2 * np.pi - around)
                if np.hypot(float(eta) - float(other_eta), around) < cone:
                    total += float(other_pt)
            mine.append(total / float(pt))
        values.append(mine)
    return values


def same(got, want):
    assert len(got) == len(want)
    for mine, right in zip(got, want, strict=True):
        assert np.allclose(np.asarray(mine), np.asarray(right or []), rtol=1e-5, equal_nan=True)


def events_of(service, data_dir, mode="virtual", **options):
    told = columnservice.connect(service.url).nanoevents(
        Nano, dataset="defined_nano", missing="mask", **options
    )
    factory = NanoEventsFactory.from_root({str(data_dir / SYN): "Events"}, mode=mode, **told)
    return factory.events()


def test_the_isolation_of_muons_in_coffea_is_that_of_a_loop(service, syn, direct, data_dir):
    dataset, take = syn
    made = dataset.define("Muon_pfIso", ISOLATION, doc="PF isolation")
    assert made.type == "var * float32"
    assert made.expression == "sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt"
    assert (made.version, made.author) == (1, "local")
    right = isolations(direct, take)
    assert sum(len(r or ()) for r in right) > 50
    assert sum(bool(np.sum(r or 0)) for r in right) > 50
    virtual = events_of(service, data_dir)
    eager = events_of(service, data_dir, "eager", columns=["Muon_pfIso"])
    for events in (virtual, eager):
        there = np.asarray(events.hasParent)
        assert there.tolist() == [parent >= 0 for parent, _ in take]
        same(events.Muon.pfIso[there].to_list(), [r for r in right if r is not None])
        assert np.isnan(np.asarray(ak.flatten(events.Muon.pfIso[~there]))).all()
        assert ak.all(ak.num(events.Muon.pfIso) == ak.num(events.Muon.pt))
