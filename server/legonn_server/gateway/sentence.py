"""One sentence through encoder and decoder: what whole texts and streams of text have in common.

Terms of the glossary are hidden before and put back after; words are shown in the call's style. A
sentence that was asked for before, in the same way and of the same module versions, is answered
from memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from time import perf_counter

from legonn_core.errors import BackendDown, InternalFault
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeKind, EncodeText, Phrase
from legonn_server.gateway.response_cache import CacheLimits, ResponseCache
from legonn_server.gateway.stream import Workers
from legonn_server.language.glossary import Glossary, Hidden, completed, restored
from legonn_server.language.masking import WordStyle
from legonn_server.pools.module_manager import Pair
from legonn_server.routing.canary import Outcome

NO_TERMS = Glossary(())


@dataclass(frozen=True, slots=True)
class SentenceWishes:
    """How a sentence is to be read.

    Attributes:
        beam: Beam width, at least ``num_best``.
        num_best: Translations wanted.
        forced: Tokens that each begins with.
        phrases: Text that is likely.
        glossary: Terms with one right rendering.
        style: How words are shown.
        is_whole: The sentence has ended: no term may be missing.
        names: Names that stand for terms since an earlier reading of the same sentence.
    """

    beam: int
    num_best: int = 1
    forced: tuple[int, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    glossary: Glossary = NO_TERMS
    style: WordStyle = field(default_factory=WordStyle)
    is_whole: bool = True
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SentenceReading:
    """Translations of one sentence, best first, at least one.

    Attributes:
        num_rows: Rows that the words' positions are counted in.
    """

    hypotheses: tuple[DecodedText, ...]
    num_rows: int


class SentenceReader:
    """Translates sentences one by one; many may be under way at once.

    Args:
        workers: Who does the work.
        limits: How many answers are remembered.
    """

    def __init__(self, workers: Workers, limits: CacheLimits) -> None:
        self._workers = workers
        self._cache: ResponseCache[SentenceReading] = ResponseCache(limits)
        self._quarantine = asyncio.Lock()

    async def read(
        self, text: str, pair: Pair, wishes: SentenceWishes, *, is_suspect: bool = False
    ) -> SentenceReading:
        """Translate one sentence.

        Args:
            text: The sentence.
            pair: The modules.
            wishes: How it is to be read.
            is_suspect: An engine ended while it worked on the sentence and others: suspects are
                read one at a time, so that the second engine is ended by the guilty one alone.

        Raises:
            BadText: If it is too long to be read at once, or holds too many different terms.
            BackendDown: If the engine was lost; trying again may help.
        """
        hidden = wishes.glossary.hide(" ".join(text.split()), taken=wishes.names)
        outcomes, began = self._workers.outcomes, perf_counter()
        with self._workers.pins.held(pair.encoder.ref, pair.decoder.ref):
            try:
                async with self._quarantine if is_suspect else contextlib.nullcontext():
                    found = await self._translated(hidden, pair, wishes)
            except InternalFault:
                outcomes.report(pair, Outcome(is_error=True))
                raise
            except BackendDown as error:
                if error.was_running:
                    outcomes.report(pair, Outcome(is_error=True))
                raise
        outcomes.report(pair, Outcome(latency_s=perf_counter() - began))
        hypotheses = found.hypotheses
        if hidden.wanted:
            hypotheses = restored(hypotheses, hidden)
            if wishes.is_whole:
                forced = len(wishes.forced)
                hypotheses = tuple(completed(one, hidden, num_forced=forced) for one in hypotheses)
        shown = tuple(wishes.style.apply(one) for one in hypotheses[: wishes.num_best])
        return SentenceReading(shown, found.num_rows)

    async def _translated(
        self, hidden: Hidden, pair: Pair, wishes: SentenceWishes
    ) -> SentenceReading:
        """What the models say, from memory if they said it before."""
        beam = max(wishes.beam, wishes.num_best)
        # A name may be missing in the best translation and stand in the second.
        num_best = beam if hidden.wanted else wishes.num_best
        phrases = (*wishes.phrases, *hidden.phrases)
        key: Hashable = None
        metrics = self._workers.metrics
        if wishes.is_whole and not wishes.forced:
            digests = (pair.encoder.weights_digest, pair.decoder.weights_digest)
            refs = (pair.encoder.ref, pair.decoder.ref)
            key = (hidden.text, refs, digests, beam, num_best, phrases)
            kept = self._cache.get(key)
            metrics.response_cache.labels("miss" if kept is None else "hit").inc()
            if kept is not None:
                return kept
        encoded = await self._workers.encoders.encode_text(
            EncodeText(pair.encoder.ref, hidden.text)
        )
        job = DecodeJob(
            module=pair.decoder.ref,
            marginals=(encoded.marginals,),
            kind=DecodeKind.TEXT,
            forced=wishes.forced,
            beam=beam,
            num_best=num_best,
            ctc_weight=pair.encoder.ctc_weight,
            length_bonus=pair.encoder.length_bonus,
            phrases=phrases,
        )
        decoded = await self._workers.decoders.submit(job)
        if not decoded.hypotheses:
            raise InternalFault("the decoder answered without a hypothesis")
        reading = SentenceReading(decoded.hypotheses, encoded.num_rows)
        if key is not None:
            size = len(hidden.text) + sum(len(one.text) for one in reading.hypotheses)
            self._cache.put(key, reading, size=size)
        return reading
