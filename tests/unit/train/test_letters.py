"""Letters as a second target."""

from __future__ import annotations

import torch

from legonn_core.train.letters import LetterAlphabet, LetterHead
from tests.support.tiny import speech_encoder, write_vocabulary


def test_spelling_folds_case_and_leaves_out_the_rest(tmp_path):
    vocabulary = write_vocabulary(tmp_path / "en")
    alphabet = LetterAlphabet(vocabulary)
    tokens = [t for t in range(1, len(vocabulary)) if vocabulary.tokens[t].strip()]
    spelt = alphabet.spell(tuple(tokens))
    assert spelt
    assert 1 <= min(spelt) <= max(spelt) < alphabet.num_classes
    assert alphabet.spell(()) == ()


def test_the_head_reads_what_the_encoder_last_heard():
    encoder = speech_encoder(seed=1)
    head = LetterHead(encoder, 30)
    chunk = encoder.shape.chunk_samples
    encoder(torch.zeros(2, 3 * chunk), torch.tensor([3, 3]))
    assert head.logits.shape == (2, 3 * encoder.shape.chunk_rows * 4, 30)
    assert head.logits.requires_grad
