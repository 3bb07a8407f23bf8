from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from legonn_core.encoders.speech import SpeechEncoder, SpeechEncoderShape
from tests.support.tiny import NUM_CLASSES, SPEECH_SHAPE, speech, speech_encoder

SIZE = SPEECH_SHAPE.chunk_samples


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    return speech_encoder()


def recordings(*lengths: int) -> torch.Tensor:
    whole = torch.zeros(len(lengths), max(lengths) * SIZE)
    for i, length in enumerate(lengths):
        whole[i, : length * SIZE] = torch.from_numpy(speech(length * SIZE, seed=i))
    return whole


def test_geometry():
    shape = SpeechEncoderShape(100)
    assert (shape.chunk_samples, shape.held_rows) == (10240, 2)  # 640 ms, 160 ms
    assert shape.row_samples == 1280
    phones = replace(shape, chunk_rows=16, pairs_per_row=1)
    assert (phones.chunk_samples, phones.held_rows, phones.row_samples) == (10240, 4, 640)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"right_pairs": 3}, "right_pairs is 3, not whole rows"),
        ({"right_pairs": 8}, "not less than a chunk"),
        ({"left_pairs": 6}, "a stream keeps one chunk of 8 pairs"),
    ],
)
def test_a_window_that_a_stream_cannot_see_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        replace(SPEECH_SHAPE, **change)


def test_a_chunk_of_another_size_is_refused(encoder):
    with pytest.raises(ValueError, match="5120 samples at 16000 Hz, not 5119"):
        encoder.step(torch.zeros(1, SIZE - 1), encoder.start(1))


def test_the_state_counts_chunks_and_keeps_its_layout(encoder):
    state = encoder.start(2)
    assert all(not tensor.any() for tensor in state.tensors.values())
    _, later = encoder.step(recordings(1, 1), state)
    assert later["chunks"].tolist() == [1, 1]
    assert sorted(later.layout()) == sorted(state.layout())
    assert all(not tensor.any() for tensor in state.tensors.values()), "a state is a value"


@torch.no_grad()
def test_a_used_and_reset_row_is_as_good_as_new(encoder):
    table, rows = encoder.start(3), torch.tensor([1])
    _, used = encoder.step(recordings(1), table.rows(rows))
    table.write(rows, used)
    table.reset(rows)
    again, _ = encoder.step(recordings(1), table.rows(rows))
    fresh, _ = encoder.step(recordings(1), encoder.start(1))
    assert torch.equal(again, fresh)


@torch.no_grad()
def test_padding_behind_a_recording_changes_nothing(encoder):
    alone, rows = encoder(recordings(2), torch.tensor([2]))
    together, both = encoder(recordings(2, 5), torch.tensor([2, 5]))
    count = int(rows[0])
    assert both.tolist() == [count, 5 * 4 - 2]
    torch.testing.assert_close(
        together[0, :count].softmax(-1), alone[0, :count].softmax(-1), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_chunk_rows_choose_what_is_seen(encoder):
    """Smaller chunks see less ahead, and full context sees the recording's end from its start."""
    samples = recordings(5)
    changed = samples.clone()
    changed[:, 4 * SIZE :] = 0.5
    for rows, sees in ((2, False), (4, False), (0, True)):
        first, _ = encoder(samples, torch.tensor([5]), chunk_rows=rows)
        second, _ = encoder(changed, torch.tensor([5]), chunk_rows=rows)
        assert torch.allclose(first[0, 0], second[0, 0], atol=1e-4) != sees


@torch.no_grad()
def test_what_lies_beyond_the_left_context_is_forgotten(encoder):
    """Two trunk layers of three chunks, two row layers of three more, and what convolutions add."""
    other = recordings(20)
    other[:, :SIZE] = torch.from_numpy(speech(SIZE, seed=77))
    both = torch.cat([recordings(20), other])
    logits = encoder(both, torch.tensor([20, 20]))[0].softmax(-1)
    assert (logits[0, :4] - logits[1, :4]).abs().max() > 1e-3
    torch.testing.assert_close(logits[0, -4:], logits[1, -4:], atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter():
    network = SpeechEncoder(replace(SPEECH_SHAPE, dropout=0.1)).train()
    logits, _ = network(recordings(2), torch.tensor([2]))
    assert logits.shape == (1, 8, NUM_CLASSES)
    logits.square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert not silent


@torch.no_grad()
@pytest.mark.parametrize("pairs", [1, 2])
def test_a_stream_of_any_row_rate_reads_what_the_whole_recording_gives(pairs):
    shape = replace(SPEECH_SHAPE, pairs_per_row=pairs, chunk_rows=8 // pairs)
    network = speech_encoder(seed=4, shape=shape)
    whole, rows = network(recordings(5), torch.tensor([5]))
    state, streamed = network.start(1), []
    for chunk in recordings(5).split(SIZE, dim=1):
        logits, state = network.step(chunk, state)
        streamed.append(logits[0])
    heard = torch.cat(streamed)[shape.held_rows :]
    assert len(heard) == int(rows[0]) == 5 * shape.chunk_rows - shape.held_rows
    torch.testing.assert_close(
        heard.softmax(-1), whole[0, : len(heard)].softmax(-1), atol=1e-5, rtol=0
    )
