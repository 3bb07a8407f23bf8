"""Chunking is invisible, the past is closed, batches are invisible: of frames and speech rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.features.log_mel import HISTORY, HOP, LogMel
from legonn_core.nn.state import EncoderState
from tests.support.tiny import SPEECH_SHAPE, speech, speech_encoder

LOG_MEL = LogMel()
WINDOWS = {2: (2, 2), 4: (4, 4), 6: (8, 4)}
"""Chunk size in rows, and the length controller's reach in pairs, as wide as it fits."""

ENCODERS = {
    rows: speech_encoder(
        shape=replace(SPEECH_SHAPE, chunk_rows=rows, left_pairs=left, right_pairs=right)
    )
    for rows, (left, right) in WINDOWS.items()
}


def probs(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=-1)


def streamed(encoder, samples: np.ndarray, state: EncoderState | None = None) -> torch.Tensor:
    """Probabilities of all rows of one stream, chunk after chunk."""
    state, rows = encoder.start(1) if state is None else state, []
    for chunk in torch.from_numpy(samples)[None].split(encoder.shape.chunk_samples, dim=1):
        logits, state = encoder.step(chunk, state)
        rows.append(logits[0])
    return probs(torch.cat(rows)[encoder.shape.held_rows :])


@settings(max_examples=40)
@given(seed=st.integers(0, 999), parts=st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_any_split_into_hops_gives_the_same_frames(seed: int, parts: list[int]) -> None:
    samples = torch.from_numpy(speech(sum(parts) * HOP, seed=seed))[None]
    whole, last = LOG_MEL(samples, torch.zeros(1, HISTORY))
    history, found = torch.zeros(1, HISTORY), []
    for part in samples.split([n * HOP for n in parts], dim=1):
        frames, history = LOG_MEL(part, history)
        found.append(frames)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, atol=1e-5, rtol=0)
    assert torch.equal(history, last)


@settings(max_examples=15)
@given(seed=st.integers(0, 999), rows=st.sampled_from([2, 4, 6]), chunks=st.integers(1, 9))
@torch.no_grad()
def test_a_stream_equals_the_whole_recording(seed: int, rows: int, chunks: int) -> None:
    encoder = ENCODERS[rows]
    samples = speech(chunks * encoder.shape.chunk_samples, seed=seed)
    logits, count = encoder(torch.from_numpy(samples)[None], torch.tensor([chunks]))
    assert count.tolist() == [chunks * rows - encoder.shape.held_rows]
    whole = probs(logits[0, : int(count[0])])
    torch.testing.assert_close(streamed(encoder, samples), whole, atol=1e-5, rtol=0)


@settings(max_examples=15)
@given(data=st.data())
@torch.no_grad()
def test_streams_at_different_places_share_a_batch(data: st.DataObject) -> None:
    """Any order of steps over a table of rows gives each stream what it gets alone."""
    encoder, size = ENCODERS[4], ENCODERS[4].shape.chunk_samples
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    recordings = [speech(n * size, seed=i) for i, n in enumerate(lengths)]
    table, heard = encoder.start(len(lengths)), [0] * len(lengths)
    found: list[list[torch.Tensor]] = [[] for _ in lengths]
    while waiting := [i for i, n in enumerate(lengths) if heard[i] < n]:
        chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
        samples = np.stack([recordings[i][heard[i] * size :][:size] for i in chosen])
        rows = torch.tensor(chosen)
        logits, state = encoder.step(torch.from_numpy(samples), table.rows(rows))
        table.write(rows, state)
        for i, values in zip(chosen, logits, strict=True):
            found[i].append(values)
            heard[i] += 1
    for recording, values in zip(recordings, found, strict=True):
        together = probs(torch.cat(values)[encoder.shape.held_rows :])
        torch.testing.assert_close(together, streamed(encoder, recording), atol=1e-5, rtol=0)


@settings(max_examples=15)
@given(seed=st.integers(0, 999), kept=st.integers(1, 5))
@torch.no_grad()
def test_later_samples_never_change_emitted_rows(seed: int, kept: int) -> None:
    encoder, size = ENCODERS[4], ENCODERS[4].shape.chunk_samples
    one, other = speech(6 * size, seed=seed), speech(6 * size, seed=seed + 1)
    other[: kept * size] = one[: kept * size]
    emitted = kept * encoder.shape.chunk_rows - encoder.shape.held_rows
    whole = torch.from_numpy(np.stack([one, other]))
    logits = probs(encoder(whole, torch.tensor([6, 6]))[0])
    torch.testing.assert_close(logits[0, :emitted], logits[1, :emitted], atol=1e-5, rtol=0)
    assert torch.equal(streamed(encoder, one)[:emitted], streamed(encoder, other)[:emitted])
