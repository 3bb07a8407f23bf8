"""Drives a streaming speech encoder for many streams: one batch a step, state in a slot table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.errors import BadAudio, LegonnError, LimitExceeded, NonFiniteMarginals
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.nn.state import EncoderState
from legonn_core.runtime.isolation import run_isolated
from legonn_core.runtime.messages import EncodeResult, EncodeStep, SlotRef
from legonn_core.runtime.slots import SlotTable
from legonn_core.search.prefix import PrefixSearch, PrefixState

SILENCE_AFTER_SECONDS = 0.4
"""Silence appended to a segment, so that its last word's rows have their right context."""

LOUDEST = 2.0
"""A resampler's overshoot stays below it; whole numbers in place of [-1, 1] do not."""

BLANK_ROW = 0.8
"""A row is silent where blank is at least this probable."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine remembers of a stream beside the encoder's tensors."""

    rows: int = 0
    chunks: int = 0
    blank_rows: int = 0
    prefix: PrefixState = field(default_factory=PrefixSearch().start)


def calibrated(logits: Tensor, temperature: float, blank_bias: float) -> Tensor:
    """Log-probabilities (..., V) float32 after the card's calibration (legonn.md: z / t + b)."""
    scaled = logits.float() / temperature
    scaled[..., 0] += blank_bias
    return scaled.log_softmax(dim=-1)


