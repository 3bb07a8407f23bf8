"""What a session has brought so far: finals in order, and where every sample went."""

from __future__ import annotations

from dataclasses import replace

from legonn_core.errors import BrokenInvariant
from legonn_core.runtime.messages import DecodedText
from legonn_server.session.commands import CloseStream, EmitFinal
from legonn_server.session.endpoint import EndReason
from legonn_server.session.segment import Segment
from legonn_server.session.wording import NOTHING, tidy


class Account:
    """Numbers the finals and counts samples; finals and non-speech partition the audio.

    Attributes:
        next_index: Index of the next final.
        num_replays: Attempts beyond the first, summed over segments.
        last_final_end: Where the newest final ends, as a model-rate sample.
    """

    def __init__(self, first_index: int = 0) -> None:
        self.next_index = first_index
        self._first_index = first_index
        self.num_replays = 0
        self.last_final_end = 0
        self._final_samples = 0
        self._nonspeech_samples = 0

    def final(
        self, segment: Segment, found: tuple[DecodedText, ...], *, sample_rate: int
    ) -> EmitFinal:
        """Close the account of one segment.

        Raises:
            BrokenInvariant: If the text does not begin with what was promised.
        """
        assert segment.encoder is not None
        assert segment.decoder is not None
        assert segment.end_sample is not None
        num_samples = segment.end_sample - segment.start_sample
        length_ms = num_samples * 1000 // sample_rate
        nothing = replace(NOTHING, text=segment.promised)
        hypotheses = tuple(tidy(one, length_ms) for one in found) or (nothing,)
        if not hypotheses[0].text.startswith(segment.promised):
            raise BrokenInvariant("a final does not begin with the stable text")
        final = EmitFinal(
            segment_index=self.next_index,
            start_sample=segment.start_sample,
            end_sample=segment.end_sample,
            hypotheses=hypotheses,
            encoder=segment.encoder,
            decoder=segment.decoder,
            replays=segment.attempt,
            reason=segment.reason,
        )
        self.next_index += 1
        self._final_samples += num_samples
        self.last_final_end = segment.end_sample
        return final

    def nonspeech(self, num_samples: int) -> None:
        """Nothing was said here."""
        self._nonspeech_samples += num_samples

    def close(self) -> CloseStream:
        """The last word."""
        return CloseStream(
            self.next_index - self._first_index,
            self._final_samples,
            self._nonspeech_samples,
            self.num_replays,
        )


def empty_segment(like: Segment, sample: int, *, promise: str = "") -> Segment:
    """An empty segment at ``sample`` with the versions of an earlier one, to answer a flush."""
    return Segment(
        like.number,
        sample,
        promise=promise,
        encoder=like.encoder,
        decoder=like.decoder,
        end_sample=sample,
        reason=EndReason.FLUSH,
    )
