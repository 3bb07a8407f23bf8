"""One Triton server: one connection, what is in flight on it, and whether it can be relied on.

Triton says READY of a model whose process died, answers for it with an error after a second, and
leaves an open decode without any word. So nothing here believes in readiness: an endpoint is up
while calls and probes are answered in time, and one that is lost fails all of its calls at once.
Foreign exceptions end here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import numpy as np
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from legonn_core.errors import (
    BackendDown,
    BadModule,
    InternalFault,
    LegonnError,
    UnknownModule,
)
from legonn_core.interface.tables import read_table
from legonn_core.runtime import wire
from legonn_core.runtime.messages import ModuleDescription
from legonn_core.runtime.wire import ANSWER, CALL, MARGINALS, SAMPLES, Answer, Call, Fault, Letter
from legonn_server.backends.triton_options import TritonOptions

_CHANNEL_OPTIONS = [
    # Given options replace the library's own: message sizes and keepalive must be said again.
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that comes back is found in 0.7 s instead of 4.4 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),  # a retry below us would feed a chunk twice
    ("grpc.use_local_subchannel_pool", 1),
]

READY = "READY"
"""State of a loaded model in the server's index; its process may be dead all the same."""

_OUR_WORDS = re.compile(r"<([A-Z_]+)> ([^\n]+)")

_END_S = 0.5
"""Longest wait for the end of a stream whose answer is here."""

_T = TypeVar("_T")


@dataclass(slots=True)
class TritonEndpoint:
    """See the module's docstring.

    Attributes:
        address: ``HOST:PORT``.
        options: How it is used.
        on_change: Told when it came up or was lost.
        is_up: Whether it may be given work.
        generation: Counts how often it was lost; slots of an older one are gone.
        num_in_flight: Calls that wait for it now.
        owed: Slots to give back when it can be reached again.
        heard: When each model last answered, in loop time.
    """

    address: str
    options: TritonOptions
    on_change: Callable[[], None]
    is_up: bool = False
    generation: int = 0
    num_in_flight: int = 0
    owed: list[tuple[str, Call]] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    _cutoffs: set[asyncio.Timeout] = field(default_factory=set)
    _client: Any = None

    def connect(self) -> None:
        """Make the one connection; it is built when it is first used."""
        self._client = InferenceServerClient(self.address, channel_args=_CHANNEL_OPTIONS)

    async def close(self) -> None:
        """Cut what is in flight and give the connection back."""
        self.lose()
        await asyncio.sleep(0)  # those who were cut leave before their connection does
        if self._client is not None:
            await self._client.close()

    def lose(self) -> None:
        """Rely on it no longer: everybody who waits for it hears so now."""
        was_up, self.is_up = self.is_up, False
        self.generation += was_up
        now = asyncio.get_running_loop().time()
        for cutoff in tuple(self._cutoffs):
            if not cutoff.expired():  # else it is about to say so itself
                cutoff.reschedule(now)
        self.lost.set()
        if was_up:
            self.on_change()

    def trust(self) -> None:
        """It answers for all its modules: give it work."""
        self.lost.clear()
        self.is_up = True
        self.on_change()

    # --- calls

    async def ask(self, model: str, call: Call, **samples: Any) -> Answer:
        """One call to an encoder, or a probe of one.

        Raises:
            LegonnError: What the module said, or BackendDown if nothing was said in time.
        """
        letter = wire.write_call(call, **samples)
        inputs = [_strings(CALL, [letter.text], shape=[1, 1])]
        if letter.samples.size:
            inputs.append(_floats(SAMPLES, letter.samples))
        answered = await self._within(
            self._client.infer(model, inputs), self.options.call_timeout_seconds
        )
        return self._read(model, answered)

    async def probe(self, model: str, *, is_decoder: bool) -> None:
        """A real, tiny inference, which is what ready should mean.

        Raises:
            LegonnError: If it fails, or is not answered in time.
        """
        limit = self.options.probe_timeout_seconds
        letter = wire.write_call(Call(wire.Op.PROBE))
        if is_decoder:
            await self._stream(model, letter, limit)
            return
        inputs = [_strings(CALL, [letter.text], shape=[1, 1])]
        self._read(model, await self._within(self._client.infer(model, inputs), limit))

    async def decode(self, model: str, call: Call) -> Answer:
        """One decode on a stream of its own, so that an unload never waits for others.

        Raises:
            LegonnError: What the decoder said, or BackendDown if it fell silent.
        """
        return await self._stream(model, wire.write_call(call), self.options.silence_seconds)

    async def _stream(self, model: str, letter: Letter, silence: float) -> Answer:
        blocks = list(letter.blocks) or [b""]
        inputs = [
            _strings(CALL, [letter.text], shape=[1]),
            _strings(MARGINALS, blocks, shape=[len(blocks)]),
        ]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "inputs": inputs}

        answers = self._client.stream_infer(requests())
        try:
            while True:
                try:
                    result, error = await self._within(anext(answers), silence)
                except StopAsyncIteration:
                    raise BackendDown("the decoder ended without an answer") from None
                if error is not None:
                    raise mapped(error) from error
                try:
                    answer = self._read(model, result)
                except LegonnError:
                    await self._end_of(answers)
                    raise
                is_beat = answer.decoded is None and answer.health is None
                if not is_beat:
                    await self._end_of(answers)
                    return answer
        finally:
            answers.cancel()

    async def _end_of(self, answers: AsyncIterator[Any]) -> None:
        """Let a stream that has said all end by itself.

        One that is cancelled while the server ends it stays open there, and its model loaded.
        """
        with contextlib.suppress(
            StopAsyncIteration, TimeoutError, InferenceServerException, grpc.aio.AioRpcError
        ):
            async with asyncio.timeout(_END_S):
                await anext(answers)

    def _read(self, model: str, result: InferResult) -> Answer:
        """The answer in a response; hearing anything of a model is a sign of life."""
        self.heard[model] = asyncio.get_running_loop().time()
        text, block = result.as_numpy(ANSWER), result.as_numpy(MARGINALS)
        if text is None or text.size != 1:
            raise InternalFault(f"{model} answered without {ANSWER}")
        blocks = () if block is None else tuple(block.ravel())
        answer = wire.read_answer(Letter(text.ravel()[0], blocks=blocks))
        if answer.fault is not None:
            raise answer.fault.error()
        return answer

    async def _within(self, work: Awaitable[_T], limit: float) -> _T:
        """Wait for work, at most so long, and no longer than the endpoint is relied on."""
        self.num_in_flight += 1
        try:
            async with asyncio.timeout(limit) as cutoff:
                self._cutoffs.add(cutoff)
                try:
                    return await work
                finally:
                    self._cutoffs.discard(cutoff)
        except TimeoutError:
            raise BackendDown(f"Triton at {self.address} did not answer in time") from None
        except (InferenceServerException, grpc.aio.AioRpcError) as error:
            raise mapped(error) from error
        finally:
            self.num_in_flight -= 1

    # --- models

    async def index(self) -> dict[str, str]:
        """Every model of the repository, loaded or not, with its state."""
        limit = self.options.probe_timeout_seconds
        found = await self._within(self._client.get_model_repository_index(), limit)
        return {model.name: model.state for model in found.models}

    async def load(self, model: str) -> None:
        """Load a model and wait for it.

        Raises:
            LegonnError: Why the module refused to serve.
        """
        limit = self.options.load_timeout_seconds
        try:
            await self._within(self._client.load_model(model), limit)
        except (BackendDown, InternalFault) as error:
            # Whether the server died with it, the next probe will tell.
            raise BadModule(f"{model} could not be loaded by Triton at {self.address}") from error

    async def unload(self, model: str) -> None:
        """Ask for a model to be unloaded; what is in flight is finished first."""
        limit = self.options.call_timeout_seconds
        await self._within(self._client.unload_model(model), limit)
        self.heard.pop(model, None)

    async def num_calls(self, model: str) -> int:
        """How many calls of a model the server has begun, whoever made them; 0 if it is gone."""
        limit = self.options.probe_timeout_seconds
        try:
            found = await self._within(self._client.get_inference_statistics(model), limit)
        except (UnknownModule, InternalFault):  # 2.51 says INVALID_ARGUMENT of one that is gone
            return 0
        # A decode counts as executed when it begins; of calls that failed only the failure counts.
        return sum(
            stats.execution_count + stats.inference_stats.fail.count for stats in found.model_stats
        )

    async def describe(self, model: str) -> ModuleDescription:
        """The module that a loaded model serves."""
        limit = self.options.call_timeout_seconds
        found = await self._within(self._client.get_model_config(model), limit)
        text = found.config.parameters["DESCRIPTION"].string_value
        try:
            return read_table(ModuleDescription, json.loads(text))
        except ValueError as error:
            raise InternalFault(f"{model} was not exported by this version") from error


