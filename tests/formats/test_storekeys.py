"""Keys of ATLAS containers, against those that ATLAS' own files hold."""

from __future__ import annotations

import numpy as np
import pytest
import uproot

from columnservice.formats.storekeys import CLASS_IDS, store_key

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", ["daod_exot15_10ev.root", "xaod_jets_10ev.root"])
def test_keys_are_those_that_a_file_lists(data_dir, name):
    with uproot.open(data_dir / "atlas" / name) as file:
        listed = [
            file["MetaData"][f"EventFormat/m_{part}"].array()[0].to_list()
            for part in ("branchNames", "branchHashes", "classNames")
        ]
    compared = 0
    for branch, key, class_name in zip(*listed, strict=True):
        kind = class_name.removeprefix("DataVector<").partition("_v")[0] + "Container"
        if kind in CLASS_IDS:
            assert store_key(branch, kind) == key
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize(
    ("branch", "container", "kind"),
    [
        ("AnalysisElectronsAuxDyn.ambiguityLink", "Photons", "Photon"),
        ("AnalysisPhotonsAuxDyn.ambiguityLink", "Electrons", "Electron"),
        ("AnalysisTauJetsAuxDyn.truthJetLink", "AntiKt4TruthDressedWZJets", "Jet"),
    ],
)
def test_keys_are_those_of_links_in_physlite(data_dir, branch, container, kind):
    with uproot.open(data_dir / "atlas/physlite_24.0.2_50ev.root") as file:
        keys = file["CollectionTree"][f"{branch}/{branch}.m_persKey"].array(library="np")
    assert set(np.unique(np.concatenate(keys)).tolist()) == {
        0,
        store_key(container, f"xAOD::{kind}Container"),
    }
