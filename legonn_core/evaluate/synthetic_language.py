"""A made-up target language with three sources: two foreign spellings and a voice.

Sentences follow a sparse grammar, so a decoder has something to know. A spelling writes each word
as one to three letters of its own alphabet, may swap neighbours, and has misprints; a voice says
each word as a few frames around its own vector, under noise. The three share nothing but the words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NUM_WORDS = 16
NUM_CLASSES = NUM_WORDS + 1
FRAME_WIDTH = 16
Sentence = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Padded sources with their lengths, as an encoder takes them: (B, S) int64 or (B, T, F)."""

    values: Tensor
    lengths: Tensor


class Grammar:
    """Draws sentences of words 1 to ``NUM_WORDS``; each word has five usual successors."""

    def __init__(self, *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        chances = np.full((NUM_WORDS, NUM_WORDS), 0.2 / NUM_WORDS)
        for row in chances:
            row[rng.choice(NUM_WORDS, 5, replace=False)] += rng.dirichlet(np.full(5, 2.0)) * 0.8
        self._cumulative = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)

    def sentences(self, count: int, *, seed: int) -> list[Sentence]:
        """Draw ``count`` sentences of three to six words."""
        rng = np.random.default_rng(seed)
        lengths = rng.integers(3, 7, count)
        words = np.empty((count, int(lengths.max())), dtype=np.int64)
        words[:, 0] = rng.integers(NUM_WORDS, size=count)
        for place in range(1, words.shape[1]):
            drawn = rng.random(count)[:, None] > self._cumulative[words[:, place - 1]]
            words[:, place] = drawn.sum(axis=1).clip(max=NUM_WORDS - 1)
        return [
            tuple((row[:length] + 1).tolist()) for row, length in zip(words, lengths, strict=True)
        ]


class Spelling:
    """A written source.

    Args:
        letters: Size of the alphabet; letter 0 is padding.
        longest: Letters of the longest word.
        swaps: Whether an even word changes places with an odd one behind it.
        misprints: Share of letters that are another one.
        seed: Of the code.
    """

    def __init__(
        self, *, letters: int, longest: int, swaps: bool, misprints: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self.letters, self._swaps, self._misprints = letters, swaps, misprints
        codes: list[tuple[int, ...]] = []
        while len(codes) < NUM_WORDS + 1:
            code = tuple(rng.integers(1, letters, rng.integers(1, longest + 1)).tolist())
            if code not in codes:
                codes.append(code)
        self._codes = codes

    def write(self, sentences: list[Sentence], rng: np.random.Generator) -> SourceBatch:
        """Spell sentences."""
        rows = []
        for sentence in sentences:
            order = list(sentence)
            place = 0
            while self._swaps and place < len(order) - 1:
                if order[place] % 2 == 0 and order[place + 1] % 2 == 1:
                    order[place], order[place + 1] = order[place + 1], order[place]
                    place += 1
                place += 1
            letters = np.concatenate([self._codes[word] for word in order])
            wrong = rng.random(len(letters)) < self._misprints
            letters[wrong] = rng.integers(1, self.letters, int(wrong.sum()))
            rows.append(torch.from_numpy(letters))
        lengths = torch.tensor([len(row) for row in rows])
        return SourceBatch(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)


class Voice:
    """A spoken source: frames of ``FRAME_WIDTH`` values.

    Args:
        noise: Standard deviation beside vectors of length 1 a component.
        seed: Of the words' sounds.
    """

    def __init__(self, *, noise: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._sounds = rng.standard_normal((NUM_WORDS + 1, FRAME_WIDTH)).astype(np.float32)
        self._noise = noise

    def say(self, sentences: list[Sentence], rng: np.random.Generator) -> SourceBatch:
        """Speak sentences: four to seven frames a word, each sliding into the next."""
        rows = []
        for sentence in sentences:
            lasts = rng.integers(4, 8, len(sentence))
            clean = self._sounds[np.repeat(sentence, lasts)]
            slid: NDArray[np.float32] = clean.copy()
            slid[1:] = 0.6 * clean[1:] + 0.4 * clean[:-1]
            noise = rng.standard_normal(slid.shape).astype(np.float32)
            rows.append(torch.from_numpy(slid + self._noise * noise))
        lengths = torch.tensor([len(row) for row in rows])
        return SourceBatch(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)