def mapped(error: InferenceServerException | grpc.aio.AioRpcError) -> LegonnError:
    """Our error for one of the client library.

    Reasons of our own, which a module wrote when it refused to load, are read back; a model that
    is not there is unknown; everything else means that the server cannot be relied on.
    """
    if isinstance(error, InferenceServerException):
        text, status = str(error.message()), str(error.status())
    else:
        text, status = str(error.details()), str(error.code())
    if ours := _OUR_WORDS.search(text):
        return Fault(ours[1], ours[2]).error()
    if "Stub process" in text:  # its process died, with this call or just before it
        return BackendDown("a module's process ended while it worked on this", was_running=True)
    if status.endswith("NOT_FOUND") or "unknown model" in text:
        return UnknownModule("the model is not loaded on its Triton server")
    if status.endswith(("INVALID_ARGUMENT", "UNIMPLEMENTED")):
        return InternalFault("the Triton server does not take what this gateway sends")
    return BackendDown(f"the Triton server failed ({status.rpartition('.')[2] or 'no status'})")


def _strings(name: str, values: list[bytes], *, shape: list[int]) -> InferInput:
    tensor = InferInput(name, shape, "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object).reshape(shape))
    return tensor


def _floats(name: str, values: np.ndarray[Any, np.dtype[np.float32]]) -> InferInput:
    tensor = InferInput(name, [1, len(values)], "FP32")
    tensor.set_data_from_numpy(values[None])
    return tensor
