"""The contract names what stands in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legonn_core.errors import EncodingMismatch, RateMismatch, VocabularyMismatch
from legonn_core.interface.contract import Contract, check

ENCODER = Contract("0123456789abcdef", 2001, rows_per_second=12.5, top_k=8)
DECODER = Contract("0123456789abcdef", 2001, rows_per_second=12.5, rows_per_token=3.0, top_k=8)


def test_a_fit_passes() -> None:
    check(ENCODER, DECODER)
    check(replace(ENCODER, rows_per_second=9.375, top_k=4), DECODER)
    check(replace(ENCODER, rows_per_second=None, rows_per_token=3.0), DECODER)
    check(ENCODER, replace(DECODER, rows_per_second=None))


@pytest.mark.parametrize(
    ("field", "value"), [("fingerprint", "ff"), ("num_classes", 1001), ("blank", 1)]
)
def test_another_vocabulary(field: str, value: object) -> None:
    stranger = replace(ENCODER, **{field: value})  # type: ignore[arg-type]  # field and value by name
    with pytest.raises(VocabularyMismatch, match=rf"{field}: .*{value}.*{getattr(DECODER, field)}"):
        check(stranger, DECODER)


@pytest.mark.parametrize("rate", [8.0, 25.0])
def test_another_rate(rate: float) -> None:
    with pytest.raises(RateMismatch, match=rf"rows_per_second: .*{rate:g}.*12.5"):
        check(replace(ENCODER, rows_per_second=rate), DECODER)


def test_another_rate_of_text() -> None:
    with pytest.raises(RateMismatch, match="rows_per_token"):
        check(replace(ENCODER, rows_per_token=1.0), DECODER)


def test_more_classes_than_the_decoder_reads() -> None:
    with pytest.raises(EncodingMismatch, match=r"top_k: .*16.*8"):
        check(replace(ENCODER, top_k=16), DECODER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fingerprint", ""),
        ("num_classes", 1),
        ("blank", 2001),
        ("top_k", 0),
        ("rows_per_second", 0.0),
        ("rows_per_token", float("nan")),
    ],
)
def test_nonsense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(DECODER, **{field: value})  # type: ignore[arg-type]  # field and value by name
