"""Decoders against an independent NumPy twin of CMSSW's formulas, for every possible code."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from columnservice.errors import DamagedFile
from columnservice.formats import apply, compile_kernels
from columnservice.formats.decode import DECODERS
from columnservice.formats.packed import CANDIDATE, GEN_PARTICLE
from columnservice.model import BranchRead, Ragged, Recipe, plain

pytestmark = pytest.mark.fast

CODES = np.arange(65536, dtype=np.uint16)
BYTES = np.arange(256, dtype=np.uint8)
codes16 = arrays(np.uint16, st.integers(0, 200))


def one_list(values):
    """All values in one event; read-only, as mapped files are."""
    values = np.array(values)
    values.flags.writeable = False
    offsets = np.array([0, len(values)], np.int64)
    offsets.flags.writeable = False
    return plain(values, offsets)


def decode(name, *inputs, **parameters):
    reads = tuple(BranchRead(str(i)) for i in range(len(inputs)))
    recipe = Recipe("x", reads, name, tuple(parameters.items()))
    return apply(recipe, [one_list(values) for values in inputs]).values


def half(codes):
    """binary16 by hand: sign, exponent, mantissa."""
    sign = np.where(codes >> 15, -1.0, 1.0)
    exponent = ((codes >> 10) & 31).astype(int)
    mantissa = (codes & 1023).astype(float)
    value = np.where(
        exponent == 0, mantissa * 2.0**-24, (1 + mantissa / 1024) * 2.0 ** (exponent - 15)
    )
    value = np.where(exponent == 31, np.where(mantissa == 0, np.inf, np.nan), value)
    return sign * value


def signed(codes):
    return codes.astype(int) - np.where(codes >= 32768, 65536, 0)


def phi(codes, pt):
    with np.errstate(all="ignore"):
        shift = np.where(pt < 1, 0.1 * pt, 0.1 / pt)
        ten = np.trunc(np.where(np.isfinite(pt), pt, 0).astype(np.float32) * np.float32(10))
    sign = np.where(ten % 2 == 0, 1, -1)
    return signed(codes) * 3.2 / 32767 + sign * shift * 3.2 / 32767


def test_half_floats_of_all_codes():
    np.testing.assert_array_equal(decode("half", CODES, divisor=1), half(CODES).astype("f4"))
    found = decode("half", CODES, divisor=100)
    np.testing.assert_array_equal(found, (half(CODES) / 100).astype("f4"))


def test_roots_of_half_floats_of_all_codes():
    with np.errstate(invalid="ignore"):
        truth = np.sqrt(half(CODES) / 1e4)
    np.testing.assert_allclose(decode("half_root", CODES, divisor=1e4), truth, rtol=1e-6)


@pytest.mark.parametrize("range_", [6.0, 3.2, 40.0])
def test_angles_of_all_codes(range_):
    found = decode("signed16", CODES, range=range_)
    np.testing.assert_allclose(found, signed(CODES) * range_ / 32767, rtol=2e-7)


def test_phi_of_all_codes_with_all_pt():
    pt_codes = np.random.default_rng(1).permutation(CODES)
    found = decode("phi", CODES, pt_codes)
    np.testing.assert_allclose(found, phi(CODES, half(pt_codes)), rtol=3e-7, atol=2e-7)


def test_phi_is_shifted_by_less_than_its_last_bit():
    finite = CODES[np.isfinite(half(CODES))]
    found = decode("phi", np.zeros(len(finite), np.uint16), finite)
    positive = half(finite) >= 0
    assert (np.abs(found[positive]) <= 0.1001 * 3.2 / 32767).all()
    assert (found[positive & (half(finite) > 0)] != 0).all()


@given(codes16, st.data())
def test_phi_of_any_codes(codes, data):
    pt_codes = data.draw(arrays(np.uint16, len(codes)))
    found = decode("phi", codes, pt_codes)
    np.testing.assert_allclose(found, phi(codes, half(pt_codes)), rtol=3e-7, atol=2e-7)


@given(codes16, st.data())
def test_eta_from_rapidity_gives_back_the_rapidity(y_codes, data):
    """Independent of the formula used: E and pz of (pt, eta, mass) have the packed rapidity."""
    normal = st.integers(0x2000, 0x6400)  # 2**-7 to 1024
    pt_codes = data.draw(arrays(np.uint16, len(y_codes), elements=normal))
    mass_codes = data.draw(arrays(np.uint16, len(y_codes), elements=normal))
    eta = decode("eta_of_rapidity", y_codes, pt_codes, mass_codes).astype(float)
    pt, mass = half(pt_codes), half(mass_codes)
    pz = pt * np.sinh(eta)
    energy = np.sqrt(pt**2 + pz**2 + mass**2)
    rapidity = np.arcsinh(pz / np.sqrt(energy**2 - pz**2))
    np.testing.assert_allclose(rapidity, signed(y_codes) * 6 / 32767, rtol=1e-4, atol=2e-6)


def test_eta_from_rapidity_is_that_of_cmssw():
    """CMSSW: tanh(y) sqrt(mT² / (1 − tanh² y)), here in double precision; eta 0 for pt 0."""
    pt_codes, mass_codes = np.full(65536, 0x4900, np.uint16), np.full(65536, 0x3081, np.uint16)
    pt, mass, y = half(pt_codes), half(mass_codes), signed(CODES) * 6 / 32767
    pz = np.tanh(y) * np.sqrt((mass**2 + pt**2) / (1 - np.tanh(y) ** 2))
    found = decode("eta_of_rapidity", CODES, pt_codes, mass_codes)
    np.testing.assert_allclose(found, np.arcsinh(pz / pt), rtol=1e-6, atol=1e-7)
    assert (decode("eta_of_rapidity", CODES, CODES * 0, mass_codes) == 0).all()


def test_dz_depends_on_the_vertex_reference():
    some = decode("dz", CODES, np.full(65536, 3, np.uint32))
    none = decode("dz", CODES, np.full(65536, 2**32 - 1, np.uint32))
    np.testing.assert_array_equal(some, (half(CODES) / 100).astype("f4"))
    np.testing.assert_allclose(none, signed(CODES) * 40 / 32767, rtol=2e-7)


def references(counts, keys, product=588):
    """Bytes of RefCoreWithIndex as CMSSW writes them: version, process, product, index."""
    data = [struct.pack(">HHHI", 11, 4 if k >= 0 else 0, product if k >= 0 else 0, k % 2**32)
            for k in keys]  # fmt: skip
    flat = np.frombuffer(b"".join(data), np.uint8)
    return plain(flat, np.concatenate(([0], np.cumsum(counts) * 10)).astype(np.int64))


def test_references_stored_with_an_index_are_read_from_their_bytes():
    offsets = np.array([0, 2, 2, 5], np.int64)
    codes = plain(np.array([0x4900, 0x4900, 0xC900, 0, 1000], np.uint16), offsets)
    raw = references([2, 0, 3], [0, -1, 7, 2, -1])
    reads = (BranchRead("dz"), BranchRead("ref", raw=True))
    keys = apply(Recipe("k", reads, "key_of_reference"), [codes, raw])
    assert keys.values.tolist() == [0, -1, 7, 2, -1]
    assert keys.values.dtype == np.int32
    dz = apply(Recipe("z", reads, "dz_of_reference"), [codes, raw])
    truth = half(codes.values) / 100
    truth[[1, 4]] = signed(codes.values)[[1, 4]] * 40 / 32767
    np.testing.assert_allclose(dz.values, truth, rtol=2e-7)
    short = Ragged(raw.offsets, {"": raw.values[:-1]})
    short.offsets[0][-1] -= 1
    with pytest.raises(DamagedFile, match="row 2"):
        apply(Recipe("k", reads, "key_of_reference"), [codes, short])


def int8(values):
    return values.astype(int) - np.where(values >= 128, 256, 0)


def logint(codes, low, high, steps):
    return np.where(codes < 0, -1, 1) * np.exp(low + np.abs(codes) / steps * (high - low))


@pytest.mark.parametrize(("low", "high"), [(-15, 0), (-20, -5), (-17, -4)])
def test_logarithmic_covariances_of_all_codes(low, high):
    found = decode("log8", BYTES.view(np.int8), low=low, high=high, steps=128)
    np.testing.assert_allclose(found, logint(int8(BYTES), low, high, 128), rtol=1e-6)


def test_puppi_weights_of_all_codes_old_and_new():
    old = 0.5 + logint(int8(BYTES), -2, 0, 63) / 2
    np.testing.assert_allclose(decode("puppi_log8", BYTES.view("i1")), old, rtol=1e-6)
    np.testing.assert_allclose(decode("unsigned8", BYTES, divisor=255), BYTES / 255, rtol=1e-6)
    weight, difference = (a.ravel() for a in np.meshgrid(BYTES, BYTES))
    found = decode("puppi_linear_no_lepton", difference.view("i1"), weight)
    np.testing.assert_allclose(found, int8(difference) / 127 + weight / 255, rtol=1e-6, atol=1e-7)
    found = decode("puppi_log8_no_lepton", difference.view("i1"), weight.view("i1"))
    code = int8((difference.astype(int) + weight) % 256)
    np.testing.assert_allclose(found, 0.5 + logint(code, -2, 0, 63) / 2, rtol=1e-6)


def test_bits_and_flags_of_all_codes():
    quality = decode("bits", CODES, shift=0, width=3, offset=0)
    lost = decode("bits", CODES, shift=4, width=2, offset=-1)
    for code in (0, 7, 0b110000, 0b111111, 0xFFFF, 0x0600):
        text = f"{code:016b}"
        assert quality[code] == int(text[-3:], 2)
        assert lost[code] == int(text[-6:-4], 2) - 1
        for shift in (3, 9, 10, 11):
            assert decode("flag", CODES, shift=shift)[code] == (text[-1 - shift] == "1")
    assert quality.dtype == lost.dtype == np.int32


def test_hits_of_all_codes_with_and_without_layers():
    hits, layers = (a.ravel() for a in np.meshgrid(BYTES, BYTES))
    pixel, strip = hits % 8 + 0, hits // 8 + 0
    np.testing.assert_array_equal(decode("bits8", hits, shift=0, width=3), pixel)
    np.testing.assert_array_equal(decode("bits8", hits, shift=3, width=5), strip)
    np.testing.assert_array_equal(decode("hits", hits), pixel.astype(int) + strip)
    both = pixel.astype(int) + layers % 8
    np.testing.assert_array_equal(decode("pixel_hits", hits, layers), both)
    np.testing.assert_array_equal(decode("hits", hits, layers), both + strip + layers // 8)


def test_charges_follow_the_particle():
    ids = np.array([211, -211, 11, -11, 13, -13, 15, -15, 24, -24, 22, 130, 1, 2, 0], np.int32)
    assert decode("charge", ids).tolist() == [1, -1, -1, 1, -1, 1, -1, 1, 1, -1, 0, 0, 0, 0, 0]


def test_element_links_are_read_from_their_bytes():
    links = [(0x1A2B3C4D, 0), (7, 2**32 - 1)]
    data = b"".join(struct.pack(">IHIII", 0x4000000E, 0, 0x12345678, *link) for link in links)
    raw = plain(np.frombuffer(data, np.uint8), np.array([0, 18, 36], np.int64))
    found = apply(Recipe("l", (BranchRead("l", raw=True),), "element_link"), [raw])
    assert found.depth == 0
    assert found.content["m_persKey"].tolist() == [key for key, _ in links]
    assert found.content["m_persIndex"].tolist() == [index for _, index in links]


def test_counts_are_the_lengths_of_the_outermost_lists():
    nested = plain(np.arange(3.0), np.array([0, 2, 2, 3], np.int64), np.array([0, 1, 1, 3]))
    found = apply(Recipe("n", (BranchRead("x"),), "counts"), [nested])
    assert found.values.tolist() == [2, 0, 1]
    assert found.values.dtype == np.int32


def test_foreign_byte_order_becomes_native():
    big = one_list(np.array([1.5, -2.0], ">f4"))
    values = apply(Recipe("x", (BranchRead("x"),)), [big]).values
    assert values.dtype == np.float32
    assert values.dtype.isnative
    assert values.tolist() == [1.5, -2.0]
    assert decode("half", CODES.astype(">u2"), divisor=1)[0x3C00] == 1.0


def test_contradicting_inputs_are_an_error_and_never_read_out_of_bounds():
    long, short = one_list(CODES), one_list(CODES[:10])
    reads = (BranchRead("a"), BranchRead("b"))
    for recipe in (Recipe("x", reads, "phi"), Recipe("x", reads, "dz")):
        with pytest.raises(DamagedFile, match="different counts"):
            apply(recipe, [long, short])
    with pytest.raises(DamagedFile, match="float32"):
        decode("half", np.zeros(3, np.float32), divisor=1)


def test_nothing_is_compiled_by_decoding():
    compile_kernels()
    from columnservice.formats import kernels

    found = [k for k in vars(kernels).values() if hasattr(k, "signatures")]
    before = [list(k.signatures) for k in found]
    assert len(found) == 12
    assert all(before)
    decode("phi", CODES, CODES)
    assert [list(k.signatures) for k in found] == before
    with pytest.raises(TypeError):
        kernels.charge_of_pdg_id(np.zeros(3, np.float64))
    assert [list(k.signatures) for k in found] == before


def test_the_naming_table_uses_decoders_and_says_what_they_mean():
    for line in (*CANDIDATE, *GEN_PARTICLE):
        assert line.decode in DECODERS
        assert line.doc
        assert line.source.startswith(("PC", "PG"))
        if DECODERS[line.decode].members is not None and len(line.names) == 1:
            size = (
                65536 if line.decode in ("half", "half_root", "signed16", "bits", "flag") else 256
            )
            if line.decode in ("index", "charge"):
                continue
            codes = np.arange(size, dtype=np.uint16 if size > 256 else np.uint8)
            values = decode(line.decode, codes, **dict(line.parameters))
            assert values.dtype == DECODERS[line.decode].members[0].dtype
