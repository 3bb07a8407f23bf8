"""What every home of modules can do: the only way from the gateway to weights."""

from __future__ import annotations

from typing import Protocol

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


class Backend(Protocol):
    """Runs modules for many streams at once.

    Every method may raise ``BackendDown`` (the engine is gone; another try may find the next one).
    A caller that is cancelled while it waits leaves nothing behind: no slot, no queued work.
    """

    async def start(self) -> None:
        """Load and warm the modules; returns when all of them serve."""

    async def stop(self) -> None:
        """Give everything back; calls in flight fail with ``BackendDown``."""

    async def describe(self) -> tuple[ModuleDescription, ...]:
        """The modules that are loaded."""

    async def load(self, ref: ModuleRef) -> ModuleDescription:
        """Read one version from the module store, after its contract was checked.

        Raises:
            UnknownModule: If the store has no such version.
            ContractMismatch: If it fits no loaded module, or its files are damaged.
        """

    async def unload(self, ref: ModuleRef) -> None:
        """Forget one version; its open slots are lost."""

    async def open(self, ref: ModuleRef) -> SlotRef:
        """Take a slot of a speech encoder.

        Raises:
            UnknownModule: If the version is not loaded.
            Overloaded: If all slots are taken.
        """

    async def step(self, request: EncodeStep) -> EncodeResult:
        """Feed one chunk of one stream.

        Raises:
            StateLost: If the slot's state is gone.
        """

    async def close_slot(self, slot: SlotRef) -> None:
        """Give a slot back; closing one that is gone does nothing."""

    async def encode_text(self, request: EncodeText) -> EncodeResult:
        """Encode one sentence."""

    async def decode(self, job: DecodeJob) -> DecodeResult:
        """Decode one segment; the same job gives the same answer anywhere."""

    async def health(self) -> BackendHealth:
        """Whether the engine answers, and how busy it is."""
