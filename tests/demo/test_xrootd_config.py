"""The configurations are pure text: what they say, and what they refuse to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from columnservice.demo.xrootd_config import (
    CACHE_ENVIRONMENT,
    CacheConfig,
    OriginConfig,
    cache_config,
    origin_config,
)
from columnservice.errors import SetupError

pytestmark = pytest.mark.fast

ORIGIN = OriginConfig(port=1094, root=Path("/data"), run=Path("/run/origin"))
CACHE = CacheConfig(port=1095, root=Path("/cache"), run=Path("/run/c"), origin="origin.org:1094")


def test_an_origin_serves_its_directory_under_store():
    assert origin_config(ORIGIN).splitlines() == [
        "all.role server",
        "all.export /store",
        "xrd.port 1094",
        "xrd.network nodnr",
        "all.adminpath /run/origin",
        "all.pidpath /run/origin",
        "oss.localroot /data",
    ]


def test_a_cache_keeps_partial_files_of_one_fixed_origin():
    lines = cache_config(CACHE).splitlines()
    assert "pss.origin origin.org:1094" in lines
    assert "ofs.osslib libXrdPss.so" in lines
    assert "pss.cachelib libXrdPfc.so" in lines
    assert "pfc.prefetch 0" in lines
    assert "pfc.ram 1g" in lines
    assert "pfc.blocksize 128k" in lines
    assert "pfc.diskusage 0.90 0.95" in lines


def test_loopback_servers_can_refuse_other_hosts():
    config = OriginConfig(1094, Path("/data"), Path("/run"), allow=("127.0.0.1",))
    assert "xrd.allow host 127.0.0.1" in origin_config(config).splitlines()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origin": "="}, "host:port"),
        ({"origin": "origin.org"}, "host:port"),
        ({"ram_bytes": 1 << 20}, "1 GiB"),
        ({"disk_low": 0.96}, "disk_low"),
        ({"root": Path("/a b")}, "served directory"),
        ({"export": "/store\nofs.osslib evil.so"}, "export"),
    ],
)
def test_what_would_not_work_or_mix_up_files_is_refused(change: dict[str, object], said: str):
    with pytest.raises(SetupError, match=said):
        cache_config(CacheConfig(**{**vars(CACHE), **change}))  # type: ignore[arg-type]


DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "xrootd"


def lines_of(name: str) -> list[str]:
    return [line for line in (DEPLOY / name).read_text().splitlines() if not line.startswith("#")]


def test_the_files_for_operators_are_what_the_demo_runs():
    origin = OriginConfig(1094, Path("/data"), Path("/run/xrootd"))
    cache = CacheConfig(
        1095,
        Path("/var/cache/xcache"),
        Path("/run/xrootd"),
        "origin.example.org:1094",
        ram_bytes=16 << 30,
    )
    assert lines_of("origin.cfg") == origin_config(origin).splitlines()
    assert lines_of("xcache.cfg") == cache_config(cache).splitlines()
    assert dict(line.split("=") for line in lines_of("xcache.env")) == CACHE_ENVIRONMENT
