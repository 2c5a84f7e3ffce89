"""The numbers by which ATLAS links name the container that they lead into.

``ElementLink::m_persKey`` is StoreGate's key of the container: the lowest 30 bits of a CRC-64 of
its name, continued over the bytes of its class' CLID while there are any. Sources: Athena
Control/CxxUtils/Root/crc64.cxx (polynomial and start), Control/SGTools/src/StringPool.cxx
(``stringToKey``); CLIDs: ``CLASS_DEF`` in Event/xAOD's xAODJet, xAODMuon, xAODEgamma, xAODTau.

Knows names; no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

CLASS_IDS: Mapping[str, int] = {
    "xAOD::ElectronContainer": 1087532415,
    "xAOD::JetContainer": 1244316195,
    "xAOD::MuonContainer": 1178459224,
    "xAOD::PhotonContainer": 1105575213,
    "xAOD::TauJetContainer": 1177172564,
}
"""Class of a container → its CLID."""

_POLYNOMIAL, _START = 0x95AC9329AC4BC9B5, 0xFFFFFFFFFFFFFFFF
_BITS = 30


def _step(crc: int, byte: int) -> int:
    part = (crc ^ byte) & 0xFF
    for _ in range(8):
        part = (part >> 1) ^ _POLYNOMIAL if part & 1 else part >> 1
    return part ^ (crc >> 8)


@lru_cache(maxsize=256)
def store_key(container: str, class_name: str) -> int:
    """The ``m_persKey`` of links into a container.

    Args:
        container: its name, ``AntiKt4EMPFlowJets``.
        class_name: its class, one of ``CLASS_IDS``.
    """
    crc = _START
    for byte in container.encode("ascii"):
        crc = _step(crc, byte)
    rest = CLASS_IDS[class_name]
    while rest:
        crc, rest = _step(crc, rest), rest >> 8
    return crc & ((1 << _BITS) - 1)
