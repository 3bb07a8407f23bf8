"""A version is tried in a process of its own before the engine loads it.

Weights that crash the reader, hang it or compute nonsense end that process and nothing else. It
runs at a lower priority, so that streams notice little of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from legonn_core.errors import BadModule, LegonnError, UnknownModule, error_classes
from legonn_core.runtime.messages import ModuleRef

OnState = Callable[[str], None]
CARD = "card.toml"


class Rehearsal(Protocol):
    """Finds out whether a version is fit for service, at no risk."""

    def find(self, ref: ModuleRef) -> None:
        """Look whether the store has the version.

        Raises:
            UnknownModule: If not.
        """

    async def run(self, ref: ModuleRef, partners: Sequence[ModuleRef], on_state: OnState) -> None:
        """Check a version.

        Args:
            ref: The version.
            partners: Versions in service, which it may meet.
            on_state: Told when it comes to ``checking``.

        Raises:
            LegonnError: Why it may not serve.
        """


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """How the process is started.

    Attributes:
        command: Program and arguments; ``--with REF`` for each partner and ``NAME/VERSION`` follow.
        store: The module store.
        environment: All variables of the process; None inherits.
        timeout_s: Longest rehearsal.
    """

    command: tuple[str, ...]
    store: Path
    environment: Mapping[str, str] | None = None
    timeout_s: float = 300.0


class ProcessRehearsal:
    """``Rehearsal`` in a child process; see the module's docstring."""

    def __init__(self, options: RehearsalOptions) -> None:
        self._options = options

    def find(self, ref: ModuleRef) -> None:
        """Look whether the store lists the version; a name is never made into a path."""
        versions = {
            (p.parent.parent.name, p.parent.name) for p in self._options.store.glob(f"*/*/{CARD}")
        }
        if (ref.name, ref.version) not in versions:
            raise UnknownModule(f"the module store has no {ref}")

    async def run(self, ref: ModuleRef, partners: Sequence[ModuleRef], on_state: OnState) -> None:
        """Run the process to its end, passing on what it says."""
        self.find(ref)
        process = await asyncio.create_subprocess_exec(
            *self._options.command,
            *(f"--with={partner}" for partner in partners),
            str(ref),
            env=self._options.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        last: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._options.timeout_s):
                assert process.stdout is not None
                async for line in process.stdout:
                    last = _read(line)
                    if "state" in last:
                        on_state(last["state"])
                code = await process.wait()
        except TimeoutError:
            limit = self._options.timeout_s
            raise BadModule(f"{ref} was not checked within {limit:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code or "error" in last:
            raise _error(ref, last, code)


def _read(line: bytes) -> dict[str, str]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {}


def _error(ref: ModuleRef, said: Mapping[str, str], code: int) -> LegonnError:
    """The error that the process told, or that it died."""
    for cls in error_classes():
        if cls.reason == said.get("error"):
            return cls(said.get("message", ""))
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return BadModule(f"{ref} ended the process that checks it ({how}); it may not serve")
