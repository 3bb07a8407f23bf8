"""What a segment asks of the decoder: readings while it is open, and its final."""

from __future__ import annotations

from legonn_core.runtime.messages import DecodeJob, DecodeKind
from legonn_server.session.events import Opened
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.segment import Segment


def commit_job(segment: Segment, policy: DecodingPolicy, opened: Opened) -> DecodeJob:
    """A reading of the open segment so far.

    A promise of a broken session is forced only once as much has been heard again: before that the
    audio does not hold its words yet.
    """
    assert segment.encoder is not None
    assert segment.decoder is not None
    is_forced = segment.is_catching_up and segment.has_caught_up
    return DecodeJob(
        module=segment.decoder.ref,
        marginals=tuple(segment.rows.blocks),
        kind=DecodeKind.COMMIT,
        forced=segment.stable.tokens,
        forced_text=segment.promise if is_forced else "",
        beam=policy.commit_beam,
        ctc_weight=segment.encoder.ctc_weight,
        length_bonus=segment.encoder.length_bonus,
        row_ms=segment.encoder.row_ms,
        phrases=opened.phrases,
    )


def final_job(segment: Segment, policy: DecodingPolicy, opened: Opened) -> DecodeJob:
    """The n-best of the closed segment; every reading begins with what was promised."""
    assert segment.encoder is not None
    assert segment.decoder is not None
    return DecodeJob(
        module=segment.decoder.ref,
        marginals=tuple(segment.rows.blocks),
        kind=DecodeKind.FINAL,
        forced=segment.stable.tokens,
        forced_text=segment.promise if segment.is_catching_up else "",
        beam=max(policy.final_beam, opened.num_best),
        num_best=opened.num_best,
        max_row=segment.num_rows,
        ctc_weight=segment.encoder.ctc_weight,
        length_bonus=segment.encoder.length_bonus,
        row_ms=segment.encoder.row_ms,
        phrases=opened.phrases,
    )
