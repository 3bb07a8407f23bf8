"""Something to learn from, tiny: pairs, plain text, recordings, a dictionary, Whisper's trunk."""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from pathlib import Path

import soundfile

from tests.support.tiny import ENGLISH, GERMAN_TEXT, speech, speech_encoder
from tests.support.whisper_file import trunk_tensors, write

DICTIONARY = """the DH AH0
cat K AE1 T
cat(2) K AA1 T
sits S IH1 T S
on AA1 N
mat M AE1 T
and AE1 N D
waits W EY1 T S # a comment
a AH0
dog D AO1 G
runs R AH1 N Z
to T UW1
old OW1 L D
house HH AW1 S
"""


def write_training_data(folder: Path, tiny_store: Path) -> None:
    """Write what recipes of every kind may name into a folder."""
    shutil.copytree(tiny_store / "en", folder / "modules/en")
    shutil.copy(tiny_store / "text-de/1/source.model", folder / "source.model")
    pairs = [f"{de}\t{en}\tmade up" for de in GERMAN_TEXT for en in ENGLISH[:4]]
    (folder / "pairs.tsv").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    plain = [f"{text}\tmade up" for text in ENGLISH]
    (folder / "plain.tsv").write_text("\n".join(plain) + "\n", encoding="utf-8")
    (folder / "dictionary").write_text(DICTIONARY, encoding="utf-8")
    write(folder / "whisper.bin", trunk_tensors(speech_encoder(seed=7)))
    _write_recordings(folder)
    soundfile.write(folder / "golden.flac", speech(50_000, seed=3), 16000)


def _write_recordings(folder: Path) -> None:
    with (folder / "set.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        table.writerow(("path", "pc_match", "pc"))
        table.writerows((f"{i}.wav", "1.0", text) for i, text in enumerate(ENGLISH))
    with tarfile.open(folder / "set.tar", "w") as archive:
        for i in range(len(ENGLISH)):
            audio = io.BytesIO()
            soundfile.write(audio, speech(9000, seed=i), 16000, format="WAV")
            member = tarfile.TarInfo(f"{i}.wav")
            member.size = len(audio.getvalue())
            audio.seek(0)
            archive.addfile(member, audio)
