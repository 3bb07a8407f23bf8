"""Modules run as they are served, but in reach: rows before they are cut, searches with any rows.

The engines of ``runtime`` put rows on the wire at once; experiments need them whole. What is
computed is the same: the card's calibration, the same steps for speech, the same joint search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.decoders.decoder import Decoder, Memory
from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.nn.transformer import KeysValues
from legonn_core.runtime.decoder_engine import PEAKS
from legonn_core.runtime.encoder_engine import SILENCE_AFTER_SECONDS, calibrated
from legonn_core.search import lanes
from legonn_core.search.joint import JointBeamSearch, JointSettings
from legonn_core.train.losses import cross_entropy, decoder_inputs

Rows = NDArray[np.float32]
BATCH = 16
MAX_WIRE_CLASSES = 255
"""The codec's limit of classes a row."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What crosses: the best ``top_k`` classes of a row, as 8-bit codes or as they are.

    Attributes:
        top_k: Classes a row; 0 for all.
        is_coded: Whether log-probabilities go through the 8-bit codec.
    """

    top_k: int
    is_coded: bool = True

    def __str__(self) -> str:
        return f"top {self.top_k or 'all'}, {'8-bit' if self.is_coded else 'float'}"

    def carry(self, rows: Rows, *, fingerprint: str) -> Marginals:
        """What the other side receives of (U, V) natural logarithms."""
        count = rows.shape[1] if self.top_k == 0 else self.top_k
        if self.is_coded:
            count = min(count, MAX_WIRE_CLASSES)
        times = np.arange(len(rows))
        sent = Marginals.from_dense(rows, count, times_ms=times, fingerprint=fingerprint)
        return codec.decode(codec.encode(sent)) if self.is_coded else sent


@torch.inference_mode()
def text_rows(module: LoadedModule, sentences: Sequence[str]) -> list[Rows]:
    """Calibrated natural logarithms (U, V) of each sentence.

    Sentences longer than the encoder reads are cut at its limit.
    """
    assert isinstance(module.network, TextEncoder) and module.source is not None
    network, limit = module.network, module.network.shape.max_tokens
    cut = [(module.source.encode(text) or [0])[:limit] for text in sentences]
    order = sorted(range(len(cut)), key=lambda index: len(cut[index]))
    found: list[Rows] = [np.empty((0, 0), np.float32)] * len(cut)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        lengths = torch.tensor([len(cut[index]) for index in chosen])
        padded = torch.zeros(len(chosen), int(lengths.max()), dtype=torch.long)
        for row, index in enumerate(chosen):
            padded[row, : len(cut[index])] = torch.tensor(cut[index])
        logits, rows = network(padded, lengths)
        values = _calibrated(module, logits)
        for row, index in enumerate(chosen):
            found[index] = values[row, : int(rows[row])].copy()
    return found


@torch.inference_mode()
def speech_rows(module: LoadedModule, samples: NDArray[np.float32]) -> list[Rows]:
    """Calibrated natural logarithms of one recording, a block (U, V) for each chunk heard.

    Args:
        module: A speech encoder.
        samples: (N,) in [-1, 1] at 16 kHz, at most the encoder's longest segment.

    Raises:
        ValueError: If it is longer.
    """
    assert isinstance(module.network, SpeechEncoder)
    network, size = module.network, module.network.shape.chunk_samples
    count = -(-(len(samples) + int(SILENCE_AFTER_SECONDS * SAMPLE_RATE)) // size)
    if count > network.shape.max_chunks:
        raise ValueError(f"{count} chunks, a segment has at most {network.shape.max_chunks}")
    padded = np.zeros(count * size, dtype=np.float32)
    padded[: len(samples)] = samples
    state, blocks = network.start(1), []
    for place, chunk in enumerate(torch.from_numpy(padded).view(count, 1, size)):
        logits, state = network.step(chunk, state)
        skip = network.shape.held_rows if place == 0 else 0
        blocks.append(_calibrated(module, logits)[0, skip:].copy())
    return blocks


def _calibrated(module: LoadedModule, logits: torch.Tensor) -> Rows:
    calibration = module.card.calibration
    found: Rows = calibrated(logits, calibration.temperature, calibration.blank_bias).numpy()
    return found


@torch.inference_mode()
def memory_of(decoder: Decoder, rows: Sequence[Marginals]) -> Memory:
    """What cross-attention reads of several segments' rows."""
    longest = max(len(block) for block in rows)
    width = max(block.ids.shape[1] for block in rows)
    ids = torch.zeros(len(rows), longest, width, dtype=torch.long)
    probs, tail = torch.zeros(ids.shape), torch.zeros(ids.shape[:2])
    for place, block in enumerate(rows):
        count = len(block)
        ids[place, :count] = torch.from_numpy(block.ids.astype(np.int64))
        probs[place, :count] = torch.from_numpy(np.exp(block.log_probs))
        tail[place, :count] = torch.from_numpy(block.tail)
    lengths = torch.tensor([len(block) for block in rows])
    read = decoder.ingestor.read_sparse(ids, probs, tail, lengths)
    return decoder.remember(read.mixture, read.lengths)


