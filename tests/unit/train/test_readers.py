from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from legonn_core.errors import BadConfig, BadText
from legonn_core.train import readers
from legonn_core.train.packing import PackRecipe, PackTrainer
from legonn_core.train.speech_data import SpeechSet, read_set
from legonn_core.train.text_data import EnglishPieces, read_pairs
from tests.support.tiny import ENGLISH, speech


def record(path: Path, *, seconds: float = 0.5, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(int(seconds * rate), seed=len(path.name)), rate)


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    folder = tmp_path / "LibriSpeech/dev/12/34"
    for index in range(2):
        record(folder / f"12-34-{index:04d}.flac")
    lines = [f"12-34-{index:04d} {ENGLISH[index].upper()}" for index in range(2)]
    (folder / "12-34.trans.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "LibriSpeech/dev"


def common_voice(folder: Path, rows: str) -> Path:
    record(folder / "clips/a.mp3.wav", rate=48000)
    table = folder / "validated.tsv"
    table.write_text("client_id\tpath\tsentence\n" + rows)
    return table


def europarl(folder: Path, line: str) -> Path:
    record(folder / "en/audios/talk.flac", seconds=3.0)
    split = folder / "en/de/train"
    split.mkdir(parents=True)
    (split / "segments.lst").write_text(line + "\n")
    (split / "segments.en").write_text(ENGLISH[0] + "\n")
    return split


def test_librispeech_is_read_and_packed(libri, tmp_path, tiny_store, capsys):
    found = list(readers.librispeech(libri))
    assert [(u.name, u.speaker) for u in found] == [("12-34-0000", "12"), ("12-34-0001", "12")]
    recipe = PackRecipe("librispeech", str(libri), str(tmp_path / "packed.tsv"))
    PackTrainer(recipe, root=tmp_path).run()
    assert "packed.tsv: 2 utterances" in capsys.readouterr().out
    pieces = EnglishPieces(tiny_store / "en/1")
    chosen = SpeechSet("packed.tsv", "pc")
    heard = read_set(tmp_path, chosen, pieces)
    assert len(heard) == sum(pieces.encode(u.text) is not None for u in found)


def test_common_voice_is_brought_to_sixteen_kilohertz(tmp_path):
    table = common_voice(tmp_path, f"me\ta.mp3.wav\t{ENGLISH[0]}\n")
    recipe = PackRecipe("common-voice", str(table), str(tmp_path / "cv.tsv"))
    PackTrainer(recipe, root=tmp_path).run()
    assert (tmp_path / "cv.tar").exists()
    assert "\t0.500\t" in (tmp_path / "cv.tsv").read_text()


def test_europarl_segments_are_cut_from_their_talk(tmp_path):
    split = europarl(tmp_path, "talk 0.5 1.75")
    recipe = PackRecipe("europarl-st", str(split), str(tmp_path / "ep.tsv"))
    PackTrainer(recipe, root=tmp_path).run()
    assert "\t1.250\t" in (tmp_path / "ep.tsv").read_text()


def test_parallel_files_become_rows(tmp_path, tiny_store):
    (tmp_path / "train.de").write_text("Ein Hund.\n\nEine Katze.\n")
    (tmp_path / "train.en").write_text(f"{ENGLISH[1]}\n\n{ENGLISH[0]}\n")
    recipe = PackRecipe("parallel", "train.de", "pairs.tsv", target="train.en", origin="multi30k")
    PackTrainer(recipe, root=tmp_path).run()
    pieces = EnglishPieces(tiny_store / "en/1")
    store = read_pairs(tmp_path / "pairs.tsv", pieces, origin_weights={"multi30k": 2.0})
    assert [pair.source for pair in store.pairs] == ["Ein Hund.", "Eine Katze."]
    assert np.allclose(store.weights, 2.0)


def test_any_table_will_do(tmp_path):
    (tmp_path / "t.tsv").write_text("n\tfrom\tto\n1\tEin Hund.\tA dog.\n")
    rows = readers.text_table(tmp_path / "t.tsv", source="from", target="to", origin="mine")
    assert list(rows) == [readers.TextRow("Ein Hund.", "A dog.", "mine")]
    record(tmp_path / "x.wav")
    (tmp_path / "s.tsv").write_text("file\twords\nx.wav\tA dog.\n")
    (one,) = readers.speech_table(tmp_path / "s.tsv", audio="file", text="words")
    assert (one.name, one.text) == ("x", "A dog.")


def lonely_line(folder: Path) -> object:
    (folder / "a.de").write_text("Hund\nKatze\n")
    (folder / "a.en").write_text("dog\n\n")
    return list(readers.parallel(folder / "a.de", folder / "a.en", origin="x"))


def uneven(folder: Path) -> object:
    (folder / "a.de").write_text("Hund\n")
    (folder / "a.en").write_text("dog\ncat\n")
    return list(readers.parallel(folder / "a.de", folder / "a.en", origin="x"))


def latin(folder: Path) -> object:
    (folder / "a.tsv").write_bytes("source\ttarget\nStraße\tstreet\n".encode("latin-1"))
    return list(readers.text_table(folder / "a.tsv", source="source", target="target", origin="x"))


def broken_transcript(folder: Path) -> object:
    record(folder / "1/2/1-2-0000.flac")
    (folder / "1/2/1-2.trans.txt").write_text("1-2-0000 HELLO\n1-2-0001\n")
    return list(readers.librispeech(folder))


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lonely_line, r"a\.de: row 2 is empty on one side only; remove it"),
        (uneven, r"1 lines, but a\.en has 2; the two must be parallel"),
        (latin, r"is not UTF-8; convert it with iconv"),
        (broken_transcript, r"row 2 has no text behind its name; remove the line"),
        (lambda f: list(readers.librispeech(f)), "give the folder that holds the speakers"),
        (
            lambda f: list(readers.common_voice(common_voice(f, "me\tb.wav\thi\n"))),
            "row 2 names b.wav, and .* is no file; fetch it or remove the row",
        ),
        (
            lambda f: list(readers.common_voice(common_voice(f, "me\tb.m4a\thi\n"))),
            "cannot be decoded; convert it to FLAC",
        ),
        (
            lambda f: list(readers.common_voice(common_voice(f, "me\ta.mp3.wav\n"))),
            "row 2 breaks off",
        ),
        (
            lambda f: list(readers.europarl_st(europarl(f, "talk 2 1"), language="en")),
            "row 1 ends at 1.0 s before it begins",
        ),
        (
            lambda f: list(readers.europarl_st(europarl(f, "talk two 1"), language="en")),
            "row 1 is not NAME START END",
        ),
        (
            lambda f: list(readers.europarl_st(europarl(f, "other 0 1"), language="en")),
            "ffmpeg",
        ),
    ],
)
def test_a_bad_row_is_named_with_what_to_do(tmp_path, read: Callable[[Path], object], said: str):
    with pytest.raises(BadText, match=said):
        read(tmp_path)


def test_a_missing_column_is_said_with_those_there(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(BadText, match="no column source; it has a, b"):
        list(readers.text_table(tmp_path / "t.tsv", source="source", target="b", origin=""))


def test_damaged_audio_is_counted_or_ends_it(libri, tmp_path, capsys):
    (libri / "12/34/12-34-0001.flac").write_bytes(b"fLaC nothing")
    recipe = PackRecipe("librispeech", str(libri), str(tmp_path / "p.tsv"))
    with pytest.raises(BadText, match=r"utterance 2 .*12-34-0001.flac.*raise skip_bad"):
        PackTrainer(recipe, root=tmp_path).run()
    assert not (tmp_path / "p.tsv").exists()
    patient = PackRecipe("librispeech", str(libri), str(tmp_path / "p.tsv"), skip_bad=1)
    PackTrainer(patient, root=tmp_path).run()
    assert "1 utterances, 0.00 h, 1 bad ones left out" in capsys.readouterr().out


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(BadConfig, match="form is 'cassette'"):
        PackTrainer(PackRecipe("cassette", "x", "y"), root=tmp_path)
