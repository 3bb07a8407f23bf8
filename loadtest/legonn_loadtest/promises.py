"""What the wire contract promises of every stream, checked as a client sees it.

Pure: events in, sentences about broken promises out. The sentences hold none of the text.
"""

from __future__ import annotations

from legonn import Event, Final, Partial, Started, Summary


class PromiseCheck:
    """Watches one stream.

    Attributes:
        broken: What was promised and not kept, in the order it was seen.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._num_events = 0
        self._num_finals = 0
        self._stable = ""
        self._revision = 0
        self._end_sample = 0
        self._final_samples = 0
        self._flushes: list[int] = []
        self._summary: Summary | None = None

    def flushed(self, num_samples: int) -> None:
        """A flush was sent after so many samples."""
        if num_samples:
            self._flushes.append(num_samples)

    def see(self, event: Event) -> None:
        """The next event."""
        self._expect(event.sequence == self._num_events, "sequence has a gap")
        self._expect(self._summary is None, "something came after the summary")
        is_first = self._num_events == 0
        self._expect(isinstance(event, Started) == is_first, "started is not the first, or twice")
        self._num_events += 1
        if isinstance(event, Partial):
            self._see_partial(event)
        elif isinstance(event, Final):
            self._see_final(event)
        elif isinstance(event, Summary):
            self._summary = event

    def end(self, num_samples: int) -> tuple[str, ...]:
        """The stream has ended well.

        Args:
            num_samples: Samples that were sent.

        Returns:
            All broken promises.
        """
        if self._summary is None:
            self._expect(False, "no summary came")
            return tuple(self.broken)
        summary = self._summary
        self._expect(summary.samples_received == num_samples, "samples were lost")
        accounted = summary.samples_in_finals + summary.samples_non_speech
        self._expect(accounted == num_samples, "samples are not accounted for")
        self._expect(
            summary.samples_in_finals == self._final_samples, "finals are not what it sums"
        )
        self._expect(summary.num_segments == self._num_finals, "the summary miscounts finals")
        self._expect(not self._flushes, "a flush was not answered")
        return tuple(self.broken)

    def _see_partial(self, partial: Partial) -> None:
        at = f"segment {partial.segment_index}, revision {partial.revision}"
        self._expect(partial.segment_index == self._num_finals, f"{at}: not the open segment")
        self._expect(partial.revision > self._revision, f"{at}: revisions do not grow")
        self._expect(partial.stable_text.startswith(self._stable), f"{at}: stable text changed")
        self._revision = partial.revision
        self._stable = partial.stable_text

    def _see_final(self, final: Final) -> None:
        at = f"final {final.segment_index}"
        self._expect(final.segment_index == self._num_finals, f"{at}: finals out of order")
        self._expect(final.text.startswith(self._stable), f"{at}: does not begin with stable text")
        self._expect(final.start_sample >= self._end_sample, f"{at}: segments overlap")
        times = [time for word in final.words for time in (word.start_s, word.end_s)]
        known = [final.start_s, *(time for time in times if time is not None), final.end_s]
        self._expect(known == sorted(known), f"{at}: word times go back or leave the segment")
        crossed = any(final.start_sample < one < final.end_sample for one in self._flushes)
        self._expect(not crossed, f"{at}: goes past a flush")
        self._flushes = [one for one in self._flushes if one != final.end_sample]
        self._num_finals += 1
        self._final_samples += final.end_sample - final.start_sample
        self._end_sample = final.end_sample
        self._stable, self._revision = "", 0

    def _expect(self, is_kept: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as assert does
        if not is_kept:
            self.broken.append(otherwise)
