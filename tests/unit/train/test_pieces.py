"""Vocabularies: a closed alphabet, the blank in the unknown piece's place, never made twice."""

from __future__ import annotations

import pytest
import sentencepiece

from legonn_core.errors import BadConfig
from legonn_core.interface.vocabulary import Vocabulary
from legonn_core.train.pieces import PiecesRecipe, PiecesTrainer

LINES = [f"The cat number {i} sat on the mat, and so did the dog.\tstory" for i in range(60)]


@pytest.fixture
def root(tmp_path):
    rows = [*LINES, "Ünseen ſigns ☃ here.\tstory", "left out\tother"]
    (tmp_path / "text.tsv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def source(**more):
    return {"path": "text.tsv", "column": 0, "origin_column": 1, **more}


def test_a_vocabulary_has_the_blank_first_and_a_closed_alphabet(root):
    recipe = PiecesRecipe(
        sources=[source(origin_keep={"other": 0.0})],
        out="en/9",
        size=32,
        name="en/9",
        least=4,
        threads=1,
    )
    PiecesTrainer(recipe, root=root).run()
    vocabulary = Vocabulary.from_json((root / "en/9/vocabulary.json").read_text("utf-8"))
    assert vocabulary.tokens[0] == "<blank>"
    assert len(vocabulary) == 32
    characters = {c for token in vocabulary.tokens[1:] for c in token}
    assert not characters & set("Üſ☃")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(root / "en/9/pieces.model"))
    ids = processor.encode("The dog sat.")
    assert 0 not in ids
    assert vocabulary.text(ids) == "The dog sat."


def test_a_vocabulary_is_never_made_anew(root):
    (root / "en/9").mkdir(parents=True)
    recipe = PiecesRecipe(sources=[source()], out="en/9", size=32, name="en/9")
    with pytest.raises(BadConfig, match="there already"):
        PiecesTrainer(recipe, root=root)


def test_source_pieces_read_any_character(root):
    recipe = PiecesRecipe(sources=[source()], out="work/xx.model", size=330, threads=1)
    PiecesTrainer(recipe, root=root).run()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(root / "work/xx.model"))
    assert processor.decode(processor.encode("☃ cat")) == "☃ cat"
