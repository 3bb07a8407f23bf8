"""The engine in a child process: torch runs there, never beside the event loop.

One socket pair, messages of a 4-byte big-endian length and a pickle of ``(request id, payload)``.
The channel is private to parent and child, so pickle is as safe as the code on both ends. The child
announces its modules with request id 0, and tells how loading goes with id -1. When it dies, calls
in flight fail with ``BackendDown``, slots of the dead one answer ``StateLost``, and a new one is
started; callers replay. When the parent dies, the child reads the end of the socket and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from legonn_core.errors import BackendDown, InternalFault, LegonnError, StateLost
from legonn_core.runtime.messages import (
    BackendHealth,
    DecodeJob,
    DecodeResult,
    EncodeResult,
    EncodeStep,
    EncodeText,
    ModuleDescription,
    ModuleRef,
    SlotRef,
)

_READY, _PROGRESS, _PING = 0, -1, -2
_EPOCHS = 1 << 40
"""Epochs count from anew in each child: the number of the child is added in steps of this."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """How the engine process is started and waited for.

    Attributes:
        command: Program and arguments; ``--fd N`` is appended.
        environment: All variables of the child; None inherits.
        modules: What the first child loads; empty leaves the choice to it.
        start_timeout_s: Longest loading and warming.
        call_timeout_s: Longest wait for one answer.
        load_timeout_s: Longest load of one module beside the others.
        stop_timeout_s: Longest wait for the child to leave by itself.
        max_restart_delay_s: Pause between restarts of a child that dies while it loads.
        min_hang_s: A child is never taken for hung before so long a silence.
        hang_turns: Silence of so many of its own longest turns, as warming measured them, and the
            child is taken for hung and ended.
        ping_interval_s: How often a child is asked whether it is there.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    modules: tuple[ModuleRef, ...] = ()
    start_timeout_s: float = 300.0
    call_timeout_s: float = 120.0
    load_timeout_s: float = 600.0
    stop_timeout_s: float = 5.0
    max_restart_delay_s: float = 10.0
    min_hang_s: float = 3.0
    hang_turns: float = 10.0
    ping_interval_s: float = 0.5

    def hang_after_s(self, turn_seconds: float) -> float:
        """How long a child may be silent whose longest turn takes ``turn_seconds``."""
        return max(self.min_hang_s, self.hang_turns * turn_seconds)


