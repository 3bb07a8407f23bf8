"""Files and functions stay small, and names say what is in them."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.source import PACKAGES, ROOT, Source, every_python_file, sources

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}

each_source = pytest.mark.parametrize("source", sources(), ids=str)


@pytest.mark.parametrize("path", every_python_file(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_concept(path):
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_FILE_LINES, f"{num_lines} lines: which two concepts are in here?"
    assert path.stem not in EMPTY_NAMES, "name the file after what is in it"


@each_source
def test_a_function_fits_on_a_page(source: Source):
    long = {
        f"{node.name} (line {node.lineno})": lines
        for node in source.functions()
        if (lines := _body_lines(node)) > MAX_FUNCTION_LINES
    }
    assert not long


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which may be as long as it needs to be."""
    docstring = 0
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


@each_source
def test_a_module_says_why_it_exists(source: Source):
    assert ast.get_docstring(source.tree), "a module docstring: why it is, what it must not know"


@each_source
def test_what_is_public_is_documented(source: Source):
    silent = [
        f"{node.name} (line {node.lineno})"
        for node in _public(source.tree)
        if ast.get_docstring(node) is None
    ]
    assert not silent


def _public(tree: ast.Module):
    """Public classes and functions of a module, and public methods of those classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    method
                    for method in node.body
                    if isinstance(method, kinds)
                    and not method.name.startswith("_")
                    and not _repeats_a_documented_one(method)
                )


def _repeats_a_documented_one(node: ast.AST) -> bool:
    """Overloads, setters and overrides: the first of their name has said it."""
    decorators = {ast.unparse(d) for d in getattr(node, "decorator_list", [])}
    return any(re.fullmatch(r".*(overload|override|\.setter)", name) for name in decorators)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_a_door_plate(package):
    folders = {path.parent for path in PACKAGES[package].rglob("*.py")}
    without = [
        str(folder.relative_to(ROOT))
        for folder in sorted(folders)
        if not (folder / "__init__.py").is_file()
        or not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not without, "an __init__.py with a docstring: the room's job, where to start"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package):
    assert (PACKAGES[package] / "py.typed").is_file()
