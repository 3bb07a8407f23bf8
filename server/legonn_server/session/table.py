"""Which event is allowed in which state of a session. A pair that is not here is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from legonn_core.errors import ProtocolViolation
from legonn_server.session import events as e


class State(Enum):
    """Where a session stands."""

    AWAITING_CONFIG = "awaiting config"
    STREAMING = "streaming"
    DRAINING = "draining"
    CLOSED = "closed"
    FAILED = "failed"


_ANSWERS = (e.SlotOpened, e.MarginalsArrived, e.CommitArrived, e.FinalArrived, e.WorkLost)

TRANSITIONS: dict[tuple[State, type[object]], State] = {
    (State.AWAITING_CONFIG, e.Opened): State.STREAMING,
    (State.AWAITING_CONFIG, e.Cancelled): State.CLOSED,
    (State.STREAMING, e.AudioReceived): State.STREAMING,
    (State.STREAMING, e.Flushed): State.STREAMING,
    (State.STREAMING, e.SegmentCancelled): State.STREAMING,
    (State.STREAMING, e.InputEnded): State.DRAINING,
    (State.STREAMING, e.Cancelled): State.CLOSED,
    (State.STREAMING, e.Broken): State.FAILED,
    (State.DRAINING, e.Finished): State.CLOSED,
    (State.DRAINING, e.Cancelled): State.CLOSED,
    (State.DRAINING, e.Broken): State.FAILED,
    (State.CLOSED, e.Cancelled): State.CLOSED,
    (State.FAILED, e.Cancelled): State.FAILED,
    # The caller does not know yet that the stream has failed.
    (State.FAILED, e.AudioReceived): State.FAILED,
    (State.FAILED, e.Flushed): State.FAILED,
    (State.FAILED, e.SegmentCancelled): State.FAILED,
    (State.FAILED, e.InputEnded): State.FAILED,
    **{
        (state, answer): state
        for answer in _ANSWERS
        for state in (State.STREAMING, State.DRAINING, State.CLOSED, State.FAILED)
    },
}
"""The literal. Answers of a backend may also come after the end; they change nothing then."""

EXPLANATIONS: dict[tuple[State, type[object]], str] = {
    (State.AWAITING_CONFIG, e.AudioReceived): "audio before the config: send the config first",
    (State.AWAITING_CONFIG, e.Flushed): "a control message before the config",
    (State.AWAITING_CONFIG, e.SegmentCancelled): "a control message before the config",
    (State.AWAITING_CONFIG, e.InputEnded): "the stream ended before a config was sent",
    (State.STREAMING, e.Opened): "the config was sent twice; it comes once, as the first message",
}
"""Sentences for the mistakes that callers make."""


def next_state(
    state: State,
    event: object,
    transitions: Mapping[tuple[State, type[object]], State],
    explanations: Mapping[tuple[State, type[object]], str],
) -> State:
    """Where an event leads, by the table of a machine.

    Raises:
        ProtocolViolation: If the table has no such pair; in the words of ``explanations``, if any.
    """
    key = (state, type(event))
    if key not in transitions:
        default = f"{type(event).__name__} has no meaning while {state.value}"
        raise ProtocolViolation(explanations.get(key, default))
    return transitions[key]
