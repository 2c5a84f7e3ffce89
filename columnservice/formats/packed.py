# ruff: noqa: E501 (a table is read along its lines)
"""The naming table: every Column that is decoded from packed CMS candidates, and how.

One line per Column and layout: public field, source members, decoder, its parameters, description
with unit, source of the formula. A line holds for a layout that has all its source members (with
the dtype named after ``:``, where one is); of several lines for one field the first that holds
counts; where none holds, the Column is not offered.

Sources, all in CMSSW's DataFormats/PatCandidates: ``PC`` is src/PackedCandidate.cc and
interface/PackedCandidate.h, ``PG`` src/PackedGenParticle.cc, ``log`` interface/liblogintpack.h.
Field names follow NanoAOD where it has one. The covariances of newer files
(``packedCovariance_``) depend on schema tables outside the file: they are offered raw only, as are
times (``packedTime_``, zero in Run 2 and 3).
"""

from __future__ import annotations

from collections.abc import Mapping

from columnservice.formats.discovery import Readable
from columnservice.formats.lines import Line, fields_of, line

# References stored as RefCoreWithIndex: read as bytes by the decoders that take them.
RAW_MEMBERS = frozenset({"pvRef_.product_"})

# fmt: off
CANDIDATE: tuple[Line, ...] = (
    line("pt",                      "packedPt_",                                            "half",                   "divisor=1",                 "transverse momentum in GeV",                                              "PC unpack"),
    line("eta",                     "packedEta_",                                           "signed16",               "range=6",                   "pseudorapidity",                                                          "PC unpack"),
    line("phi",                     "packedPhi_ packedPt_",                                 "phi",                    "",                          "azimuth at the vertex in rad",                                            "PC unpack"),
    line("mass",                    "packedM_",                                             "half",                   "divisor=1",                 "mass in GeV",                                                             "PC unpack"),
    line("pdgId",                   "pdgId_",                                               "as_is",                  "",                          "PDG code by particle flow",                                               "PC pdgId"),
    line("charge",                  "pdgId_",                                               "charge",                 "",                          "electric charge, from the PDG code",                                      "PC charge"),
    line("dxy",                     "packedDxy_",                                           "half",                   "divisor=100",               "transverse impact parameter to the associated vertex in cm",              "PC unpackVtx"),
    line("dz",                      "packedDz_ pvRefKey_",                                  "dz",                     "",                          "longitudinal impact parameter to the associated vertex in cm",            "PC unpackVtx"),
    line("dz",                      "packedDz_ pvRef_.product_",                            "dz_of_reference",        "",                          "longitudinal impact parameter to the associated vertex in cm",            "PC unpackVtx"),
    line("pvIdx",                   "pvRefKey_",                                            "index",                  "",                          "associated vertex in offlineSlimmedPrimaryVertices, -1 for none",         "PC vertexRef"),
    line("pvIdx",                   "packedDz_ pvRef_.product_",                            "key_of_reference",       "",                          "associated vertex in offlineSlimmedPrimaryVertices, -1 for none",         "PC vertexRef"),
    line("dphi",                    "packedDPhi_",                                          "signed16",               "range=3.2",                 "azimuth of the track minus phi in rad",                                   "PC unpackVtx"),
    line("deta",                    "packedDEta_",                                          "half",                   "divisor=1",                 "pseudorapidity of the track minus eta",                                   "PC unpackVtx"),
    line("dtrkPt",                  "packedDTrkPt_",                                        "half",                   "divisor=1",                 "transverse momentum of the track minus pt in GeV",                        "PC unpackVtx"),
    line("puppiWeight",             "packedPuppiweight_:uint8",                             "unsigned8",              "divisor=255",               "PUPPI weight",                                                            "PC puppiWeight"),
    line("puppiWeight",             "packedPuppiweight_:int8",                              "puppi_log8",             "",                          "PUPPI weight",                                                            "PC puppiWeight before CMSSW 10, log unpack8logClosed"),
    line("puppiWeightNoLep",        "packedPuppiweightNoLepDiff_ packedPuppiweight_:uint8", "puppi_linear_no_lepton", "",                          "PUPPI weight without leptons",                                            "PC puppiWeightNoLep"),
    line("puppiWeightNoLep",        "packedPuppiweightNoLepDiff_ packedPuppiweight_:int8",  "puppi_log8_no_lepton",   "",                          "PUPPI weight without leptons",                                            "PC puppiWeightNoLep before CMSSW 10, log unpack8logClosed"),
    line("hcalFraction",            "hcalFraction_:int8",                                   "signed8",                "divisor=100",               "fraction of the calorimeter energy in HCAL",                              "PC hcalFraction"),
    line("rawHcalFraction",         "rawHcalFraction_:int8",                                "signed8",                "divisor=100",               "HCAL fraction of isolated charged hadrons, raw",                          "PC rawHcalFraction"),
    line("caloFraction",            "caloFraction_:uint8",                                  "unsigned8",              "divisor=100",               "calorimeter energy / candidate energy",                                   "PC caloFraction"),
    line("rawCaloFraction",         "rawCaloFraction_:uint8",                               "unsigned8",              "divisor=100",               "calorimeter energy / candidate energy of isolated charged hadrons, raw",  "PC rawCaloFraction"),
    line("isIsolatedChargedHadron", "isIsolatedChargedHadron_",                             "as_is",                  "",                          "isolated at the calorimeter surface",                                     "PC isIsolatedChargedHadron"),
    line("pvAssocQuality",          "qualityFlags_",                                        "bits",                   "shift=0 width=3 offset=0",  "quality of the vertex association, 0 to 7",                               "PC qualityFlagsShiftsAndMasks"),
    line("lostInnerHits",           "qualityFlags_",                                        "bits",                   "shift=4 width=2 offset=-1", "lost inner hits: -1 hit in the first pixel layer, 0 none, 1 one, 2 more", "PC lostInnerHits"),
    line("trackHighPurity",         "qualityFlags_",                                        "flag",                   "shift=3",                   "track is of high purity",                                                 "PC"),
    line("isStandalone",            "qualityFlags_",                                        "flag",                   "shift=9",                   "standalone muon",                                                         "PC setMuonID"),
    line("isGlobal",                "qualityFlags_",                                        "flag",                   "shift=10",                  "global muon",                                                             "PC setMuonID"),
    line("isGoodEgamma",            "qualityFlags_",                                        "flag",                   "shift=11",                  "e/gamma identified",                                                      "PC"),
    line("numberOfPixelHits",       "packedHits_ packedLayers_",                            "pixel_hits",             "",                          "valid pixel hits of the track",                                           "PC numberOfPixelHits"),
    line("numberOfPixelHits",       "packedHits_",                                          "bits8",                  "shift=0 width=3",           "valid pixel hits of the track",                                           "PC before packedLayers_"),
    line("numberOfHits",            "packedHits_ packedLayers_",                            "hits",                   "",                          "valid hits of the track",                                                 "PC numberOfHits"),
    line("numberOfHits",            "packedHits_",                                          "hits",                   "",                          "valid hits of the track",                                                 "PC before packedLayers_"),
    line("pixelLayers",             "packedLayers_",                                        "bits8",                  "shift=0 width=3",           "pixel layers with measurement",                                           "PC pixelLayersWithMeasurement"),
    line("stripLayers",             "packedLayers_",                                        "bits8",                  "shift=3 width=5",           "strip layers with measurement",                                           "PC stripLayersWithMeasurement"),
    line("trkChi2",                 "normalizedChi2_",                                      "as_is",                  "",                          "normalised chi2 of the track",                                            "PC"),
    line("dxyErr",                  "packedCovarianceDxyDxy_",                              "half_root",              "divisor=10000",             "uncertainty of dxy in cm",                                                "PC dxyError"),
    line("dzErr",                   "packedCovarianceDzDz_",                                "half_root",              "divisor=10000",             "uncertainty of dz in cm",                                                 "PC dzError"),
    line("covDxyDxy",               "packedCovarianceDxyDxy_",                              "half",                   "divisor=10000",             "covariance of dxy and dxy in cm²",                                        "PC unpackVtx"),
    line("covDxyDz",                "packedCovarianceDxyDz_",                               "half",                   "divisor=10000",             "covariance of dxy and dz in cm²",                                         "PC unpackVtx"),
    line("covDzDz",                 "packedCovarianceDzDz_",                                "half",                   "divisor=10000",             "covariance of dz and dz in cm²",                                          "PC unpackVtx"),
    line("covDlambdaDz",            "packedCovarianceDlambdaDz_:int8",                      "log8",                   "low=-17 high=-4 steps=128", "covariance of lambda and dz in rad cm",                                   "PC unpackVtx, log unpack8log"),
    line("covDphiDxy",              "packedCovarianceDphiDxy_:int8",                        "log8",                   "low=-17 high=-4 steps=128", "covariance of phi and dxy in rad cm",                                     "PC unpackVtx, log unpack8log"),
    line("covDptDpt",               "packedCovarianceDptDpt_:int8",                         "log8",                   "low=-15 high=0 steps=128",  "variance of q/p times pt²",                                               "PC unpackVtx, log unpack8log"),
    line("covDetaDeta",             "packedCovarianceDetaDeta_:int8",                       "log8",                   "low=-20 high=-5 steps=128", "variance of lambda",                                                      "PC unpackVtx, log unpack8log"),
    line("covDphiDphi",             "packedCovarianceDphiDphi_:int8",                       "log8",                   "low=-15 high=0 steps=128",  "variance of phi times pt²",                                               "PC unpackVtx, log unpack8log"),
)