class EmbeddedBackend:
    """``Backend`` over one child process; see the module's docstring.

    Args:
        options: How to start it.
        on_progress: Told how loading goes.
        on_state: Told True when all modules serve, False when the child is gone.

    Attributes:
        engine_pid: The newest child, for those who watch its memory; 0 before the first.
    """

    def __init__(
        self,
        options: EmbeddedOptions,
        *,
        on_progress: Callable[[str], None] = lambda _: None,
        on_state: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._on_progress = on_progress
        self._on_state = on_state
        self._ids = itertools.count(1)
        self._generation = 0
        self.engine_pid = 0
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._orphans: set[int] = set()
        self._modules: dict[ModuleRef, ModuleDescription] | None = None
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._first_start: asyncio.Future[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._turn_seconds = 0.0
        self._was_heard = False

    # --- life

    async def start(self) -> None:
        """Start the child and wait until its modules are loaded and warm.

        Raises:
            LegonnError: What the child said, or BackendDown if it died or took too long.
        """
        self._first_start = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(), name="engine supervisor")
        try:
            async with asyncio.timeout(self._options.start_timeout_s):
                await self._first_start
        except TimeoutError:
            await self.stop()
            raise BackendDown("the engine did not finish loading in time") from None
        except LegonnError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask the child to leave, and end it if it does not."""
        self._stopping.set()
        self._ready.clear()
        self._send(("shutdown",))
        if self._supervisor is not None:
            await self._supervisor

    async def _supervise(self) -> None:
        """Keep a child alive until ``stop``."""
        failures = 0
        while not self._stopping.is_set():
            was_ready = await self._live_once()
            failures = 0 if was_ready else failures + 1
            if self._first_start is not None and not self._first_start.done():
                self._first_start.set_exception(BackendDown("the engine died while it started"))
            delay = min(0.2 * 2**failures, self._options.max_restart_delay_s) if failures else 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _live_once(self) -> bool:
        """One child from start to end.

        Returns:
            Whether it ever served.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C in the terminal is for the gateway, which then drains.
            process = await asyncio.create_subprocess_exec(
                *self._options.command,
                *self._wanted(),
                "--fd",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                env=self._options.environment,
                start_new_session=True,
            )
        self.engine_pid = process.pid
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._generation += 1
        was_ready = False
        watchdog = asyncio.create_task(self._watch(process), name="engine watchdog")
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                request_id, result = pickle.loads(await reader.readexactly(length))
                self._was_heard = True
                self._on_answer(request_id, result)
                was_ready = was_ready or self._ready.is_set()
        except (asyncio.IncompleteReadError, ConnectionError):
            return was_ready
        finally:
            watchdog.cancel()
            self._on_gone()
            await self._end(process)

    def _wanted(self) -> tuple[str, ...]:
        """A child that replaces another loads what was in service, whatever the store has now."""
        refs = sorted(self._modules) if self._modules is not None else self._options.modules
        return tuple(f"--load={ref}" for ref in refs)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """End a child that serves and answers nothing: its streams are replayed on the next one.

        The silence is counted in turns of this loop, so that a gateway that was itself held up
        does not blame its child.
        """
        self._turn_seconds = silent_s = 0.0
        loop, interval = asyncio.get_running_loop(), self._options.ping_interval_s
        last = loop.time()
        while True:
            await asyncio.sleep(interval)
            elapsed, last = min(loop.time() - last, 2 * interval), loop.time()
            if not self._ready.is_set():
                continue
            if self._was_heard:
                self._was_heard, silent_s = False, 0.0
                self._send(("health",), request_id=_PING)
                continue
            silent_s += elapsed
            limit = self._options.hang_after_s(self._turn_seconds)
            if silent_s > limit:
                self._on_progress(f"the engine did not answer for {limit:.1f} s and is ended")
                process.kill()
                return

    def _on_gone(self) -> None:
        """The channel is closed: nobody waits on the dead."""
        self._ready.clear()
        self._on_state(self._ready.is_set())
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._orphans.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(
                    BackendDown("the engine ended while it worked on this", was_running=True)
                )

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self._options.stop_timeout_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    # --- messages

    def _on_answer(self, request_id: int, result: object) -> None:
        if request_id == _PROGRESS:
            self._on_progress(str(result))
        elif request_id == _READY:
            self._on_loaded(result)
        elif request_id == _PING:
            if isinstance(result, BackendHealth):
                self._turn_seconds = result.turn_seconds
        elif request_id in self._orphans:
            self._orphans.discard(request_id)
            if isinstance(result, SlotRef):
                self._send(("close_slot", result))
        else:
            future = self._pending.get(request_id)
            if future is None or future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(_ours(result))
            else:
                future.set_result(result)

    def _on_loaded(self, result: object) -> None:
        """The child's first word: its modules, or why there are none."""
        first = self._first_start
        if isinstance(result, BaseException):
            self._on_progress(f"the engine could not start: {result}")
            if first is not None and not first.done():
                first.set_exception(_ours(result))
            return
        found = {one.ref: one for one in _as_modules(result)}
        wanted = self._modules
        if wanted is not None:
            # A restarted child reads the folder again: bring it to what was in service.
            for ref in wanted.keys() - found.keys():
                self._send(("load", ref))
            for ref in found.keys() - wanted.keys():
                self._send(("unload", ref))
        else:
            self._modules = found
        self._ready.set()
        self._on_state(self._ready.is_set())
        if first is not None and not first.done():
            first.set_result(None)

    def _send(self, payload: object, *, request_id: int | None = None) -> None:
        """Write one message; without a request id nobody waits for its answer."""
        if self._writer is None:
            return
        number = next(self._ids) if request_id is None else request_id
        content = pickle.dumps((number, payload), protocol=pickle.HIGHEST_PROTOCOL)
        self._writer.write(len(content).to_bytes(4, "big") + content)

    async def _call(
        self,
        payload: object,
        answer: type[_T],
        *,
        keeps_slot: bool = False,
        timeout_s: float | None = None,
    ) -> _T:
        """Send a request and wait for its answer; both within one deadline."""
        request_id = next(self._ids)
        is_sent = False
        try:
            async with asyncio.timeout(timeout_s or self._options.call_timeout_s):
                if not self._ready.is_set():
                    if self._stopping.is_set():
                        raise BackendDown("the engine is stopped")
                    await self._ready.wait()
                future = asyncio.get_running_loop().create_future()
                self._pending[request_id] = future
                self._send(payload, request_id=request_id)
                is_sent = True
                result = await future
        except (TimeoutError, asyncio.CancelledError) as error:
            if is_sent:
                self._abandon(request_id, keeps_slot=keeps_slot)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise BackendDown("the engine did not answer in time") from None
        finally:
            self._pending.pop(request_id, None)
        if not isinstance(result, answer):
            raise InternalFault(f"the engine answered {type(result).__name__}")
        return result

    def _abandon(self, request_id: int, *, keeps_slot: bool) -> None:
        """The caller left: drop the work, or give back the slot when it comes after all."""
        if keeps_slot:
            self._orphans.add(request_id)
        else:
            self._send(("cancel", request_id))

    def _inner(self, slot: SlotRef) -> SlotRef:
        generation, epoch = divmod(slot.epoch, _EPOCHS)
        if generation != self._generation or not self._ready.is_set():
            raise StateLost("the engine that held the stream's state is gone")
        return replace(slot, epoch=epoch)

    # --- the protocol

    async def describe(self) -> tuple[ModuleDescription, ...]:
        """The modules in service."""
        return tuple((self._modules or {}).values())

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Read one version from the module store."""
        longest = self._options.load_timeout_s
        found = await self._call(("load", ref), ModuleDescription, timeout_s=longest)
        self._modules = {**(self._modules or {}), ref: found}
        return found

    async def unload(self, ref: ModuleRef) -> None:
        """Forget one version, here first: a child that starts meanwhile does not load it again."""
        self._modules = {one: what for one, what in (self._modules or {}).items() if one != ref}
        await self._call(("unload", ref), object)

    async def open(self, ref: ModuleRef) -> SlotRef:
        """Take a slot, in the child that is alive now."""
        slot = await self._call(("open", ref), SlotRef, keeps_slot=True)
        return replace(slot, epoch=self._generation * _EPOCHS + slot.epoch)

    async def step(self, request: EncodeStep) -> EncodeResult:
        """Feed one chunk."""
        return await self._call(replace(request, slot=self._inner(request.slot)), EncodeResult)

    async def close_slot(self, slot: SlotRef) -> None:
        """Give a slot back, without waiting for the answer."""
        with contextlib.suppress(StateLost):
            self._send(("close_slot", self._inner(slot)))

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence."""
        return await self._call(request, EncodeResult)

    async def decode(self, job: DecodeJob) -> DecodeResult:
        """Decode one segment."""
        return await self._call(job, DecodeResult)

    async def health(self) -> BackendHealth:
        """What the child says of itself; not alive while it is down or restarting."""
        if not self._ready.is_set():
            return BackendHealth(is_alive=False, detail="starting" if self._writer else "down")
        return await self._call(("health",), BackendHealth)


def _ours(error: BaseException) -> LegonnError:
    """Errors of the tree pass; anything else is a fault of the engine."""
    if isinstance(error, LegonnError):
        return error
    return InternalFault(f"the engine failed with {type(error).__name__}")


def _as_modules(result: object) -> tuple[ModuleDescription, ...]:
    if not isinstance(result, tuple):
        raise InternalFault(f"the engine announced itself with {type(result).__name__}")
    return result
