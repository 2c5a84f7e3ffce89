"""Type discovery without reading: which C++ types are read, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
import uproot

from columnservice.formats.discovery import Readable, Refused, discover, item_type
from columnservice.model import Member

pytestmark = pytest.mark.fast


class Branch:
    """The part of a TBranch that discovery looks at."""

    file = None

    def __init__(self, typename, interpretation, offset=0):
        self.typename, self.interpretation, self.offset = typename, interpretation, offset

    def member(self, name, none_if_missing):
        assert (name, none_if_missing) == ("fOffset", True)
        return self.offset


FLOAT = uproot.AsDtype(">f4")
REAL = uproot.AsJagged(FLOAT)


@pytest.mark.parametrize(
    ("typename", "item"),
    [
        ("float", "float"),
        ("float[]", "float"),
        ("double[][5]", "double"),
        ("std::vector<float>[]", "float"),
        ("std::vector<std::vector<uint32_t>>", "uint32_t"),
        ("vector<vector<unsigned int> >", "unsigned int"),
        ("std::vector<edm::Ref<vector<reco::Track>>>", "edm::Ref<vector<reco::Track>>"),
        ("std::vector<pair<string,float>>[]", "pair<string,float>"),
    ],
)
def test_the_item_stands_below_all_vectors_and_arrays(typename, item):
    assert item_type(typename) == item


@pytest.mark.parametrize(
    ("interpretation", "members", "depth"),
    [
        (FLOAT, ("float32",), 0),
        (REAL, ("float32",), 1),
        (uproot.AsDtype((">i4", (3,))), ("int32",), 1),
        (uproot.AsJagged(uproot.AsDtype((">f8", (5,)))), ("float64",), 2),
        (uproot.AsDtype("bool"), ("bool",), 0),
        (uproot.AsJagged(uproot.AsDtype(">u8"), header_bytes=10), ("uint64",), 1),
    ],
)
def test_numbers_are_readable_to_any_depth(interpretation, members, depth):
    found = discover(Branch("std::vector<std::vector<float>>", interpretation))
    assert found == Readable(tuple(Member("", kind) for kind in members), depth)
    assert found.item_bytes > 0


def test_a_leaf_list_is_a_record_of_numbers():
    kind = uproot.AsDtype([("x", ">f4"), ("n", ">i4")])
    found = discover(Branch("struct {float x; int32_t n;}", kind))
    assert found == Readable((Member("x", "float32"), Member("n", "int32")), 0)


OBJECTS = uproot.AsObjects(uproot.AsVector(True, np.dtype(">f4")))


@pytest.mark.parametrize(
    ("typename", "reason"),
    [
        ("edm::RefCore", "edm::RefCore"),
        ("edm::RefCoreWithIndex[]", "edm::RefCore"),
        ("std::vector<edm::Ptr<reco::Candidate>>[]", "edm::Ptr"),
        ("edm::RefVector<vector<pat::Jet>>", "edm::RefVector"),
        ("std::vector<edm::FwdPtr<reco::PFCandidate>>[]", "edm::FwdPtr"),
        ("edm::reftobase::BaseHolder<reco::Candidate>[]", "edm::reftobase"),
        ("std::vector<pair<string,float>>[]", "class pair<string,float>"),
        ("std::vector<reco::Track>[]", "class reco::Track"),
        ("std::vector<std::string>", "text"),
        ("std::string[]", "text"),
        ("std::map<int,float>", "a map"),
        ("std::vector<std::set<uint32_t>>", "a set"),
        ("std::bitset<15>[]", "a bitset"),
        ("gen::PdfInfo*", "a pointer"),
        ("xAOD::EventInfo_v1", "class xAOD::EventInfo_v1"),
        ("unknown", "no interpretation"),
    ],
)
def test_other_types_are_refused_whatever_uproot_would_do_with_them(typename, reason):
    strided = uproot.AsStridedObjects(None, [("processIndex_", np.dtype(">u2"))])
    for interpretation in (OBJECTS, strided, uproot.AsJagged(strided)):
        found = discover(Branch(typename, interpretation))
        assert isinstance(found, Refused)
        assert reason in found.reason


def test_text_is_refused_where_uproot_reads_it_as_strings():
    assert isinstance(discover(Branch("char*", uproot.AsStrings())), Refused)


def test_a_member_that_was_not_there_at_writing_is_refused():
    assert isinstance(discover(Branch("float[]", REAL)), Readable)
    found = discover(Branch("float[]", REAL, offset=99999))
    assert isinstance(found, Refused)
    assert "nothing is stored" in found.reason
