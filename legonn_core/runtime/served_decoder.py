"""A decoder behind a model server, on a thread of its own: decodes join and leave between steps.

Every open decode hears a sign of life now and then, because a server whose model process died says
nothing at all to those who wait. If the thread fails, the process ends: whoever watches it starts
it again, and a process that is gone is easier to notice than one that has stopped working.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from dataclasses import replace
from typing import Protocol

from legonn_core.errors import BackendDown, LegonnError
from legonn_core.runtime import wire
from legonn_core.runtime.served import ServedModule
from legonn_core.runtime.wire import Answer, Fault, Letter

log = logging.getLogger("legonn.served")

BEAT_SECONDS = 0.25
"""How often an open decode hears that its decoder lives."""

LOOK_SECONDS = 0.05
"""How often those who wait are asked whether they still do."""


class Reply(Protocol):
    """Where the answers to one decode go."""

    def send(self, letter: Letter, *, is_last: bool) -> None:
        """Send an answer; the last one ends the request."""

    def is_gone(self) -> bool:
        """Whether nobody waits any more."""


class ServedDecoder:
    """``submit`` returns at once, replies come as they are ready; see the module's docstring.

    Args:
        module: The decoder; the thread is its only user from now on.
    """

    def __init__(self, module: ServedModule) -> None:
        self._module = module
        self._inbox: queue.SimpleQueue[tuple[Letter, Reply] | None] = queue.SimpleQueue()
        self._open: dict[int, Reply] = {}
        self._next_id = 1
        self._looked = self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="legonn-decoder", daemon=True)
        self._thread.start()

    def submit(self, letter: Letter, reply: Reply) -> None:
        """File a call; its answers go to ``reply``."""
        self._inbox.put((letter, reply))

    def close(self) -> None:
        """End the thread and every open request, without which a server never unloads."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._take():
                self._turn()
        except Exception:
            log.exception("the decoder failed")
            self._end_all()
            os._exit(1)
        self._end_all()

    def _end_all(self) -> None:
        fault = Answer(fault=Fault.of(BackendDown("the decoder has stopped")))
        for number in tuple(self._open):
            self._finish(number, fault)

    def _take(self) -> bool:
        """File what has arrived, waiting only if there is nothing else to do; False at the end."""
        wait = 0.0 if self._module.has_work else BEAT_SECONDS
        while True:
            try:
                arrived = self._inbox.get(block=wait > 0, timeout=wait or None)
            except queue.Empty:
                return True
            if arrived is None:
                return False
            self._file(*arrived)
            wait = 0.0

    def _file(self, letter: Letter, reply: Reply) -> None:
        number, self._next_id = self._next_id, self._next_id + 1
        self._open[number] = reply
        try:
            self._module.file(number, wire.read_call(letter))
        except LegonnError as error:
            self._finish(number, Answer(fault=Fault.of(error)))

    def _turn(self) -> None:
        began = time.perf_counter()
        ended = self._module.turn()
        took = int((time.perf_counter() - began) * 1e6)
        for number, answer in ended:
            self._finish(number, replace(answer, compute_us=took))
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            for number in [n for n, reply in self._open.items() if reply.is_gone()]:
                self._module.cancel(number)
                self._finish(number, Answer())
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            beat = wire.write_answer(Answer(life=self._module.life))
            for reply in self._open.values():
                reply.send(beat, is_last=False)

    def _finish(self, number: int, answer: Answer) -> None:
        reply = self._open.pop(number, None)
        if reply is not None:
            reply.send(wire.write_answer(replace(answer, life=self._module.life)), is_last=True)
