from __future__ import annotations

import numpy as np
import pytest

from legonn_core.errors import BadText
from legonn_core.interface import codec
from legonn_core.runtime.messages import EncodeResult, EncodeText
from legonn_core.runtime.text_engine import TextEngine
from tests.support.tiny import GERMAN, TEXT_SHAPE

SENTENCES = (
    "Die Katze sitzt auf der Matte und wartet.",
    "Ein Hund.",
    "Es regnet in der Stadt, und die Sonne ist nicht da.",
)


@pytest.fixture
def engine(text_module) -> TextEngine:
    return TextEngine(text_module)


def test_sentences_together_equal_each_alone(engine):
    together = engine.encode([EncodeText(GERMAN, text) for text in SENTENCES])
    for text, found in zip(SENTENCES, together, strict=True):
        (expected,) = engine.encode([EncodeText(GERMAN, text)])
        assert isinstance(found, EncodeResult)
        assert isinstance(expected, EncodeResult)
        assert found.best.tokens == expected.best.tokens
        ours, theirs = codec.decode(found.marginals), codec.decode(expected.marginals)
        assert (ours.ids[:, 0] == theirs.ids[:, 0]).all()
        assert np.allclose(np.exp(ours.log_probs[:, 0]), np.exp(theirs.log_probs[:, 0]), atol=0.07)


def test_rows_stand_for_source_tokens(engine, text_module):
    (found,) = engine.encode([EncodeText(GERMAN, SENTENCES[0])])
    assert isinstance(found, EncodeResult)
    tokens = len(text_module.source.encode(SENTENCES[0]))
    block = codec.decode(found.marginals)
    assert found.num_rows == found.total_rows == len(block) == tokens * TEXT_SHAPE.rows_per_token
    assert block.times_ms.tolist() == [i // 2 for i in range(2 * tokens)]
    assert (found.trailing_blank_ms, found.blank_probs) == (0, ())


def test_a_refused_sentence_harms_no_other(engine):
    texts = ["", SENTENCES[0], "Katze " * 40, "   "]
    empty, fine, long, blank = engine.encode([EncodeText(GERMAN, text) for text in texts])
    assert isinstance(fine, EncodeResult)
    assert isinstance(empty, BadText)
    assert isinstance(blank, BadText)
    assert isinstance(long, BadText)
    assert "at most 60 can be translated at once" in long.message
    assert "Katze" not in long.message


def test_unknown_letters_are_read_as_unknown(engine):
    (found,) = engine.encode([EncodeText(GERMAN, "日本")])
    assert isinstance(found, EncodeResult)
    assert engine.encode([]) == []
