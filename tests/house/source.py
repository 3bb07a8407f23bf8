"""The project's own Python files, parsed once: what the house tests look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "legonn": ROOT / "protos/python/legonn",
    "legonn_core": ROOT / "legonn_core",
    "legonn_loadtest": ROOT / "loadtest/legonn_loadtest",
    "legonn_server": ROOT / "server/legonn_server",
}
GENERATED = ROOT / "protos/python/legonn/v1"

type_of_function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One file: where it is, under which name it is imported, and what it says."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """All functions and methods, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, type_of_function):
                yield node

    def imported(self) -> set[str]:
        """Top-level names of everything that the file imports, anywhere in it."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
        return names


@cache
def sources() -> tuple[Source, ...]:
    """Every hand-written file of the packages."""
    return tuple(
        Source(path, _module(package, folder, path), text, ast.parse(text))
        for package, folder in PACKAGES.items()
        for path in sorted(folder.rglob("*.py"))
        if GENERATED not in path.parents
        for text in [path.read_text(encoding="utf-8")]
    )


@cache
def every_python_file() -> tuple[Path, ...]:
    """Hand-written files of packages, tests and build scripts."""
    folders = [*PACKAGES.values(), ROOT / "tests", ROOT / "protos"]
    files = {path for folder in folders for path in folder.rglob("*.py")}
    return tuple(sorted(path for path in files if GENERATED not in path.parents))


def _module(package: str, folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])
