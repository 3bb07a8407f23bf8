"""Fit what a card says of its encoder's logits: temperature and blank bias.

Two scalars that make an encoder's probabilities mean what they say (legonn.md, section 8.6): the
ones under which known text is likeliest by CTC. No decoder is asked, so a zero-shot encoder stays
one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.interface.card import Calibration
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import CARD, LoadedModule, load_module
from legonn_core.train.losses import ctc_loss, feasible
from legonn_core.train.speech_data import SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces, read_pairs

LEAST, MOST = 0.3, 3.0
"""Temperatures that a card may hold."""


def fit(
    logits: Tensor, rows: Tensor, targets: Sequence[tuple[int, ...]]
) -> tuple[Calibration, float, float]:
    """Fit both scalars by L-BFGS.

    Args:
        logits: (B, U, V) of held-out items.
        rows: (B,).
        targets: What they say.

    Returns:
        The calibration, and the CTC loss in nats a token before and after.

    Raises:
        ValueError: If no target fits into its rows.
    """
    usable = feasible(list(targets), rows)
    if not usable.any():
        raise ValueError("no target fits into its rows")
    kept = [target for target, fits in zip(targets, usable.tolist(), strict=True) if fits]
    fixed, rows = logits.detach().float()[usable], rows[usable]
    scale = torch.zeros((), requires_grad=True)  # log temperature
    bias = torch.zeros((), requires_grad=True)

    def loss() -> Tensor:
        shifted = fixed / scale.exp()
        blank = torch.zeros(fixed.shape[-1])
        blank[0] = 1.0
        return ctc_loss((shifted + bias * blank).log_softmax(dim=-1), rows, kept)

    with torch.no_grad():
        before = float(loss())
    optimizer = torch.optim.LBFGS([scale, bias], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()
        return found

    optimizer.step(closure)
    with torch.no_grad():
        temperature = min(max(float(scale.exp()), LEAST), MOST)
        found = Calibration(round(temperature, 3), round(float(bias), 3))
        scale.fill_(float(torch.tensor(found.temperature).log()))
        bias.fill_(found.blank_bias)
        after = float(loss())
    return (found, before, after) if after < before else (Calibration(), before, before)


@torch.inference_mode()
def calibrated_module(
    store: Path, ref: ModuleRef, held_out: Mapping[str, object]
) -> tuple[Calibration, float, float]:
    """Fit a packaged encoder on held-out items and write what was found onto its card.

    Args:
        store: Module store.
        ref: The encoder.
        held_out: ``path`` of ``source TAB English`` lines, or for speech of a set's TSV with its
            tar beside it and the ``column`` to learn; ``limit`` items at most (200).

    Returns:
        As ``fit`` does.
    """
    module = load_module(store, ref)
    logits, rows, targets = held_out_logits(
        module, held_out, EnglishPieces(store / module.card.vocabulary)
    )
    padded = torch.nn.utils.rnn.pad_sequence(logits, batch_first=True)
    with torch.inference_mode(mode=False):
        fitted = fit(padded.clone(), torch.tensor(rows), targets)
    card = dataclasses.replace(module.card, calibration=fitted[0])
    (store / ref.name / ref.version / CARD).write_text(card.to_toml(), encoding="utf-8")
    return fitted


@torch.inference_mode()
def held_out_logits(
    module: LoadedModule, held_out: Mapping[str, object], pieces: EnglishPieces
) -> tuple[list[Tensor], list[int], list[tuple[int, ...]]]:
    """An encoder's logits (U, V) of held-out items, how many of them count, and what they say.

    Args:
        module: A packaged encoder.
        held_out: As ``calibrated_module`` takes it.
        pieces: Cuts the English.
    """
    path, limit = Path(str(held_out["path"])), int(str(held_out.get("limit", 200)))
    logits, rows, targets = [], [], []
    network = module.network
    if isinstance(network, SpeechEncoder):
        chosen = SpeechSet(str(path), str(held_out.get("column", "pc")))
        for recording in read_set(Path(), chosen, pieces)[:limit]:
            size = network.shape.chunk_samples
            chunks = min(-(-len(recording.samples) // size) + 1, network.shape.max_chunks)
            heard = torch.zeros(1, chunks * size)
            kept = torch.from_numpy(recording.samples[: chunks * size].astype("float32") / 32768.0)
            heard[0, : len(kept)] = kept
            found, count = network(heard, torch.tensor([chunks]))
            logits.append(found[0])
            rows.append(int(count[0]))
            targets.append(recording.tokens)
    else:
        assert isinstance(network, TextEncoder) and module.source is not None
        for pair in read_pairs(path, pieces, origin_weights={}).pairs[:limit]:
            tokens = torch.tensor([module.source.encode(pair.source)[: network.shape.max_tokens]])
            found, count = network(tokens, torch.tensor([tokens.shape[1]]))
            logits.append(found[0])
            rows.append(int(count[0]))
            targets.append(pair.target)
    return logits, rows, targets
