"""Reads a decode job into a search, and writes what the search found as the job's answer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.decoders.decoder import Decoder
from legonn_core.errors import (
    BadConfig,
    BrokenInvariant,
    EncodingMismatch,
    LimitExceeded,
    VocabularyMismatch,
)
from legonn_core.ingestors.ingestor import Read
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeResult, Phrase
from legonn_core.search.alignment import align_words
from legonn_core.search.biasing import PhraseBias
from legonn_core.search.hypothesis import Hypothesis
from legonn_core.search.joint import JointBeamSearch, JointSettings

Key = TypeVar("Key", bound=Hashable)

MAX_BEAM = 16
PEAKS = 24
"""Classes that peak highest in the marginals are weighed beside the decoder's own choice: worth 4
BLEU on German under a half-trained decoder, and nothing was gained by 48."""

MAX_PHRASE_SETS = 64
"""Sets of phrases kept ready, the longest unused to go first."""


@dataclass(frozen=True, slots=True)
class Request(Generic[Key]):
    """A job with its marginals read and its search prepared."""

    key: Key
    job: DecodeJob
    marginals: Marginals
    dense: NDArray[np.float32]
    search: JointBeamSearch


class JobReader:
    """Between jobs and searches of one decoder version.

    Args:
        module: Loaded decoder.
    """

    def __init__(self, module: LoadedModule) -> None:
        assert isinstance(module.network, Decoder)
        self._module, self._max_rows = module, module.network.shape.max_rows
        self._biases: dict[tuple[Phrase, ...], PhraseBias] = {}

    def read(self, key: Key, job: DecodeJob) -> Request[Key] | None:
        """Check a job and prepare its search; None if there is nothing to decode.

        Raises:
            BadConfig: If the search asked for is impossible.
            BrokenInvariant: If the blocks do not join.
            VocabularyMismatch: If the marginals are over another vocabulary.
            EncodingMismatch: If the marginals are damaged or name unknown classes.
            LimitExceeded: If there are more rows than the decoder reads.
        """
        classes = self._module.card.contract.num_classes
        if not 1 <= job.num_best <= job.beam <= MAX_BEAM:
            raise BadConfig(f"beam must be 1 to {MAX_BEAM} and at least num_best")
        forced = self._forced(job)
        if not job.marginals:
            return None
        marginals = self._marginals(job)
        if job.max_row is not None:
            marginals = marginals.slice(0, min(job.max_row, len(marginals)))
        if not len(marginals):
            return None
        if len(marginals) > self._max_rows:
            raise LimitExceeded(f"{len(marginals)} rows, the decoder reads {self._max_rows}")
        dense = marginals.dense(classes)
        search = JointBeamSearch(
            self._settings(job), dense, forced=forced, bias=self._bias(job.phrases)
        )
        return Request(key, job, marginals, dense, search)

    def without_rows(self, job: DecodeJob) -> DecodeResult:
        """What is said of no rows: the forced tokens and nothing more."""
        vocabulary, forced = self._module.vocabulary, self._forced(job)
        words = align_words(
            forced,
            np.zeros((0, len(vocabulary)), np.float32),
            times_ms=np.zeros(0, np.int32),
            row_ms=job.row_ms,
            vocabulary=vocabulary,
        )
        text, confidence = vocabulary.text(forced), 0.0 if words else 1.0
        return DecodeResult((DecodedText(forced, text, 0.0, confidence, words),))

    def ingested(self, requests: Sequence[Request[Key]], network: Decoder) -> Read:
        """Rows of requests as the ingestor reads them, padded to the longest."""
        rows = max(len(request.marginals) for request in requests)
        top = max(request.marginals.ids.shape[1] for request in requests)
        lengths = torch.tensor([len(request.marginals) for request in requests])
        ids = torch.zeros(len(requests), rows, top, dtype=torch.long)
        probs, tail = torch.zeros(len(requests), rows, top), torch.zeros(len(requests), rows)
        for place, request in enumerate(requests):
            marginals = request.marginals
            count, k = marginals.ids.shape
            ids[place, :count, :k] = torch.from_numpy(marginals.ids.astype(np.int64))
            probs[place, :count, :k] = torch.from_numpy(np.exp(marginals.log_probs))
            tail[place, :count] = torch.from_numpy(marginals.tail.astype(np.float32))
        return network.ingestor.read_sparse(ids, probs, tail, lengths)

    def result(self, request: Request[Key], found: Sequence[Hypothesis]) -> DecodeResult:
        """The answer to a request whose search found these."""
        return DecodeResult(tuple(self._text(request, hypothesis) for hypothesis in found))

    def _forced(self, job: DecodeJob) -> tuple[int, ...]:
        forced = job.forced
        if job.forced_text and not forced:
            try:
                forced = self._module.vocabulary.spell(job.forced_text)
            except ValueError as error:
                raise BadConfig(
                    "committed text cannot be written in this decoder's vocabulary"
                ) from error
        if not all(0 < token < self._module.card.contract.num_classes for token in forced):
            raise BadConfig("a forced token is the blank or outside the vocabulary")
        return forced

    def _bias(self, phrases: tuple[Phrase, ...]) -> PhraseBias | None:
        """The phrases of a job, made ready; a stream asks for the same ones with every decode."""
        if not phrases:
            return None
        bias = self._biases.pop(phrases, None) or PhraseBias(phrases, self._module.vocabulary)
        self._biases[phrases] = bias
        if len(self._biases) > MAX_PHRASE_SETS:
            del self._biases[next(iter(self._biases))]
        return bias

    def _marginals(self, job: DecodeJob) -> Marginals:
        card = self._module.card
        blocks = [codec.decode(block) for block in job.marginals]
        try:
            marginals = Marginals.concatenate(blocks)
        except ValueError as error:
            raise BrokenInvariant(f"the blocks of a segment do not join: {error}") from error
        if marginals.fingerprint != card.contract.fingerprint:
            raise VocabularyMismatch(
                f"marginals over vocabulary {marginals.fingerprint} came to"
                f" {self._module.ref}, which reads {card.contract.fingerprint}"
            )
        if len(marginals) and int(marginals.ids.max()) >= card.contract.num_classes:
            raise EncodingMismatch("marginals list a class that the vocabulary does not have")
        return marginals

    def _settings(self, job: DecodeJob) -> JointSettings:
        defaults = self._module.card.decoding
        try:
            return JointSettings(
                beam=job.beam,
                ctc_weight=defaults.ctc_weight if job.ctc_weight is None else job.ctc_weight,
                length_bonus=(
                    defaults.length_bonus if job.length_bonus is None else job.length_bonus
                ),
                num_best=job.num_best,
                peaks=PEAKS,
                needs_trace=True,
            )
        except ValueError as error:
            raise BadConfig(str(error)) from error

    def _text(self, request: Request[Key], hypothesis: Hypothesis) -> DecodedText:
        vocabulary = self._module.vocabulary
        words = align_words(
            hypothesis.tokens,
            request.dense,
            times_ms=request.marginals.times_ms,
            row_ms=request.job.row_ms,
            vocabulary=vocabulary,
        )
        confidence = float(np.mean([word.confidence for word in words])) if words else 1.0
        return DecodedText(
            tokens=hypothesis.tokens,
            text=vocabulary.text(hypothesis.tokens),
            score=hypothesis.score,
            confidence=confidence,
            words=words,
        )