GEN_PARTICLE: tuple[Line, ...] = (
    line("pt",     "packedPt_",                   "half",            "divisor=1", "transverse momentum in GeV",               "PG unpack"),
    line("eta",    "packedY_ packedPt_ packedM_", "eta_of_rapidity", "",          "pseudorapidity, from the packed rapidity", "PG unpack"),
    line("eta",    "packedEta_",                  "signed16",        "range=6",   "pseudorapidity",                           "PG before packedY_"),
    line("phi",    "packedPhi_ packedPt_",        "phi",             "",          "azimuth in rad",                           "PG unpack"),
    line("mass",   "packedM_",                    "half",            "divisor=1", "mass in GeV",                              "PG unpack"),
    line("pdgId",  "pdgId_",                      "as_is",           "",          "PDG code",                                 "PG pdgId"),
    line("charge", "charge_",                     "as_is",           "",          "electric charge",                          "PG charge"),
)
# fmt: on

# By EDM friendly class name: the lines that hold for it.
LINES: Mapping[str, tuple[Line, ...]] = {
    "patPackedCandidates": CANDIDATE,
    "patPackedGenParticles": GEN_PARTICLE,
}

# By module label and instance: the collection's public name. Others keep their label.
COLLECTIONS: Mapping[str, str] = {
    "packedPFCandidates": "PFCands",
    "lostTracks": "LostTracks",
    "packedGenParticles": "PackedGenPart",
}


def decoded_fields(friendly_class: str, layout: Mapping[str, Readable]) -> dict[str, Line]:
    """The lines that hold for a product of that class with those readable members, by field."""
    return fields_of(LINES.get(friendly_class, ()), layout)
