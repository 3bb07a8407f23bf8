"""Write any data set in the project's own form: a TSV with a tar of FLAC, or a TSV of text.

``legonn train recipes/pack.toml`` with ``kind = "pack"``; a bad row ends it before anything is
kept, unless ``skip_bad`` counts and names such rows instead.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.functional as audio
from numpy.typing import NDArray

from legonn_core.errors import BadConfig, BadText
from legonn_core.features.log_mel import SAMPLE_RATE
from legonn_core.train import readers
from legonn_core.train.readers import TextRow, Utterance

COLUMNS = ("id", "path", "duration_s", "transcript", "speaker", "normalized", "pc", "pc_match")
FORMS = ("librispeech", "common-voice", "europarl-st", "speech-tsv", "parallel", "text-tsv")


@dataclass(frozen=True, slots=True)
class PackRecipe:
    """What a recipe of kind ``pack`` may say.

    Attributes:
        form: One of ``FORMS``.
        path: Folder or file to read; for ``parallel`` the source side.
        out: TSV to write; speech gets a tar of the same name beside it.
        target: The English side of ``parallel``.
        source_column: Of ``text-tsv``: the foreign side; of ``speech-tsv``: the audio's path.
        text_column: The English.
        language: Of ``europarl-st``: whose text.
        origin: What the rows are called in ``origin_weights``.
        skip_bad: Leave bad texts out, at most this many, in place of ending.
    """

    form: str
    path: str
    out: str
    target: str = ""
    source_column: str = "source"
    text_column: str = "target"
    language: str = "en"
    origin: str = "default"
    skip_bad: int = 0


class PackTrainer:
    """Reads one form and writes the other."""

    def __init__(self, recipe: PackRecipe, *, root: Path) -> None:
        if recipe.form not in FORMS:
            raise BadConfig(f"form is {recipe.form!r}; it must be one of {', '.join(FORMS)}")
        self.recipe, self.path, self.out = recipe, root / recipe.path, root / recipe.out
        self.target = root / recipe.target

    def run(self) -> None:
        """Write the set, whole or not at all."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.recipe.form in ("parallel", "text-tsv"):
            print(f"{self.out.name}: {write_text(self._texts(), self.out)} rows")
            return
        count, hours, bad = write_speech(self._utterances(), self.out, skip=self.recipe.skip_bad)
        print(f"{self.out.name}: {count} utterances, {hours:.2f} h, {len(bad)} bad ones left out")
        for line in bad:
            print(f"  {line}")

    def _texts(self) -> Iterator[TextRow]:
        recipe = self.recipe
        if recipe.form == "parallel":
            return readers.parallel(self.path, self.target, origin=recipe.origin)
        return readers.text_table(
            self.path, source=recipe.source_column, target=recipe.text_column, origin=recipe.origin
        )

    def _utterances(self) -> Iterator[Utterance]:
        recipe = self.recipe
        match recipe.form:
            case "librispeech":
                return readers.librispeech(self.path)
            case "common-voice":
                return readers.common_voice(self.path)
            case "europarl-st":
                return readers.europarl_st(self.path, language=recipe.language)
        return readers.speech_table(self.path, audio=recipe.source_column, text=recipe.text_column)


def write_text(rows: Iterator[TextRow], out: Path) -> int:
    """Write ``source TAB target TAB origin``; tabs inside a sentence become spaces.

    Returns:
        How many rows.
    """
    draft, count = out.with_suffix(".part"), 0
    with draft.open("w", encoding="utf-8") as file:
        for row in rows:
            cells = (row.source, row.target, row.origin)
            file.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
            count += 1
    draft.replace(out)
    return count


def write_speech(
    utterances: Iterator[Utterance], out: Path, *, skip: int
) -> tuple[int, float, list[str]]:
    """Write a TSV and a tar of 16 kHz mono FLAC.

    Args:
        utterances: To decode.
        out: The TSV.
        skip: Recordings that may fail to decode.

    Returns:
        Utterances, hours, and a line for each that was left out.

    Raises:
        BadText: If more recordings are bad.
    """
    table, archive = out.with_suffix(".part"), out.with_suffix(".tar.part")
    count, samples, bad = 0, 0, list[str]()
    with (
        table.open("w", encoding="utf-8", newline="") as file,
        tarfile.open(archive, "w") as tar,
    ):
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(COLUMNS)
        for number, one in enumerate(utterances, 1):
            try:
                heard = decoded(one)
            except (soundfile.LibsndfileError, BadText) as error:
                bad.append(f"utterance {number} ({one.audio}): {error}")
                if len(bad) > skip:
                    todo = "convert or remove it, or raise skip_bad"
                    raise BadText(f"{bad[-1]}; {todo}") from error
                continue
            name, text = f"{number:06d}.flac", " ".join(one.text.split())
            _add(tar, name, heard)
            seconds = f"{len(heard) / SAMPLE_RATE:.3f}"
            writer.writerow((one.name, name, seconds, text, one.speaker, text, text, "1.0"))
            count, samples = count + 1, samples + len(heard)
    archive.replace(out.with_suffix(".tar"))
    table.replace(out)
    return count, samples / SAMPLE_RATE / 3600, bad


def decoded(one: Utterance) -> NDArray[np.int16]:
    """The utterance as 16 kHz mono.

    Raises:
        BadText: If it lies outside its recording.
    """
    with soundfile.SoundFile(one.audio) as file:
        rate = file.samplerate
        start = int(one.start_s * rate)
        stop = file.frames if one.end_s is None else int(one.end_s * rate)
        if not 0 <= start < stop <= file.frames + rate // 10:
            raise BadText(f"{one.start_s}–{one.end_s} s lies outside {file.frames / rate:.1f} s")
        file.seek(start)
        found = file.read(min(stop, file.frames) - start, dtype="float32", always_2d=True)
    mono = torch.from_numpy(found.mean(axis=1))
    if rate != SAMPLE_RATE:
        mono = audio.resample(mono, rate, SAMPLE_RATE)
    whole: NDArray[np.int16] = (mono.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    return whole


def _add(tar: tarfile.TarFile, name: str, samples: NDArray[np.int16]) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC")
    member = tarfile.TarInfo(name)
    member.size = buffer.tell()
    buffer.seek(0)
    tar.addfile(member, buffer)
