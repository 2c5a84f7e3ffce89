# ruff: noqa: E501 (a table is read along its lines)
"""The naming table of EDM objects that are stored as they are: one name for all of CMSSW's layouts.

Every member is offered under its own path (``slimmedJets_m_state_p4Polar_fCoordinates_fPt``);
where a line of this table holds for an object, its Column stands beside it under the short name
(``slimmedJets_pt``), the same in files of all years. Members are relative to their vector, or to
the product where that is one object per event. A name that a member has by itself stays with it.

Sources, all in CMSSW's DataFormats: ``LC`` Candidate/interface/LeafCandidate.h until CMSSW 7.4,
``PS`` Candidate/interface/ParticleState.h since, ``TB`` TrackReco/interface/TrackBase.h, ``VX``
VertexReco/interface/Vertex.h (BeamSpot/interface/BeamSpot.h and CaloRecHit/interface/CaloCluster.h
keep a position in the same way), ``ME`` METReco/interface/MET.h, ``RS``
Scouting/interface/Run3Scouting*.h. Momenta and vertices of candidates are ``Double32_t``: doubles
in memory, single precision in the file; ``single`` gives what the file holds.
"""

from __future__ import annotations

from columnservice.formats.lines import Line, line

# fmt: off
MEMBERS: tuple[Line, ...] = (
    line("pt",     "pt_",                                                                             "as_is",            "", "transverse momentum in GeV",                  "LC pt"),
    line("pt",     "m_state.p4Polar_.fCoordinates.fPt",                                               "single",           "", "transverse momentum in GeV",                  "PS pt"),
    line("pt",     "momentum_.fCoordinates.fX momentum_.fCoordinates.fY",                             "pt_of_xy",         "", "transverse momentum in GeV",                  "TB pt"),
    line("eta",    "eta_",                                                                            "as_is",            "", "pseudorapidity",                              "LC eta"),
    line("eta",    "m_state.p4Polar_.fCoordinates.fEta",                                              "single",           "", "pseudorapidity",                              "PS eta"),
    line("eta",    "momentum_.fCoordinates.fX momentum_.fCoordinates.fY momentum_.fCoordinates.fZ",   "eta_of_xyz",       "", "pseudorapidity",                              "TB eta"),
    line("phi",    "phi_",                                                                            "as_is",            "", "azimuth in rad",                              "LC phi"),
    line("phi",    "m_state.p4Polar_.fCoordinates.fPhi",                                              "single",           "", "azimuth in rad",                              "PS phi"),
    line("phi",    "momentum_.fCoordinates.fX momentum_.fCoordinates.fY",                             "phi_of_xy",        "", "azimuth in rad",                              "TB phi"),
    line("mass",   "mass_",                                                                           "as_is",            "", "mass in GeV",                                 "LC mass"),
    line("mass",   "m_state.p4Polar_.fCoordinates.fM",                                                "single",           "", "mass in GeV",                                 "PS mass"),
    line("mass",   "m_",                                                                              "as_is",            "", "mass in GeV",                                 "RS m"),
    line("charge", "charge_",                                                                         "as_is",            "", "electric charge",                             "TB charge"),
    line("charge", "qx3_",                                                                            "charge_of_thirds", "", "electric charge, 0 for fractions",            "LC charge"),
    line("charge", "m_state.qx3_",                                                                    "charge_of_thirds", "", "electric charge, 0 for fractions",            "PS charge"),
    line("pdgId",  "pdgId_",                                                                          "as_is",            "", "PDG code",                                    "LC pdgId"),
    line("pdgId",  "m_state.pdgId_",                                                                  "as_is",            "", "PDG code",                                    "PS pdgId"),
    line("status", "status_",                                                                         "as_is",            "", "status word",                                 "LC status"),
    line("status", "m_state.status_",                                                                 "as_is",            "", "status word",                                 "PS status"),
    line("vx",     "vertex_.fCoordinates.fX",                                                         "single",           "", "x of the vertex in cm",                       "LC vx"),
    line("vx",     "m_state.vertex_.fCoordinates.fX",                                                 "single",           "", "x of the vertex in cm",                       "PS vx"),
    line("vy",     "vertex_.fCoordinates.fY",                                                         "single",           "", "y of the vertex in cm",                       "LC vy"),
    line("vy",     "m_state.vertex_.fCoordinates.fY",                                                 "single",           "", "y of the vertex in cm",                       "PS vy"),
    line("vz",     "vertex_.fCoordinates.fZ",                                                         "single",           "", "z of the vertex in cm",                       "LC vz"),
    line("vz",     "m_state.vertex_.fCoordinates.fZ",                                                 "single",           "", "z of the vertex in cm",                       "PS vz"),
    line("x",      "position_.fCoordinates.fX",                                                       "as_is",            "", "x of the position in cm",                     "VX x"),
    line("y",      "position_.fCoordinates.fY",                                                       "as_is",            "", "y of the position in cm",                     "VX y"),
    line("z",      "position_.fCoordinates.fZ",                                                       "as_is",            "", "z of the position in cm",                     "VX z"),
    line("sumEt",  "sumet",                                                                           "as_is",            "", "scalar sum of transverse energies in GeV",    "ME sumEt"),
)
# fmt: on
