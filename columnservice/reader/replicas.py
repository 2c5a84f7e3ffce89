"""From a registered URL to a logical name and to replicas in order of preference.

Pure text, but for ``configure_xrootd``, which sets the client's time limits before XRootD is
loaded. Knows no file format and opens nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from columnservice.model import FileLocation, FileRecord

# With XRootD's defaults a dead server hangs the client for minutes. With these a refused or killed
# one is noticed at once and a frozen one after seconds.
XROOTD_CLIENT_LIMITS = {
    "XRD_CONNECTIONWINDOW": "5",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_REQUESTTIMEOUT": "20",
    "XRD_STREAMTIMEOUT": "10",
    "XRD_STREAMERRORWINDOW": "0",
    "XRD_TIMEOUTRESOLUTION": "1",
}
_SECRETS = re.compile(
    r"(authz=)(?:Bearer(?:%20|\+|\s))?[^&\s'\"]+"
    r"|(Bearer(?:%20|\+|\s))[A-Za-z0-9._~+/=-]+"
    r"|(access_token=)[^&\s'\"]+"
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)"
    r"|()eyJ[\w-]+\.[\w-]+\.[\w-]*",  # a bare JSON web token
    re.IGNORECASE,
)


def configure_xrootd() -> None:
    """Set the XRootD client's time limits, where the operator has not.

    XRootD reads them when its library is loaded, so this stands before the first import of it.
    """
    for name, value in XROOTD_CLIENT_LIMITS.items():
        os.environ.setdefault(name, value)


def is_remote(url: str) -> bool:
    """Whether a URL is read through XRootD."""
    return url.startswith(("root://", "roots://", "xroot://", "xroots://"))


def lfn_of(url: str) -> str:
    """The logical file name: the path of a ``root://`` URL with one slash, or the local path."""
    if not is_remote(url):
        return url
    return "/" + urlsplit(url).path.lstrip("/")


def replicas_of(url: str, xcaches: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs that serve a file, best first: through an XCache where one fronts its origin.

    Args:
        url: where the file was registered from.
        xcaches: origin prefix → cache prefix, both ``root://host:port``. The match is on the whole
            authority, so that ``root://a:10`` never claims ``root://a:1094``.
    """
    if not is_remote(url):
        return (url,)
    parts = urlsplit(url)
    authority = f"{parts.scheme}://{parts.netloc}"
    here = _with_port(authority)
    caches = [cache for o, cache in xcaches.items() if _with_port(o.rstrip("/")) == here]
    tail = url[len(authority) :]
    return (*(cache.rstrip("/") + tail for cache in caches), url)


def _with_port(authority: str) -> str:
    """``root://host`` as ``root://host:1094``, in lower case."""
    parts = urlsplit(authority)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 1094}"


def location_of(record: FileRecord, xcaches: Mapping[str, str]) -> FileLocation:
    """Where to read a registered File, and what it must turn out to be."""
    if not record.url:  # only the keys of an uploaded file are known
        return FileLocation(record.lfn, (), record.tree, record.identity)
    replicas = replicas_of(record.url, xcaches if record.through_cache else {})
    return FileLocation(record.lfn, replicas, record.tree, record.identity, record.mtime_seconds)


def redact(text: str) -> str:
    """A text without the credentials that XRootD URLs and messages may carry.

    Taken out are ``authz=…``, ``access_token=…``, ``Bearer …``, the password of ``user:password@``
    and whatever looks like a JSON web token; what stands around them stays.
    """
    return _SECRETS.sub(lambda m: "".join(filter(None, m.groups())) + "[redacted]", text)
