"""Every example in the documentation, run in order in one directory against a real service.

A fence says how: ``bash`` and ``python`` are run; ``bash serve`` is what the fixture does; ``skip``
and ``text`` are not run and may hold nothing but what ``NOT_RUN`` allows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from columnservice.demo.blocks import Sample
from columnservice.demo.generate import generate
from tests.conftest import REPOSITORY
from tests.support.service import running_service

FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = ("events.PFCands.pt", "git clone", "make demo", "COLUMNSERVICE_XCACHES=", "entry-points")
PAGES = ("README.md", "docs/analysts.md", "docs/administrators.md")


def examples(page: str) -> list[tuple[str, str, str]]:
    text = (REPOSITORY / page).read_text()
    return [(m[1], m[2].strip(), m[3]) for m in FENCE.finditer(text)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A directory with ``nano.root`` and ``mini/*.root``, and a service that may read it."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "made").mkdir()
    pair = generate("cms", folder / "made", Sample(events=300))
    (folder / "mini").mkdir()
    pair.local.rename(folder / "nano.root")
    for parent in pair.parents:
        parent.rename(folder / "mini" / parent.name)
    with running_service(folder / "home", [folder]) as service:
        yield folder, service


def environment(url: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNSERVICE_URL": url}


def run(command: list[str], folder: Path, url: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment(url), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_every_example_of_a_page_runs(workplace, page):
    folder, service = workplace
    shell, script = [], []
    for language, how, text in examples(page):
        if how == "serve":
            assert text.split()[:2] == ["columnservice", "serve"]
        elif how == "skip" or language == "text":
            assert any(words in text for words in NOT_RUN), text
        else:
            assert language in ("bash", "python"), language
            (shell if language == "bash" else script).append(text)
    assert shell
    # Every page builds on the datasets that the README registers; registering again is no error.
    before = (
        []
        if page == "README.md"
        else [t for lang, how, t in examples("README.md") if (lang, how) == ("bash", "")]
    )
    for text in (*before, *shell):
        run(["bash", "-euo", "pipefail", "-c", text], folder, service.url)
    code = "\n".join(script).replace("http://127.0.0.1:8000", service.url)
    run([sys.executable, "-W", "ignore", "-c", code], folder, service.url)


@pytest.mark.fast
def test_every_setting_is_documented():
    from columnservice.settings import Settings

    text = (REPOSITORY / "docs/administrators.md").read_text()
    missing = [n for n in Settings.model_fields if f"COLUMNSERVICE_{n.upper()}`" not in text]
    assert missing == []


@pytest.mark.fast
def test_every_link_between_pages_leads_somewhere():
    for page in (*PAGES, "ARCHITECTURE.md"):
        folder = (REPOSITORY / page).parent
        for target in re.findall(r"\]\(([^)#:]+)\)", (REPOSITORY / page).read_text()):
            assert (folder / target).exists(), f"{page} → {target}"
