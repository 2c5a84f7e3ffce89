"""Decoders: from what the reader read to a Column's values. Plain arrays in, plain arrays out.

A decoder of one packed code is a table (``formats.tables``); decoders of several codes and of bytes
are Numba kernels (``formats.kernels``). Which Column uses which, and where the formula comes from,
stands in ``formats.packed``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats import (
    candidates,
    labels,
    momenta,
    pointers,
    streamed,
    triggers,
    undescribed,
)
from columnservice.formats.inputs import codes_of, together
from columnservice.formats.ragged import native
from columnservice.formats.tables import TABLES, Parameters, Table, Values, half_floats
from columnservice.model import Member, Ragged, Recipe, plain

# Counted up when a decoder gives other values for the same bytes: cached Pieces are made anew.
DECODE_VERSION = 2

LINK_MEMBERS = (Member("m_persKey", "uint32"), Member("m_persIndex", "uint32"))


@dataclass(frozen=True)
class Decoder:
    """One way to make values.

    Attributes:
        run: inputs in order of the Recipe's reads, and its parameters → values.
        members: type of the item that comes out; None where it is that of the input.
    """

    run: Callable[[Sequence[Ragged], Parameters], Ragged]
    members: tuple[Member, ...] | None


def apply(recipe: Recipe, inputs: Sequence[Ragged]) -> Ragged:
    """A Column's values from what its branches hold.

    Args:
        recipe: says which decoder, with which parameters.
        inputs: one Ragged per ``recipe.reads``, in that order, all for the same rows.

    Returns:
        the Column's Ragged: contiguous arrays in the machine's byte order.

    Raises:
        DamagedFile: the inputs contradict each other (other counts, other bytes).
    """
    return DECODERS[recipe.decode].run(inputs, dict(recipe.parameters))


def compile_kernels() -> None:
    """Make sure that every Numba kernel is compiled, by importing them (from cache if it can)."""
    for name in ("kernels", "memberwise", "moving", "walks", "pointerwalk"):
        import_module(f"columnservice.formats.{name}")


def _kernels() -> ModuleType:
    from columnservice.formats import kernels

    return kernels


def _of(kind: str) -> tuple[Member, ...]:
    return (Member("", kind),)


def _by_table(table: Table) -> Decoder:
    """The decoder that looks each code up."""

    def run(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
        (codes,) = inputs
        values = _kernels().look_up(table.values(parameters), codes_of(codes, table.code))
        return plain(values, *codes.offsets)

    return Decoder(run, _of(table.dtype))


def _as_is(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    (read,) = inputs
    return Ragged(read.offsets, {name: native(v) for name, v in read.content.items()})


def _counts(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    (read,) = inputs
    return plain(np.diff(read.offsets[0]).astype(np.int32))


def _phi(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    offsets = together(inputs)
    codes, pt_codes = (codes_of(read, np.uint16) for read in inputs)
    return plain(_kernels().shifted_phi(codes, pt_codes, half_floats()), *offsets)


def _eta_of_rapidity(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    offsets = together(inputs)
    y, pt, mass = (codes_of(read, np.uint16) for read in inputs)
    return plain(_kernels().eta_of_rapidity(y, pt, mass, half_floats()), *offsets)


def _dz(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    codes, keys = inputs
    offsets = together(inputs)
    values = _kernels().dz_to_vertex(
        codes_of(codes, np.uint16), codes_of(keys, np.uint32), half_floats()
    )
    return plain(values, *offsets)


def _words(sizes: Ragged, raw: Ragged, size: int, skip: int, words: int) -> Values:
    """The u4 words behind ``skip`` bytes of every record, one record per object of ``sizes``."""
    out = np.empty((int(sizes.offsets[0][-1]), words), np.uint32)
    if len(sizes) != len(raw) or raw.values.dtype != np.uint8:
        raise DamagedFile("bytes of references do not belong to the same rows.")
    row = _kernels().records(raw.offsets[0], raw.values, sizes.offsets[0], size, skip, out)
    if row >= 0:
        raise DamagedFile(f"references of row {row} are not {size} bytes each.")
    return out


def _vertex_keys(sizes: Ragged, raw: Ragged) -> Values:
    """Keys of ``edm::Ref``s stored as RefCoreWithIndex, 2**32 − 1 where they point nowhere.

    Each is 10 bytes: version u2, processIndex u2, productIndex u2, elementIndex u4; a productIndex
    of 0 is a null reference.
    """
    words = _words(sizes, raw, 10, 2, 2)
    keys = words[:, 1].copy()
    keys[words[:, 0] & 0xFFFF == 0] = np.uint32(0xFFFFFFFF)
    return keys


def _dz_of_reference(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    codes, raw = inputs
    values = _kernels().dz_to_vertex(
        codes_of(codes, np.uint16), _vertex_keys(codes, raw), half_floats()
    )
    return plain(values, *codes.offsets)


def _key_of_reference(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    codes, raw = inputs
    return plain(_vertex_keys(codes, raw).view(np.int32), *codes.offsets)


def _index(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    (keys,) = inputs
    return plain(codes_of(keys, np.uint32).view(np.int32), *keys.offsets)


def _puppi_log8_no_lepton(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    offsets = together(inputs)
    difference, weight = (codes_of(read, np.uint8) for read in inputs)
    # CMSSW adds the two int8 codes and passes the sum on as an int8: it wraps.
    return plain(TABLES["puppi_log8"].values({})[difference + weight], *offsets)


def _puppi_linear_no_lepton(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    offsets = together(inputs)
    difference, weight = (codes_of(read, np.uint8) for read in inputs)
    values = difference.view(np.int8) / np.float32(127) + weight / np.float32(255)
    return plain(values.astype(np.float32), *offsets)


def _pixel_hits(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    offsets = together(inputs)
    hits, layers = (codes_of(read, np.uint8).astype(np.int32) for read in inputs)
    return plain((hits & 7) + (layers & 7), *offsets)


def _hits(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Pixel and strip hits; without a second input (``packedLayers_``) all stand in the first."""
    offsets = together(inputs)
    parts = [codes_of(read, np.uint8).astype(np.int32) for read in inputs]
    total = sum((part & 7) + (part >> 3) for part in parts)
    return plain(np.asarray(total, np.int32), *offsets)


