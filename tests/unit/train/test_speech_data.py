from __future__ import annotations

import csv
import io
import tarfile
from itertools import islice

import numpy as np
import pytest
import soundfile

from legonn_core.train.speech_data import Recording, SpeechBatcher, SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces
from tests.support.tiny import VOCABULARY, speech

CHUNK = 5120
ROWS = [
    # path, confirmed, text
    ("a.flac", "1.0", "The cat sits."),
    ("b.flac", "0.69", "The dog runs."),
    ("c.flac", "0.9", "no ☃ here"),
    ("d.flac", "0.7", "He has no time."),
]


@pytest.fixture(scope="module")
def pieces(tiny_store) -> EnglishPieces:
    return EnglishPieces(tiny_store / VOCABULARY)


@pytest.fixture
def root(tmp_path):
    with (tmp_path / "set.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        table.writerows([("path", "pc_match", "pc"), *ROWS])
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for seed, name in enumerate([*(row[0] for row in ROWS), "stranger.flac"]):
            audio = io.BytesIO()
            soundfile.write(audio, speech(3200, seed=seed), 16000, format="FLAC")
            member = tarfile.TarInfo(name)
            member.size = len(audio.getvalue())
            audio.seek(0)
            archive.addfile(member, audio)
    return tmp_path


def test_a_set_is_read_without_what_is_doubtful(root, pieces):
    found = read_set(root, SpeechSet("set.tsv", "pc"), pieces)
    assert [r.tokens for r in found] == [pieces.encode(ROWS[i][2]) for i in (0, 3)]
    assert all(r.samples.dtype == np.int16 and len(r.samples) == 3200 for r in found)


def test_digits_may_be_left_out(root, pieces, tiny_store):
    table = root / "set.tsv"
    table.write_text(table.read_text("utf-8").replace("time", "2 time"), "utf-8")
    plain = read_set(root, SpeechSet("set.tsv", "pc"), pieces)
    fewer = read_set(root, SpeechSet("set.tsv", "pc", skip_digits=True), pieces)
    assert {r.tokens for r in fewer} <= {r.tokens for r in plain}
    assert all("2" not in pieces.vocabulary.text(r.tokens) for r in fewer)


@pytest.fixture
def batcher() -> SpeechBatcher:
    recordings = [
        Recording((speech(n, seed=n) * 30000).astype(np.int16), (i + 1, 30))
        for i, n in enumerate((4000, 6000, 9000, 60000))
    ]
    return SpeechBatcher(
        recordings,
        np.array([1.0, 1.0, 1.0, 0.2]),
        chunk_samples=CHUNK,
        min_chunks=4,
        max_chunks=16,
        batch_seconds=4.0,
        seed=[0],
    )


def test_batches_are_whole_chunks_with_their_text(batcher):
    heard = 0
    for samples, chunks, targets in islice(iter(batcher), 12):
        batch, length = samples.shape
        assert set(chunks.tolist()) == {length // CHUNK}
        assert length // CHUNK in (4, 15)
        assert batch == len(targets) == max(2, int(4.0 * 16000 / length))
        assert samples.isfinite().all()
        assert float(samples.abs().max()) <= 1.0
        assert all(len(target) % 2 == 0 for target in targets)
        heard += sum(len(target) > 0 for target in targets)
    assert heard > 20


def test_a_row_ends_in_silence_and_holds_whole_utterances_only(batcher):
    long = batcher.recordings[-1].tokens
    for _ in range(20):
        row, tokens = batcher._row(4 * CHUNK)
        assert not row[-3200:].any()
        assert all(tokens[i : i + 2] != long for i in range(0, len(tokens), 2))
        assert bool(tokens) == bool(row.any())


def test_the_same_seed_gives_the_same_batches(batcher):
    def first() -> np.ndarray:
        again = SpeechBatcher(
            batcher.recordings,
            np.ones(4),
            chunk_samples=CHUNK,
            min_chunks=4,
            max_chunks=8,
            batch_seconds=3.0,
            seed=[4],
        )
        return next(iter(again))[0].numpy()

    assert (first() == first()).all()


def test_long_utterances_are_heard_for_their_share_of_the_audio(batcher):
    """A quarter of the weighted audio, in shorter batches: a fifth of the rows."""
    long = batcher.recordings[-1]
    rows = [target for _, _, targets in islice(iter(batcher), 60) for target in targets]
    share = sum(target[: len(long.tokens)] == long.tokens for target in rows) / len(rows)
    assert 0.12 < share < 0.28


def test_what_fits_no_row_is_left_out(batcher):
    shorter = SpeechBatcher(
        batcher.recordings,
        np.ones(4),
        chunk_samples=CHUNK,
        min_chunks=4,
        max_chunks=6,
        batch_seconds=4.0,
        seed=[0],
    )
    assert len(shorter.recordings) == 3
