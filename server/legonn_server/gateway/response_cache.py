"""Translations of sentences that were asked for before.

A translation is a pure function of the sentence, the module versions and the options, so an answer
that was given once may be given again. Bounded by the number of sentences and by their characters;
the longest unused go first. It holds what callers wrote, so it lives in memory only, and a setting
turns it off.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is remembered.

    Attributes:
        max_entries: Sentences; 0 turns the cache off.
        max_characters: Of all remembered sentences and their translations together.
    """

    max_entries: int = 4_096
    max_characters: int = 2_000_000

    def __post_init__(self) -> None:
        if self.max_entries < 0 or self.max_characters < 0:
            raise ValueError("max_entries and max_characters must not be negative")


class ResponseCache(Generic[Value]):
    """Answers by key, the least recently used first to go."""

    def __init__(self, limits: CacheLimits) -> None:
        self._limits = limits
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._num_characters = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Value | None:
        """What was kept under a key."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: Value, *, size: int) -> None:
        """Keep an answer of ``size`` characters; too large a one is not kept."""
        if not self._limits.max_entries or size > self._limits.max_characters:
            return
        old = self._entries.pop(key, None)
        self._num_characters += size - (old[1] if old else 0)
        self._entries[key] = (value, size)
        while (
            len(self._entries) > self._limits.max_entries
            or self._num_characters > self._limits.max_characters
        ):
            _, (_, gone) = self._entries.popitem(last=False)
            self._num_characters -= gone