def _charge(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    (ids,) = inputs
    return plain(_kernels().charge_of_pdg_id(native(ids.values)), *ids.offsets)


def _element_link(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    (raw,) = inputs
    # byte count u4, version 0 u2, checksum u4, then key u4 and index u4: one per event
    one = plain(np.empty(0, np.uint8), np.arange(len(raw) + 1, dtype=np.int64))
    words = _words(one, raw, 18, 10, 2)
    names = [m.name for m in LINK_MEMBERS]
    return Ragged((), {name: np.ascontiguousarray(words[:, i]) for i, name in enumerate(names)})


def _streamed(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    def then(decode: str, found: Sequence[Ragged], rest: Parameters) -> Ragged:
        return DECODERS[decode].run(found, rest)

    return streamed.streamed(inputs, parameters, then)


DECODERS: Mapping[str, Decoder] = {
    **{name: _by_table(table) for name, table in TABLES.items()},
    "as_is": Decoder(_as_is, None),
    "counts": Decoder(_counts, _of("int32")),
    "puppi_log8_no_lepton": Decoder(_puppi_log8_no_lepton, _of("float32")),
    "puppi_linear_no_lepton": Decoder(_puppi_linear_no_lepton, _of("float32")),
    "pixel_hits": Decoder(_pixel_hits, _of("int32")),
    "hits": Decoder(_hits, _of("int32")),
    "phi": Decoder(_phi, _of("float32")),
    "eta_of_rapidity": Decoder(_eta_of_rapidity, _of("float32")),
    "dz": Decoder(_dz, _of("float32")),
    "dz_of_reference": Decoder(_dz_of_reference, _of("float32")),
    "index": Decoder(_index, _of("int32")),
    "key_of_reference": Decoder(_key_of_reference, _of("int32")),
    "charge": Decoder(_charge, _of("int32")),
    "element_link": Decoder(_element_link, LINK_MEMBERS),
    "pair_float32": Decoder(labels.pair_float32, _of("float32")),
    "pair_int8": Decoder(labels.pair_int8, _of("int8")),
    "factor_float32": Decoder(labels.factor_float32, _of("float32")),
    "candidate_keys": Decoder(candidates.candidate_keys, _of("int32")),
    "pointer_keys": Decoder(pointers.pointer_keys, _of("int32")),
    "label_float32": Decoder(labels.label_float32, _of("float32")),
    "label_int32": Decoder(labels.label_int32, _of("int32")),
    "trigger_counts": Decoder(triggers.trigger_counts, _of("int32")),
    "trigger_bits": Decoder(triggers.trigger_bits, _of("bool")),
    "trigger_path": Decoder(triggers.trigger_path, _of("bool")),
    "streamed": Decoder(_streamed, None),
    "streamed_counts": Decoder(streamed.streamed_counts, _of("int32")),
    "no_objects": Decoder(undescribed.no_objects, None),
    "single": Decoder(momenta.single, _of("float32")),
    "charge_of_thirds": Decoder(momenta.charge_of_thirds, _of("int32")),
    "pt_of_xy": Decoder(momenta.pt_of_xy, _of("float32")),
    "phi_of_xy": Decoder(momenta.phi_of_xy, _of("float32")),
    "eta_of_xyz": Decoder(momenta.eta_of_xyz, _of("float32")),
}
