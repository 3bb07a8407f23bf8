from __future__ import annotations

import itertools
import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legonn_core.train.text_data import (
    EnglishPieces,
    drawn_batches,
    open_text,
    read_pairs,
    read_plain,
    repeats,
)
from tests.support.tiny import VOCABULARY


@pytest.fixture(scope="module")
def pieces(tiny_store) -> EnglishPieces:
    return EnglishPieces(tiny_store / VOCABULARY)


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.xz"])
def test_lines_come_plain_or_packed(tmp_path, name):
    content = "eins\tone\nzwei\ttwo é\n".encode()
    (tmp_path / name).write_bytes(lzma.compress(content) if name.endswith("xz") else content)
    assert list(open_text(tmp_path / name)) == ["eins\tone", "zwei\ttwo é"]


@pytest.mark.parametrize(
    ("tokens", "count"), [((), 0), ((1,), 0), ((1, 1), 1), ((1, 1, 1, 2, 2), 3), ((1, 2, 1), 0)]
)
def test_repeats(tokens, count):
    assert repeats(tokens) == count


def test_text_is_cut_and_joins_again(pieces):
    tokens = pieces.encode("The  cat sits on the mat.")
    assert tokens is not None
    assert pieces.vocabulary.text(tokens) == "The cat sits on the mat."


@pytest.mark.parametrize("text", ["", "  ", "日本", "The cat ☃ sits"])
def test_letters_outside_the_alphabet_are_refused(pieces, text):
    assert pieces.encode(text) is None


def test_pairs_are_read_weighed_and_counted(tmp_path, pieces):
    rows = [
        "Die Katze\tThe cat sits\ttatoeba",
        "Hund\ta dog\tbible",
        "Haus\tthe house on the hill\tunknown",
        "Weg\tthe road\tskipped",
        "Schnee\t☃\tbible",
        "Lang\t" + "the cat " * 60 + "\tbible",
        "no tabs",
    ]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    weights = {"tatoeba": 3.0, "bible": 0.5, "skipped": 0.0, "default": 0.2}
    store = read_pairs(path, pieces, origin_weights=weights, max_target=40)
    assert [pair.source for pair in store.pairs] == ["Die Katze", "Hund", "Haus"]
    assert store.pairs[1].target == pieces.encode("a dog")
    assert store.weights.tolist() == pytest.approx([3.0, 0.5 * 0.3, 0.2])
    assert store.dropped == {"bad row": 1, "left out": 1, "alphabet": 1, "too long": 1}


def test_plain_lines_are_read_and_weighed(tmp_path, pieces):
    path = tmp_path / "plain.txt"
    path.write_text("the cat\ta\nthe dog\tb\n☃\ta\nthe sun\nthe mat " * 3, encoding="utf-8")
    texts, weights = read_plain(path, pieces, origin_weights={"a": 2.0, "b": 0.0}, max_target=9)
    assert texts[0] == pieces.encode("the cat")
    assert weights[0] == 2.0
    assert all(len(text) <= 9 for text in texts)
    assert pieces.encode("the dog") not in texts


@settings(max_examples=20)
@given(seed=st.integers(0, 99), budget=st.integers(50, 3000))
def test_batches_keep_the_budget_and_are_of_like_length(seed: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, weights = rng.uniform(1, 90, 300), rng.random(300)
    batches = drawn_batches(lengths, weights, budget=budget, seed=seed, pool=4096)
    for batch in itertools.islice(batches, 60):
        costs = np.ceil(lengths[batch] / 12) * 12
        assert len(set(costs.tolist())) == 1
        assert len(batch) == 8 or len(batch) * costs[0] <= budget
        assert len(batch) % 8 == 0


def test_what_has_no_weight_is_not_drawn_and_seeds_repeat():
    lengths, weights = np.full(10, 5.0), np.r_[np.zeros(5), 1.0, 1.0, 1.0, 5.0, 0.0]

    def drawn() -> np.ndarray:
        batches = drawn_batches(lengths, weights, budget=480, seed=3, pool=400)
        return np.concatenate(list(itertools.islice(batches, 50)))

    found = drawn()
    assert set(found.tolist()) == {5, 6, 7, 8}
    assert (found == 8).mean() == pytest.approx(5 / 8, abs=0.05)
    assert (drawn() == found).all()