class EncoderEngine:
    """Steps of one speech encoder version.

    Args:
        module: Loaded speech encoder.
        capacity: Streams at once.
    """

    def __init__(self, module: LoadedModule, *, capacity: int) -> None:
        assert isinstance(module.network, SpeechEncoder)
        self.module, self.network = module, module.network
        self.slots = SlotTable(capacity)
        self._state = self.network.start(capacity)
        self._heard = [Heard() for _ in range(capacity)]
        self._search = PrefixSearch()

    def open(self) -> SlotRef:
        """Give out a fresh slot; raises AdmissionRefused when there is none."""
        slot, epoch = self.slots.open()
        self._heard[slot] = Heard()
        return SlotRef(self.module.ref, slot, epoch)

    def close(self, slot: SlotRef) -> None:
        """Free a slot and zero its rows; stale names are ignored."""
        if self.slots.close(slot.slot, slot.epoch):
            self._state.reset(torch.tensor([slot.slot], device=self.module.device))
            self._heard[slot.slot] = Heard()

    def reap(self) -> int:
        """Close the slots that nobody fed since the last call.

        A stream that comes back finds its state lost and is heard again from its buffer.

        Returns:
            How many were closed.
        """
        idle = self.slots.reap()
        for slot, epoch in idle:
            self.close(SlotRef(self.module.ref, slot, epoch))
        return len(idle)

    def step(self, requests: Sequence[EncodeStep]) -> list[EncodeResult | LegonnError]:
        """Run one chunk of each stream, at most one a slot.

        Returns:
            Results in the order of the requests; a refused one harms no other.
        """
        answers: list[EncodeResult | LegonnError] = [LegonnError() for _ in requests]
        running: list[tuple[int, EncodeStep, list[NDArray[np.float32]]]] = []
        for index, request in enumerate(requests):
            try:
                chunks = self._chunks(request)
                self.slots.advance(request.slot.slot, request.slot.epoch, request.seq)
                running.append((index, request, chunks))
            except LegonnError as error:
                answers[index] = error
        blocks: dict[int, list[Marginals]] = {index: [] for index, _, _ in running}
        for turn in range(max((len(chunks) for _, _, chunks in running), default=0)):
            batch = [entry for entry in running if turn < len(entry[2]) and entry[0] in blocks]
            if not batch:
                break
            chunks_now = [(request.slot.slot, chunks[turn]) for _, request, chunks in batch]
            found = run_isolated(chunks_now, self._forward)
            for (index, _, _), block in zip(batch, found, strict=True):
                if isinstance(block, Marginals):
                    blocks[index].append(block)
                else:
                    answers[index] = block
                    del blocks[index]
        for index, request, _ in running:
            if index in blocks:
                answers[index] = self._answer(request, Marginals.concatenate(blocks[index]))
            if request.is_last or index not in blocks:
                self.close(request.slot)
        return answers

    def _chunks(self, request: EncodeStep) -> list[NDArray[np.float32]]:
        """Whole chunks of a request; the last request's is followed by silence."""
        size = self.network.shape.chunk_samples
        samples = np.asarray(request.samples, dtype=np.float32)
        if (
            samples.ndim != 1
            or (len(samples) > size)
            or (len(samples) < size and not request.is_last)
        ):
            raise BadAudio(f"a step takes {size} samples, not an array of shape {samples.shape}")
        if not np.abs(samples).max(initial=0.0) <= LOUDEST:  # NaN too
            raise BadAudio("samples are not numbers in [-1, 1]")
        count = 1
        if request.is_last:
            count = -(-(len(samples) + int(SILENCE_AFTER_SECONDS * SAMPLE_RATE)) // size)
        slot = request.slot.slot
        if self.slots.holds(slot, request.slot.epoch):
            limit = self.network.shape.max_chunks
            if self._heard[slot].chunks + count > limit:
                seconds = limit * size / SAMPLE_RATE
                raise LimitExceeded(f"a segment may last {seconds:.0f} seconds; end it and go on")
        padded = np.zeros(count * size, dtype=np.float32)
        padded[: len(samples)] = samples
        return list(padded.reshape(count, size))

    @torch.inference_mode()
    def _forward(
        self, chunks: Sequence[tuple[int, NDArray[np.float32]]]
    ) -> list[Marginals | LegonnError]:
        """One chunk of each slot; a slot whose rows are no distributions gives the error.

        State is written last, so that nothing has changed when this raises.
        """
        slots = [slot for slot, _ in chunks]
        rows, found, state = self.compute(slots, np.stack([samples for _, samples in chunks]))
        log_probs = found.cpu().numpy()
        card = self.module.card
        contract = card.contract
        assert card.chunk is not None
        blocks: list[Marginals | LegonnError] = []
        listened: dict[int, Heard] = {}
        for slot, values in zip(slots, log_probs, strict=True):
            heard = self._heard[slot]
            skip = self.network.shape.held_rows if heard.chunks == 0 else 0
            count = len(values) - skip
            index = np.arange(heard.rows, heard.rows + count)
            try:
                block = Marginals.from_dense(
                    values[skip:],
                    contract.top_k,
                    times_ms=((index + 0.5) * card.chunk.row_ms).astype(np.int32),
                    fingerprint=contract.fingerprint,
                    first_position=heard.rows,
                )
            except NonFiniteMarginals as error:
                blocks.append(error)
                continue
            listened[slot] = self._listen(heard, block)
            blocks.append(block)
        self._state.write(rows, state)
        for slot, heard in listened.items():
            self._heard[slot] = heard
        return blocks

    def compute(
        self, slots: Sequence[int], samples: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor, EncoderState]:
        """One chunk of some slots, where the network is: samples go there once, in one copy.

        Args:
            slots: B different slots; their state is read and not changed.
            samples: (B, N) float32.

        Returns:
            The slots as row numbers, log-probabilities (B, rows, V) and the new state, all there.
        """
        device, calibration = self.module.device, self.module.card.calibration
        rows = torch.tensor(slots, device=device)
        heard = torch.from_numpy(samples).to(device)
        logits, state = self.network.step(heard, self._state.rows(rows))
        return rows, calibrated(logits, calibration.temperature, calibration.blank_bias), state

    def _listen(self, heard: Heard, block: Marginals) -> Heard:
        silent = np.exp(block.log_probs_of(0)) >= BLANK_ROW
        trailing = int(np.argmin(silent[::-1])) if not silent.all() else len(silent)
        return replace(
            heard,
            rows=block.end_position,
            chunks=heard.chunks + 1,
            blank_rows=trailing + (heard.blank_rows if silent.all() else 0),
            prefix=self._search.advance(heard.prefix, block),
        )

    def _answer(self, request: EncodeStep, block: Marginals) -> EncodeResult:
        heard = self._heard[request.slot.slot]
        assert self.module.card.chunk is not None
        return EncodeResult(
            marginals=codec.encode(block),
            num_rows=len(block),
            total_rows=heard.rows,
            best=self._search.best(heard.prefix),
            trailing_blank_ms=int(heard.blank_rows * self.module.card.chunk.row_ms),
            blank_probs=tuple(np.exp(block.log_probs_of(0)).tolist()),
            times_ms=tuple(block.times_ms.tolist()),
        )
