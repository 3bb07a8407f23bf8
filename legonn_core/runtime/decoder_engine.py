"""Drives the decoder for many requests at once: one token step of one cohort at a time.

Waiting requests of one beam width start together as a cohort; between steps the caller may do other
work, so an encoder's chunk never waits for a whole translation. A request is a pure function of its
input and may be tried again elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.decoders.decoder import END, Decoder, DecoderState, Memory
from legonn_core.errors import (
    BadConfig,
    BrokenInvariant,
    EncodingMismatch,
    LegonnError,
    LimitExceeded,
    VocabularyMismatch,
)
from legonn_core.interface import codec
from legonn_core.interface.marginals import Marginals
from legonn_core.modules.registry import LoadedModule
from legonn_core.nn.transformer import KeysValues
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeKind, DecodeResult
from legonn_core.search.alignment import align_words
from legonn_core.search.hypothesis import Hypothesis
from legonn_core.search.joint import JointBeamSearch, JointSettings, JointState

Key = TypeVar("Key", bound=Hashable)

MAX_BEAM = 16
PEAKS = 24
"""Classes that peak highest in the marginals are weighed beside the decoder's own choice: worth 4
BLEU on German under a half-trained decoder, and nothing was gained by 48."""

COHORT_REQUESTS = 16
"""Requests that start together; bounds the memory of a cohort and the wait of what comes behind."""


@dataclass(frozen=True, slots=True)
class Request(Generic[Key]):
    """A job with its marginals read and its search at some step."""

    key: Key
    job: DecodeJob
    marginals: Marginals
    dense: NDArray[np.float32]
    search: JointBeamSearch
    state: JointState


@dataclass(frozen=True, slots=True)
class Cohort(Generic[Key]):
    """Requests that take their token steps together."""

    requests: tuple[Request[Key], ...]
    memory: Memory
    state: DecoderState
    priority: int


class DecoderEngine(Generic[Key]):
    """Requests of one decoder version.

    Args:
        module: Loaded decoder.
    """

    def __init__(self, module: LoadedModule) -> None:
        assert isinstance(module.network, Decoder)
        self.module, self.network = module, module.network
        self._waiting: list[tuple[Key, DecodeJob]] = []
        self._cohorts: list[Cohort[Key]] = []

    @property
    def num_jobs(self) -> int:
        """Requests waiting or under way."""
        return len(self._waiting) + sum(len(c.requests) for c in self._cohorts)

    def submit(self, key: Key, job: DecodeJob) -> None:
        """Queue a job; ``key`` comes back with its answer."""
        if job.forced_text and not job.forced:
            with suppress(ValueError):  # refused where the job is read
                forced = self.module.vocabulary.spell(job.forced_text)
                job = replace(job, forced=forced, forced_text="")
        self._waiting.append((key, job))

    def cancel(self, keys: set[Key]) -> None:
        """Forget jobs whose callers are gone: waiting ones at once, others with their next step."""
        self._waiting = [entry for entry in self._waiting if entry[0] not in keys]
        cohorts = []
        for cohort in self._cohorts:
            kept = [i for i, r in enumerate(cohort.requests) if r.key not in keys]
            if kept:
                cohorts.append(cohort if len(kept) == len(cohort.requests) else _keep(cohort, kept))
        self._cohorts = cohorts

    def step(self) -> list[tuple[Key, DecodeResult | LegonnError]]:
        """Start what waits, then take one token step of the most urgent cohort.

        Returns:
            Jobs that ended with this step.
        """
        ended = self._start_waiting()
        if not self._cohorts:
            return ended
        turn = min(range(len(self._cohorts)), key=lambda i: (self._cohorts[i].priority, i))
        cohort = self._advance(self._cohorts.pop(turn))
        open_rows = []
        for index, request in enumerate(cohort.requests):
            if request.state.is_done:
                ended.append((request.key, self._result(request)))
            else:
                open_rows.append(index)
        if open_rows:
            whole = len(open_rows) == len(cohort.requests)
            # Behind its equals: cohorts of one priority take turns.
            self._cohorts.append(cohort if whole else _keep(cohort, open_rows))
        return ended

    def _start_waiting(self) -> list[tuple[Key, DecodeResult | LegonnError]]:
        if not self._waiting:
            return []
        self._waiting.sort(key=lambda entry: entry[1].kind.value)
        first = self._waiting[0][1]
        chosen = [entry for entry in self._waiting if _alike(entry[1]) == _alike(first)][
            :COHORT_REQUESTS
        ]
        ids = {id(entry) for entry in chosen}
        self._waiting = [entry for entry in self._waiting if id(entry) not in ids]
        ended: list[tuple[Key, DecodeResult | LegonnError]] = []
        requests = []
        for key, job in chosen:
            try:
                request = self._read(key, job)
            except LegonnError as error:
                ended.append((key, error))
                continue
            if request is None:
                ended.append((key, self._without_rows(job)))
            else:
                requests.append(request)
        if requests:
            self._cohorts.append(self._cohort(requests, first.kind))
        return ended

    def _read(self, key: Key, job: DecodeJob) -> Request[Key] | None:
        """Check a job and start its search; None if there is nothing to decode."""
        card = self.module.card
        if job.forced_text:
            raise BadConfig("committed text cannot be written in this decoder's vocabulary")
        if not 1 <= job.num_best <= job.beam <= MAX_BEAM:
            raise BadConfig(f"beam must be 1 to {MAX_BEAM} and at least num_best")
        if not all(0 < token < card.contract.num_classes for token in job.forced):
            raise BadConfig("a forced token is the blank or outside the vocabulary")
        if not job.marginals:
            return None
        blocks = [codec.decode(block) for block in job.marginals]
        try:
            marginals = Marginals.concatenate(blocks)
        except ValueError as error:
            raise BrokenInvariant(f"the blocks of a segment do not join: {error}") from error
        if marginals.fingerprint != card.contract.fingerprint:
            raise VocabularyMismatch(
                f"marginals over vocabulary {marginals.fingerprint} came to"
                f" {self.module.ref}, which reads {card.contract.fingerprint}"
            )
        if len(marginals) and int(marginals.ids.max()) >= card.contract.num_classes:
            raise EncodingMismatch("marginals list a class that the vocabulary does not have")
        if job.max_row is not None:
            marginals = marginals.slice(0, min(job.max_row, len(marginals)))
        if not len(marginals):
            return None
        if len(marginals) > self.network.shape.max_rows:
            raise LimitExceeded(
                f"{len(marginals)} rows, the decoder reads {self.network.shape.max_rows}"
            )
        dense = marginals.dense(card.contract.num_classes)
        search = JointBeamSearch(self._settings(job), dense, forced=job.forced)
        return Request(key, job, marginals, dense, search, search.start())

    def _settings(self, job: DecodeJob) -> JointSettings:
        defaults = self.module.card.decoding
        try:
            return JointSettings(
                beam=job.beam,
                ctc_weight=defaults.ctc_weight if job.ctc_weight is None else job.ctc_weight,
                length_bonus=(
                    defaults.length_bonus if job.length_bonus is None else job.length_bonus
                ),
                num_best=job.num_best,
                peaks=PEAKS,
            )
        except ValueError as error:
            raise BadConfig(str(error)) from error

    def _without_rows(self, job: DecodeJob) -> DecodeResult:
        """What is said of no rows: the forced tokens and nothing more."""
        vocabulary = self.module.vocabulary
        words = align_words(
            job.forced,
            np.zeros((0, len(vocabulary)), np.float32),
            times_ms=np.zeros(0, np.int32),
            row_ms=job.row_ms,
            vocabulary=vocabulary,
        )
        text, confidence = vocabulary.text(job.forced), 0.0 if words else 1.0
        return DecodeResult((DecodedText(job.forced, text, 0.0, confidence, words),))

    @torch.inference_mode()
    def _cohort(self, requests: Sequence[Request[Key]], kind: DecodeKind) -> Cohort[Key]:
        lengths = torch.tensor([len(r.marginals) for r in requests])
        rows, top = int(lengths.max()), max(r.marginals.ids.shape[1] for r in requests)
        ids = torch.zeros(len(requests), rows, top, dtype=torch.long)
        probs, tail = torch.zeros(len(requests), rows, top), torch.zeros(len(requests), rows)
        for i, request in enumerate(requests):
            marginals = request.marginals
            count, k = marginals.ids.shape
            ids[i, :count, :k] = torch.from_numpy(marginals.ids.astype(np.int64))
            probs[i, :count, :k] = torch.from_numpy(np.exp(marginals.log_probs))
            tail[i, :count] = torch.from_numpy(marginals.tail.astype(np.float32))
        mixture = self.network.ingestor.mix_sparse(ids, probs, tail)
        memory = self.network.remember(mixture, lengths)
        job = requests[0].job
        if not job.forced:
            state = self.network.start(len(requests), job.beam)
            return Cohort(tuple(requests), memory, state, kind.value)
        begun = torch.tensor([(END, *r.job.forced[:-1]) for r in requests])
        log_probs, state = self.network.read(begun, memory, job.beam)
        begun_requests = []
        for request, values in zip(requests, log_probs.numpy(), strict=True):
            search = request.state
            for row in values:  # all rows of a forced beginning are alike: no reordering
                search = request.search.advance(search, np.repeat(row[None], job.beam, axis=0))
            begun_requests.append(replace(request, state=search))
        return Cohort(tuple(begun_requests), memory, state, kind.value)

    @torch.inference_mode()
    def _advance(self, cohort: Cohort[Key]) -> Cohort[Key]:
        """One token in every row of a cohort."""
        tokens = np.concatenate([r.state.last_tokens for r in cohort.requests])
        log_probs, state = self.network.step(
            torch.from_numpy(tokens.astype(np.int64)), cohort.memory, cohort.state
        )
        values, beam = log_probs.numpy(), state.beams
        requests, order = [], []
        for i, request in enumerate(cohort.requests):
            search = request.search.advance(request.state, values[i * beam : (i + 1) * beam])
            order.append(np.asarray(search.parents) + i * beam)
            requests.append(
                Request(
                    request.key,
                    request.job,
                    request.marginals,
                    request.dense,
                    request.search,
                    search,
                )
            )
        state = state.reorder(torch.from_numpy(np.concatenate(order).astype(np.int64)))
        return Cohort(tuple(requests), cohort.memory, state, cohort.priority)

    def _result(self, request: Request[Key]) -> DecodeResult:
        best = request.search.finish(request.state)
        return DecodeResult(tuple(self._text(request, hypothesis) for hypothesis in best))

    def _text(self, request: Request[Key], hypothesis: Hypothesis) -> DecodedText:
        vocabulary = self.module.vocabulary
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


def _alike(job: DecodeJob) -> tuple[int, DecodeKind, int]:
    """Jobs with the same value may start together."""
    return job.beam, job.kind, len(job.forced)


def _keep(cohort: Cohort[Key], indices: list[int]) -> Cohort[Key]:
    """The cohort of the given requests only."""
    beams = cohort.state.beams
    requests = torch.tensor(indices)
    rows = (requests[:, None] * beams + torch.arange(beams)).flatten()
    memory = Memory(
        tuple(
            KeysValues(k.index_select(0, requests), v.index_select(0, requests))
            for k, v in cohort.memory.layers
        ),
        cohort.memory.mask.index_select(0, requests),
    )
    kept = tuple(cohort.requests[i] for i in indices)
    return Cohort(kept, memory, cohort.state.reorder(rows), cohort.priority)
