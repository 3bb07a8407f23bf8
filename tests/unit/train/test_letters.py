"""Letters as a second target."""

from __future__ import annotations

from legonn_core.train.letters import LetterAlphabet
from tests.support.tiny import write_vocabulary


def test_spelling_folds_case_and_leaves_out_the_rest(tmp_path):
    vocabulary = write_vocabulary(tmp_path / "en")
    alphabet = LetterAlphabet(vocabulary)
    tokens = [t for t in range(1, len(vocabulary)) if vocabulary.tokens[t].strip()]
    spelt = alphabet.spell(tuple(tokens))
    assert spelt
    assert 1 <= min(spelt) <= max(spelt) < alphabet.num_classes
    assert alphabet.spell(()) == ()
