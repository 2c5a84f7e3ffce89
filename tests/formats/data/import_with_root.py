"""Makes ``imported_ntuple.root`` of ``imported_tree.root`` by ROOT's RNTupleImporter.

The TTree was written by uproot, as the second half of this file says: lists that share a counter
(``nJet``) and lists with counters of their own (``nTau_pt``) beside a plain number ``nTau``. Run
the file with uproot, then with PyROOT, in the folder where the files shall be; tests do not.
"""

from __future__ import annotations


def import_tree() -> None:
    import ROOT

    found = ROOT.RNTupleImporter if hasattr(ROOT, "RNTupleImporter") else None
    importer = (found or ROOT.Experimental.RNTupleImporter).Create(
        "imported_tree.root", "Events", "imported_ntuple.root"
    )
    options = ROOT.RNTupleWriteOptions()
    options.SetInitialUnzippedPageSize(64)
    options.SetMaxUnzippedPageSize(512)
    options.SetApproxZippedClusterSize(2000)
    options.SetMaxUnzippedClusterSize(6000)
    importer.SetWriteOptions(options)
    importer.Import()


def write_tree() -> None:
    import awkward as ak
    import numpy as np
    import uproot

    rng = np.random.default_rng(4)
    jets, taus = rng.poisson(3, 120), rng.poisson(1, 120)
    records = {"pt": "f4", "nConstituents": "u1", "hadronFlavour": "i2"}
    flat = {n: rng.normal(20, 5, jets.sum()).astype(dtype) for n, dtype in records.items()}
    arrays = {
        "run": np.ones(120, np.uint32),
        "luminosityBlock": np.arange(120, dtype=np.uint32) // 9,
        "event": np.arange(120, dtype=np.uint64),
        "Flag_good": rng.random(120) < 0.5,
        "Jet": ak.unflatten(ak.zip(flat), jets),
        "nTau": taus.astype(np.int32),
        "Tau_pt": ak.unflatten(rng.normal(size=taus.sum()).astype("f4"), taus),
        "Tau_charge": ak.unflatten(rng.choice([-1, 1], taus.sum()).astype("i2"), taus),
    }
    kinds = {n: a.type if isinstance(a, ak.Array) else a.dtype for n, a in arrays.items()}
    kinds = {n: k.content if isinstance(k, ak.types.ArrayType) else k for n, k in kinds.items()}
    with uproot.recreate("imported_tree.root", compression=uproot.ZLIB(6)) as file:
        file.mktree("Events", kinds)
        file["Events"].extend(arrays)


if __name__ == "__main__":
    try:
        import ROOT  # noqa: F401
    except ImportError:
        write_tree()
    else:
        import_tree()
