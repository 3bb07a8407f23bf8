"""One sentence through encoder and decoder: what whole texts and streams of text have in common."""

from __future__ import annotations

from dataclasses import dataclass

from legonn_core.errors import InternalFault
from legonn_core.runtime.messages import DecodedText, DecodeJob, DecodeKind, EncodeText
from legonn_server.gateway.stream import Workers
from legonn_server.pools.module_manager import Pair


@dataclass(frozen=True, slots=True)
class SentenceWishes:
    """How a sentence is to be decoded.

    Attributes:
        beam: Beam width, at least ``num_best``.
        num_best: Translations wanted.
        forced: Tokens that each begins with.
    """

    beam: int
    num_best: int = 1
    forced: tuple[int, ...] = ()


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
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def read(self, sentence: str, pair: Pair, wishes: SentenceWishes) -> SentenceReading:
        """Translate one sentence.

        Raises:
            BadText: If it is too long to be read at once.
            BackendDown: If the engine was lost; trying again may help.
        """
        encoded = await self._workers.encoders.encode_text(EncodeText(pair.encoder.ref, sentence))
        job = DecodeJob(
            module=pair.decoder.ref,
            marginals=(encoded.marginals,),
            kind=DecodeKind.TEXT,
            forced=wishes.forced,
            beam=max(wishes.beam, wishes.num_best),
            num_best=wishes.num_best,
            ctc_weight=pair.encoder.ctc_weight,
            length_bonus=pair.encoder.length_bonus,
        )
        decoded = await self._workers.decoders.submit(job)
        if not decoded.hypotheses:
            raise InternalFault("the decoder answered without a hypothesis")
        return SentenceReading(decoded.hypotheses, encoded.num_rows)
