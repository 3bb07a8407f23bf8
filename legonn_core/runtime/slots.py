"""Rows of state and who holds them: each use named (slot, epoch), freed rows zeroed.

A stale name touches nothing, so an answer that comes too late can harm nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from legonn_core.errors import AdmissionRefused, ProtocolViolation, StateLost


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One slot at one moment.

    Attributes:
        epoch: How often the slot has been given out; names the current use.
        next_seq: The only step that may come next.
        is_open: Whether somebody holds it.
        is_idle: Whether nothing came since the last ``reap``.
    """

    epoch: int = 0
    next_seq: int = 0
    is_open: bool = False
    is_idle: bool = False


class SlotTable:
    """Hands out numbered slots; knows nothing of what is stored in them.

    Args:
        capacity: How many slots there are.
    """

    def __init__(self, capacity: int) -> None:
        self._uses = [SlotUse() for _ in range(capacity)]

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return len(self._uses)

    @property
    def num_open(self) -> int:
        """Slots held now."""
        return sum(use.is_open for use in self._uses)

    def open(self) -> tuple[int, int]:
        """Take a free slot.

        Returns:
            Slot and epoch.

        Raises:
            AdmissionRefused: If all are held.
        """
        for slot, use in enumerate(self._uses):
            if not use.is_open:
                self._uses[slot] = SlotUse(use.epoch + 1, 0, is_open=True)
                return slot, use.epoch + 1
        raise AdmissionRefused(f"all {len(self._uses)} encoder slots are in use; try again soon")

    def holds(self, slot: int, epoch: int) -> bool:
        """Whether this use is still current."""
        return (
            0 <= slot < len(self._uses)
            and self._uses[slot].is_open
            and self._uses[slot].epoch == epoch
        )

    def advance(self, slot: int, epoch: int, seq: int) -> None:
        """Count a step.

        Raises:
            StateLost: If this use is over.
            ProtocolViolation: If ``seq`` is not the next one.
        """
        if not self.holds(slot, epoch):
            raise StateLost(f"slot {slot} epoch {epoch} is not held any more")
        use = self._uses[slot]
        if seq != use.next_seq:
            raise ProtocolViolation(f"slot {slot}: step {seq} came where {use.next_seq} was due")
        self._uses[slot] = replace(use, next_seq=seq + 1, is_idle=False)

    def reap(self) -> list[tuple[int, int]]:
        """Slots that nobody fed since the last call, which are marked now for the next.

        Returns:
            Slot and epoch of each; they are still open.
        """
        held = [(slot, use) for slot, use in enumerate(self._uses) if use.is_open]
        for slot, use in held:
            self._uses[slot] = replace(use, is_idle=True)
        return [(slot, use.epoch) for slot, use in held if use.is_idle]

    def close(self, slot: int, epoch: int) -> bool:
        """Free a slot; a stale name frees nothing.

        Returns:
            Whether the slot was freed now.
        """
        if not self.holds(slot, epoch):
            return False
        self._uses[slot] = replace(self._uses[slot], is_open=False)
        return True
