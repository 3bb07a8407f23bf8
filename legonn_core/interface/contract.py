"""What two modules must agree on before either is loaded.

A contract is five facts that stand on both cards. ``check`` compares them and says which one stands
in the way. It knows nothing of weights: a refusal costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from legonn_core.errors import EncodingMismatch, RateMismatch, VocabularyMismatch

RATE_BAND = 1.5
"""An encoder may be this factor slower or faster than the rate that a decoder names.

Decoders are trained on marginals of varied length (two to three rows a piece is the useful band),
so half as fast again still lies inside what they have seen.
"""


@dataclass(frozen=True, slots=True)
class Contract:
    """One side's view of the interface.

    Attributes:
        fingerprint: Of the vocabulary.
        num_classes: V, blank included.
        blank: Class index of the CTC blank.
        rows_per_second: Rows of marginals a second of audio; None: not an encoder of speech, or a
            decoder that takes any rate.
        rows_per_token: Rows of marginals a source token; None likewise.
        top_k: Classes listed in a row: for an encoder exactly, for a decoder at most.
    """

    fingerprint: str
    num_classes: int
    blank: int = 0
    rows_per_second: float | None = None
    rows_per_token: float | None = None
    top_k: int = 8

    def __post_init__(self) -> None:
        if not self.fingerprint:
            raise ValueError("fingerprint is empty")
        if not 2 <= self.num_classes <= 2**16:
            raise ValueError(f"num_classes is {self.num_classes}, not between 2 and 65536")
        if not 0 <= self.blank < self.num_classes:
            raise ValueError(f"blank is {self.blank}, not a class of {self.num_classes}")
        if not 1 <= self.top_k <= 255:
            raise ValueError(f"top_k is {self.top_k}, not between 1 and 255")
        for name in ("rows_per_second", "rows_per_token"):
            rate = getattr(self, name)
            if rate is not None and not rate > 0:
                raise ValueError(f"{name} is {rate}, not positive")


def check(encoder: Contract, decoder: Contract) -> None:
    """Refuse an encoder whose marginals the decoder would misread.

    Raises:
        VocabularyMismatch: ``fingerprint``, ``num_classes`` or ``blank`` differ.
        RateMismatch: ``rows_per_second`` or ``rows_per_token`` is more than ``RATE_BAND`` off.
        EncodingMismatch: The encoder lists more classes a row than the decoder reads.
    """
    for name in ("fingerprint", "num_classes", "blank"):
        ours, theirs = getattr(encoder, name), getattr(decoder, name)
        if ours != theirs:
            raise VocabularyMismatch(f"{name}: the encoder has {ours}, the decoder {theirs}")
    for name in ("rows_per_second", "rows_per_token"):
        rate, wanted = getattr(encoder, name), getattr(decoder, name)
        if rate is None or wanted is None:
            continue
        if not wanted / RATE_BAND <= rate <= wanted * RATE_BAND:
            raise RateMismatch(
                f"{name}: the encoder has {rate:g}, the decoder was trained for {wanted:g}"
                f" (a factor of {RATE_BAND:g} either way is allowed)"
            )
    if encoder.top_k > decoder.top_k:
        raise EncodingMismatch(
            f"top_k: the encoder lists {encoder.top_k} classes a row,"
            f" the decoder reads {decoder.top_k}"
        )
