"""Documents that name files name files that exist."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest

from tests.house.source import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/walk.md", "docs/glossary.md"]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|proto|toml|md|json|flac|svg))(?::\w+)?`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_what_exists(page):
    content = (ROOT / page).read_text(encoding="utf-8")
    named = set(PATH.findall(content))
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing


def test_the_walk_names_files():
    assert len(PATH.findall((ROOT / "docs/walk.md").read_text(encoding="utf-8"))) >= 15


ROOMS = (
    "deploy",
    "docs",
    "legonn_core",
    "loadtest",
    "modules",
    "protos",
    "recipes",
    "server",
    "tests",
)
pages = sorted(
    [*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))]
)


@pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_every_pinned_need_is_in_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    needs = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    pinned = [need for need in needs if not need.startswith("legonn[")]
    assert all("==" in need for need in pinned)
    assert not [need for need in pinned if need.lower().replace("_", "-") not in lock]


def test_decisions_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/adr").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_nothing_is_left_for_later_in_the_sources():
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    suffixes = {".py", ".proto", ".toml", ".md"}
    guilty = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in suffixes
        and path.name != "test_pages.py"
        and marker.search(path.read_text(encoding="utf-8"))
    ]
    assert not guilty
