"""The same change asked for twice is done once: answers are kept for ten minutes by request id."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import TypeVar

from google.protobuf.message import Message

KEPT_SECONDS = 600.0
MAX_KEPT = 1_000

M = TypeVar("M", bound=Message)


class Repeats:
    """Answers to changes, by request id and kind of answer."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, type[Message]], tuple[float, Message]] = OrderedDict()

    def find(self, request_id: str, kind: type[M]) -> M | None:
        """The answer that this request got before, if it is known; an empty id is never known."""
        kept = self._answers.get((request_id, kind)) if request_id else None
        if kept is None or monotonic() - kept[0] > KEPT_SECONDS:
            return None
        answer = kept[1]
        assert isinstance(answer, kind)
        return answer

    def keep(self, request_id: str, answer: M) -> M:
        """Remember an answer, and give it back."""
        if request_id:
            self._answers[(request_id, type(answer))] = (monotonic(), answer)
            while len(self._answers) > MAX_KEPT:
                self._answers.popitem(last=False)
        return answer
