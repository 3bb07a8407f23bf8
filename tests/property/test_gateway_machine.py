"""Any sequence of messages, cancels, half-closes and engine faults, over the wire.

Hypothesis steers callers of one gateway with the fake backend: legal lives, illegal turns, and
several at once. Whatever they do, streams that end well kept every promise, the others end with one
of our errors, and the gateway is as empty afterwards as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from legonn._convert import event as client_event
from legonn.v1 import translation_service_pb2 as text_pb
from legonn_core.errors import BackendDown, LegonnError, StateLost
from legonn_loadtest.promises import PromiseCheck
from legonn_server.backends.fake import FakeScript
from tests.support.gateway import (
    Running,
    audio,
    control,
    first,
    linear16,
    refusal,
    running,
    silence,
    speech_pb,
    tone,
)

END = object()
SOUNDS = {
    "beep": linear16(tone(0.1)),
    "word": linear16(tone(0.6, level=0.8)),
    "gap": linear16(silence(0.05)),
    "pause": linear16(silence(1.2)),
}
ODD = {
    "config again": first(),
    "nothing": speech_pb.StreamingRecognizeRequest(),
    "half a sample": audio(b"\x00"),
    "unknown control": control(77),
    "wrong place": audio(SOUNDS["beep"], sample_offset=5),
}
OURS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "RESOURCE_EXHAUSTED",
        "UNAVAILABLE", "INTERNAL", "ABORTED"}  # fmt: skip
FAULTS = (StateLost("lost"), BackendDown("gone"), BackendDown("died", was_running=True))
SETTLED_S = 60.0
LOST_RACE = "Internal error from Core"
"""What the client's library says when its write met the end of the call: not the server's word."""


@dataclass(eq=False)
class Caller:
    """One call: what it will say, and what it heard."""

    call: Any
    inbox: asyncio.Queue[object]
    task: asyncio.Task[None] | None = None
    heard: list[Any] = field(default_factory=list)
    num_samples: int = 0
    flushes: list[int] = field(default_factory=list)
    is_odd: bool = False
    is_ended: bool = False
    error: grpc.aio.AioRpcError | None = None

    def say(self, message: object) -> None:
        self.inbox.put_nowait(message)


class GatewayMachine(RuleBasedStateMachine):
    """See the module's docstring."""

    speakers, writers = Bundle("speakers"), Bundle("writers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.faults: list[LegonnError] = []
        self.all: list[Caller] = []
        self.serving = running(FakeScript(fault=self._fault))
        self.server: Running = self.run(self.serving.__aenter__())
        self.is_serving = True

    is_serving = False

    def _fault(self, method: str, count: int) -> LegonnError | None:
        del count
        can_fail = self.is_serving and method not in ("describe", "load", "unload")
        return self.faults.pop() if can_fail and self.faults else None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    async def _open(self, method: Any) -> Caller:
        inbox: asyncio.Queue[object] = asyncio.Queue()

        async def requests():
            while (message := await inbox.get()) is not END:
                yield message

        caller = Caller(method(requests(), timeout=SETTLED_S), inbox)
        caller.task = asyncio.create_task(self._listen(caller))
        self.all.append(caller)
        return caller

    async def _listen(self, caller: Caller) -> None:
        try:
            async for answer in caller.call:
                caller.heard.append(answer)
        except grpc.aio.AioRpcError as error:
            caller.error = error
        except asyncio.CancelledError:
            caller.is_odd = True

    # --- speech

    @rule(target=speakers, interim=st.booleans(), best=st.integers(0, 12))
    def speak(self, interim: bool, best: int) -> Caller:
        caller = self.run(self._open(self.server.speech.StreamingRecognize))
        caller.is_odd = best > 10
        caller.say(first(interim_results=interim, max_alternatives=best))
        return caller

    @rule(caller=speakers, sounds=st.lists(st.sampled_from(sorted(SOUNDS)), min_size=1, max_size=5))
    def sound(self, caller: Caller, sounds: list[str]) -> None:
        for content in map(SOUNDS.__getitem__, sounds):
            caller.num_samples += len(content) // 2
            caller.say(audio(content))

    @rule(caller=speakers)
    def flush(self, caller: Caller) -> None:
        caller.flushes.append(caller.num_samples)
        caller.say(control(speech_pb.CONTROL_ACTION_FLUSH))

    @rule(caller=speakers)
    def keep_alive(self, caller: Caller) -> None:
        caller.say(control(speech_pb.CONTROL_ACTION_KEEP_ALIVE))

    @rule(caller=speakers)
    def take_back(self, caller: Caller) -> None:
        caller.say(control(speech_pb.CONTROL_ACTION_CANCEL_SEGMENT))

    @rule(caller=speakers, what=st.sampled_from(sorted(ODD)))
    def turn_oddly(self, caller: Caller, what: str) -> None:
        caller.is_odd = True
        caller.say(ODD[what])

    # --- text

    @rule(target=writers, policy=st.integers(0, 5), interim=st.booleans())
    def write(self, policy: int, interim: bool) -> Caller:
        caller = self.run(self._open(self.server.translation.StreamingTranslate))
        config = text_pb.TranslationConfig(source_language_code="de", interim_results=interim)
        config.streaming.policy = policy
        caller.is_odd = policy > 4
        caller.say(text_pb.StreamingTranslateRequest(config=config))
        return caller

    @rule(caller=writers, text=st.text(max_size=40), is_end=st.booleans())
    def type_on(self, caller: Caller, text: str, is_end: bool) -> None:
        caller.is_odd |= "\x00" in text
        piece = text_pb.TextInput(text=text, end_of_segment=is_end)
        caller.say(text_pb.StreamingTranslateRequest(input=piece))

    # --- both

    @rule(target=speakers, caller=consumes(speakers))
    def half_close_speech(self, caller: Caller) -> Any:
        self._end(caller)
        return multiple()

    @rule(target=writers, caller=consumes(writers))
    def half_close_text(self, caller: Caller) -> Any:
        self._end(caller)
        return multiple()

    def _end(self, caller: Caller) -> None:
        caller.is_ended = True
        caller.say(END)

    @rule(caller=speakers | writers)
    def vanish(self, caller: Caller) -> None:
        caller.is_odd = True
        caller.call.cancel()

    @rule(fault=st.sampled_from(FAULTS), count=st.integers(1, 3))
    def fail(self, fault: LegonnError, count: int) -> None:
        self.faults += [fault] * count

    @rule()
    def lose_all_state(self) -> None:
        self.server.backend.lose_state()

    @rule(seconds=st.sampled_from([0.0, 0.002, 0.02]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # --- the end

    def teardown(self) -> None:
        try:
            self.run(self._settle())
        finally:
            self.run(self.serving.__aexit__(None, None, None))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def _settle(self) -> None:
        for caller in self.all:
            if not caller.is_ended:
                caller.say(END)
        async with asyncio.timeout(SETTLED_S):
            for caller in self.all:
                assert caller.task is not None
                with contextlib.suppress(asyncio.CancelledError):
                    await caller.task
            services = self.server.gateway.services
            while services.runners or services.text_runners:
                await asyncio.sleep(0.001)
        assert self.server.backend.num_open_slots == 0
        assert not services.workers.pins.counts
        assert services.speech_admission.num_open == services.text_admission.num_open == 0
        for caller in self.all:
            _assert_kept(caller)


def _assert_kept(caller: Caller) -> None:
    if caller.error is not None:
        found = refusal(caller.error)
        if found.message == LOST_RACE:
            return
        assert found.code.name in {*OURS, "CANCELLED"}, found
        assert found.reason or found.code.name == "CANCELLED", found
        return
    if caller.is_odd:
        return
    assert caller.heard[-1].WhichOneof("event") == "summary"
    if isinstance(caller.heard[-1], speech_pb.StreamingRecognizeResponse):
        check = PromiseCheck()
        for place in caller.flushes:
            check.flushed(place)
        for answer in caller.heard:
            seen = client_event(answer)
            assert seen is not None
            check.see(seen)
        assert check.end(caller.num_samples) == ()


GatewayMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SEQUENCES", "20")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestGatewayMachine = pytest.mark.timeout(600)(GatewayMachine.TestCase)
