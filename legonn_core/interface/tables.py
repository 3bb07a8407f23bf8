"""TOML tables to frozen dataclasses and back, strictly.

The dataclass is the schema: its fields are the keys, their types are checked, their defaults are
the only keys that may be absent. It knows nothing of what the tables mean.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


@cache
def _hints(cls: object) -> dict[str, object]:
    """Types of a class's fields; resolving them takes longer than reading a small table."""
    return get_type_hints(cls)


class TableError(ValueError):
    """A key is unknown, missing or of the wrong type; the message begins with its path."""


def read_table(cls: type[T], table: Mapping[str, object], path: str = "") -> T:
    """Build a dataclass from a table.

    Args:
        cls: Dataclass of scalars, enums, dataclasses, optionals, ``tuple[X, ...]`` and
            ``dict[str, X]``.
        table: What ``tomllib`` gave.
        path: Where the table stands in the file, for messages.

    Raises:
        TableError: See there; also when ``cls`` refuses the values with a ValueError.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # classes are hashable
    known = fields(cls)  # type: ignore[arg-type]  # the caller's promise: cls is a dataclass
    for key in table:
        if key not in hints:
            raise TableError(f"{_join(path, key)} is not a known key")
    values: dict[str, object] = {}
    for item in known:
        if item.name in table:
            where = _join(path, item.name)
            values[item.name] = _read_value(hints[item.name], table[item.name], where)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise TableError(f"{_join(path, item.name)} is missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise TableError(f"{path + ': ' if path else ''}{error}") from error


def write_table(value: object) -> dict[str, object]:
    """The table that ``read_table`` turns back into an equal dataclass; None is left out."""
    assert is_dataclass(value)
    pairs = ((item.name, getattr(value, item.name)) for item in fields(value))
    return {name: _write_value(entry) for name, entry in pairs if entry is not None}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _read_value(hint: object, value: object, path: str) -> object:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        options = [option for option in arguments if option is not type(None)]
        return _read_union(options, value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise TableError(f"{path} is not an array")
        return tuple(_read_value(arguments[0], x, f"{path}[{i}]") for i, x in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise TableError(f"{path} is not a table")
        return {key: _read_value(arguments[1], x, _join(path, key)) for key, x in value.items()}
    assert isinstance(hint, type)
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise TableError(f"{path} is not a table")
        return read_table(hint, value, path)
    if issubclass(hint, Enum):
        if value not in [member.value for member in hint]:
            known = ", ".join(str(member.value) for member in hint)
            raise TableError(f"{path} is {value!r}, not one of {known}")
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:  # not isinstance: TOML's true is no number
        raise TableError(f"{path} is {value!r}, not a value of type {hint.__name__}")
    return value


def _read_union(options: list[object], value: object, path: str) -> object:
    if len(options) == 1:
        return _read_value(options[0], value, path)
    if type(value) not in options:  # a union of several is of scalars
        raise TableError(f"{path} is {value!r}, which has none of the types allowed there")
    return value


def _write_value(value: object) -> object:
    if is_dataclass(value):
        return write_table(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_write_value(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _write_value(entry) for key, entry in value.items()}
    return value
