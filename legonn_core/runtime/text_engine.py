"""Drives a text encoder: many sentences a batch, no state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadText, LegonnError
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.runtime.encoder_engine import calibrated
from legonn_core.runtime.isolation import run_isolated
from legonn_core.runtime.messages import EncodeResult, EncodeText
from legonn_core.search.prefix import PrefixSearch


class TextEngine:
    """Sentences of one text encoder version.

    Args:
        module: Loaded text encoder.
    """

    def __init__(self, module: LoadedModule) -> None:
        assert isinstance(module.network, TextEncoder)
        assert module.source is not None
        self.module, self.network, self._source = module, module.network, module.source
        self._search = PrefixSearch()

    def made_up(self, num_pieces: int) -> str:
        """A text of about so many pieces, for warming."""
        size = self._source.get_piece_size()
        text: str = self._source.decode([1 + i % (size - 1) for i in range(num_pieces)])
        return text

    def encode(self, requests: Sequence[EncodeText]) -> list[EncodeResult | LegonnError]:
        """Encode sentences together.

        Returns:
            Results in the order of the requests; a refused one harms no other.
        """
        answers: list[EncodeResult | LegonnError] = [LegonnError() for _ in requests]
        running = []
        for index, request in enumerate(requests):
            tokens = self._source.encode(request.text)
            limit = self.network.shape.max_tokens
            if not tokens:
                answers[index] = BadText("the sentence is empty after normalisation")
            elif len(tokens) > limit:
                answers[index] = BadText(
                    f"a sentence has {len(tokens)} pieces, at most {limit} can be translated at"
                    " once; divide it with punctuation or line breaks"
                )
            else:
                running.append((index, tokens))
        if running:
            blocks = run_isolated([tokens for _, tokens in running], self._forward)
            for (index, _), block in zip(running, blocks, strict=True):
                if isinstance(block, LegonnError):
                    answers[index] = block
                    continue
                best = self._search.best(self._search.advance(self._search.start(), block))
                answers[index] = EncodeResult(
                    marginals=codec.encode(block),
                    num_rows=len(block),
                    total_rows=len(block),
                    best=best,
                )
        return answers

    def compute(self, sentences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Sentences of pieces, each at least one, where the network is.

        Returns:
            Log-probabilities (B, rows, V) and how many rows each has (B,), there.
        """
        device, calibration = self.module.device, self.module.card.calibration
        lengths = torch.tensor([len(tokens) for tokens in sentences])
        padded = torch.zeros(len(sentences), max(map(len, sentences)), dtype=torch.long)
        for row, tokens in enumerate(sentences):
            padded[row, : len(tokens)] = torch.tensor(tokens)
        logits, rows = self.network(padded.to(device), lengths.to(device))
        return calibrated(logits, calibration.temperature, calibration.blank_bias), rows

    @torch.inference_mode()
    def _forward(self, sentences: Sequence[list[int]]) -> list[Marginals]:
        found, rows = self.compute(sentences)
        log_probs = found.cpu().numpy()
        card = self.module.card
        shape = self.network.shape
        return [
            Marginals.from_dense(
                values[:count],
                card.contract.top_k,
                times_ms=np.arange(count) * shape.rows_denominator // shape.rows_per_token,
                fingerprint=card.contract.fingerprint,
            )
            for values, count in zip(log_probs, rows.tolist(), strict=True)
        ]
