from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.reader.replicas import lfn_of, redact, replicas_of

pytestmark = pytest.mark.fast


def test_a_cached_origin_is_read_through_its_cache_first():
    caches = {"root://origin:1094": "root://cache:1095"}
    url = "root://origin:1094//store/a.root"
    assert replicas_of(url, caches) == ("root://cache:1095//store/a.root", url)


def test_an_origin_whose_name_only_begins_like_another_is_not_cached():
    caches = {"root://origin:10": "root://cache:1095"}
    url = "root://origin:1094//store/a.root"
    assert replicas_of(url, caches) == (url,)


@pytest.mark.parametrize("origin", ["root://origin", "root://origin:1094", "root://Origin:1094/"])
@pytest.mark.parametrize("url", ["root://origin//a.root", "root://origin:1094//a.root"])
def test_the_usual_port_may_be_written_or_left_out(origin, url):
    assert replicas_of(url, {origin: "root://cache:1095"}) == ("root://cache:1095//a.root", url)


def test_a_local_path_is_its_own_only_replica():
    assert replicas_of("/data/a.root", {"root://o:1": "root://c:1"}) == ("/data/a.root",)


@pytest.mark.parametrize("slashes", ["/", "//", "///"])
def test_lfn_has_one_leading_slash_however_the_url_is_written(slashes):
    assert lfn_of(f"root://host:1{slashes}store/a.root") == "/store/a.root"


@given(st.text("abcDEF0189-._~+/=", min_size=8))
def test_tokens_are_taken_out_of_messages(token):
    message = f"cannot open root://h:1//a?authz=Bearer%20{token}&x=1"
    assert redact(message) == "cannot open root://h:1//a?authz=[redacted]&x=1"


def test_time_limits_are_set_before_xrootd_is_loaded():
    code = (
        "import sys, os, columnservice.reader; print('XRootD' in sys.modules, "
        "os.environ['XRD_CONNECTIONRETRY'])"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("XRD_")}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["False", "1"]