def settings_of(decoder: LoadedModule, encoder: LoadedModule) -> JointSettings:
    """How the product searches with these two: the encoder's card says what suits its rows."""
    chosen = encoder.card.decoding
    return JointSettings(
        beam=chosen.beam,
        ctc_weight=chosen.ctc_weight,
        length_bonus=chosen.length_bonus,
        peaks=PEAKS,
    )


@torch.inference_mode()
def search(
    module: LoadedModule, rows: Sequence[Marginals], settings: JointSettings
) -> list[tuple[int, ...]]:
    """The best tokens of each segment by the joint beam search; empty for one without rows."""
    assert isinstance(module.network, Decoder)
    network, classes = module.network, module.network.shape.num_classes
    found: list[tuple[int, ...]] = [()] * len(rows)
    order = sorted((i for i in range(len(rows)) if len(rows[i])), key=lambda i: len(rows[i]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        here = [rows[i] for i in chosen]
        dense = [block.dense(classes) for block in here]
        best = search_batch(network, memory_of(network, here), dense, settings)
        for index, tokens in zip(chosen, best, strict=True):
            found[index] = tokens
    return found


@torch.inference_mode()
def search_batch(
    decoder: Decoder, memory: Memory, rows: Sequence[Rows], settings: JointSettings
) -> list[tuple[int, ...]]:
    """The best tokens of segments that are searched side by side.

    Args:
        decoder: In evaluation mode.
        memory: What it reads of each segment.
        rows: (U, V) natural logarithms of each, for CTC.
        settings: Of all of them.
    """
    classes, beam = decoder.shape.num_classes, settings.beam
    found: list[tuple[int, ...]] = [()] * len(rows)
    open_items = list(range(len(rows)))
    here = lanes.start([JointBeamSearch(settings, block) for block in rows])
    state = decoder.start(len(rows), beam)
    while True:
        tokens = torch.from_numpy(here.last_tokens).flatten()
        log_probs, state = decoder.step(tokens, memory, state)
        here = lanes.advance(here, log_probs.view(len(open_items), beam, classes).numpy())
        for place in np.flatnonzero(here.is_done).tolist():
            found[open_items[place]] = lanes.finish(here, place)[0].tokens
        kept = np.flatnonzero(~here.is_done).tolist()
        if not kept:
            break
        order = here.parents[kept] + np.asarray(kept, dtype=np.int64)[:, None] * beam
        state = state.reorder(torch.from_numpy(order.flatten()))
        if len(kept) < len(open_items):
            open_items = [open_items[place] for place in kept]
            here, memory = here.select(kept), _of(memory, torch.tensor(kept, dtype=torch.long))
    return found


def _of(memory: Memory, items: torch.Tensor) -> Memory:
    """The memory of some of its requests."""
    layers = tuple(
        KeysValues(keys.index_select(0, items), values.index_select(0, items))
        for keys, values in memory.layers
    )
    return Memory(layers, memory.mask.index_select(0, items))


@torch.inference_mode()
def surprise(
    module: LoadedModule, rows: Sequence[Marginals], targets: Sequence[tuple[int, ...]]
) -> NDArray[np.float64]:
    """(N,) nats that the decoder spends on each reference, ends included, shown the rows."""
    assert isinstance(module.network, Decoder)
    spent = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        memory = memory_of(module.network, [rows[i] for i in chosen])
        wanted = [targets[i] for i in chosen]
        logits = module.network(decoder_inputs(wanted, drop=0.0), memory)
        for place, index in enumerate(chosen):
            count = len(wanted[place]) + 1
            loss = cross_entropy(
                logits[place : place + 1, : _padded(wanted[place])], [wanted[place]], smoothing=0.0
            )
            spent[index] = float(loss) * count
    return spent


def _padded(target: tuple[int, ...]) -> int:
    """Outputs that ``cross_entropy`` expects of one target: its padded width and an end."""
    return len(target) // 4 * 4 + 4
