"""A module's card: everything one needs to know of it without opening its weights.

``card.toml`` is written by tools and read by people, engines and routes. The classes below are the
file's tables; ``ModuleCard.parse`` refuses any key that they do not have and any that is missing.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import tomli_w

from legonn_core.errors import BadModule
from legonn_core.interface.contract import Contract
from legonn_core.interface.tables import TableError, read_table, write_table


class ModuleKind(Enum):
    """Which side of the interface a module stands on, and what it reads."""

    SPEECH_ENCODER = "SPEECH_ENCODER"
    TEXT_ENCODER = "TEXT_ENCODER"
    DECODER = "DECODER"


@dataclass(frozen=True, slots=True)
class ChunkGeometry:
    """How a speech encoder wants its audio.

    Attributes:
        sample_rate_hertz: Of mono float32 samples.
        chunk_samples: Exactly this many a step, except the last.
        left_context_ms: How far back a row may look.
        lookahead_ms: How far ahead a row may look; also the least delay of a row.
        row_ms: Time from one row's centre to the next.
    """

    sample_rate_hertz: int
    chunk_samples: int
    left_context_ms: float
    lookahead_ms: float
    row_ms: float

    def __post_init__(self) -> None:
        if self.sample_rate_hertz < 1 or self.chunk_samples < 1 or not self.row_ms > 0:
            raise ValueError("sample_rate_hertz, chunk_samples and row_ms must be positive")
        if self.left_context_ms < 0 or self.lookahead_ms < 0:
            raise ValueError("left_context_ms and lookahead_ms must not be negative")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What a file of the module must be: lower-case hex sha256 and size."""

    sha256: str
    num_bytes: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 is not 64 lower-case hex digits")
        if self.num_bytes < 0:
            raise ValueError("num_bytes is negative")


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One tensor of a stream's state; ``shape`` is without the batch axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size for one stream."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __post_init__(self) -> None:
        try:
            np.dtype(self.dtype)
        except TypeError as error:
            raise ValueError(f"dtype {self.dtype!r} is not a numpy type") from error
        if any(size < 0 for size in self.shape):
            raise ValueError("shape has a negative size")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Applied by an encoder to its logits.

    Attributes:
        temperature: All logits are divided by it.
        blank_bias: Then added to the blank's logit.
        confidence_scale: How word confidences are made to hold: logistic of this times their logit…
        confidence_offset: … plus this. Fitted by ``python -m legonn_core.evaluate.confidence``.
    """

    temperature: float = 1.0
    blank_bias: float = 0.0
    confidence_scale: float = 1.0
    confidence_offset: float = 0.0

    def __post_init__(self) -> None:
        if not 0.3 <= self.temperature <= 3.0:
            raise ValueError(f"temperature is {self.temperature}, not between 0.3 and 3")
        if not self.confidence_scale > 0:
            raise ValueError(f"confidence_scale is {self.confidence_scale}, not above 0")


@dataclass(frozen=True, slots=True)
class DecodingDefaults:
    """What a search uses when the job does not say.

    Attributes:
        ctc_weight: Weight of the CTC prefix score, 0 to 1.
        length_bonus: Natural-log bonus a token.
        beam: Hypotheses kept.
    """

    ctc_weight: float = 0.3
    length_bonus: float = 0.0
    beam: int = 5

    def __post_init__(self) -> None:
        if not 0.0 <= self.ctc_weight <= 1.0:
            raise ValueError(f"ctc_weight is {self.ctc_weight}, not between 0 and 1")
        if self.beam < 1:
            raise ValueError(f"beam is {self.beam}, not positive")


@dataclass(frozen=True, slots=True)
class DataSource:
    """One set that the weights were trained on, directly or through other weights."""

    name: str
    licence: str


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Where the weights come from.

    Attributes:
        recipe: Its file name.
        recipe_sha256: Of the file.
        data: What was learned from.
        notes: Remarks.
        minutes: That the training took, over all resumptions, on its machine; 0: not recorded.
    """

    recipe: str
    recipe_sha256: str
    data: tuple[DataSource, ...] = ()
    notes: str = ""
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class MarginalBands:
    """What an encoder's marginals look like when all is well; outside, a trial is given up.

    Attributes:
        blank_low: Least share of rows whose most probable class is blank.
        blank_high: Greatest such share.
    """

    blank_low: float = 0.0
    blank_high: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.blank_low <= self.blank_high <= 1.0:
            raise ValueError("blank_low and blank_high lie in [0, 1], the low one below")


@dataclass(frozen=True, slots=True)
class ModuleCard:
    """The whole card.

    Attributes:
        name: For example ``speech-en``.
        version: Positive whole number as text.
        kind: What the module is.
        source_language: BCP 47 code of what it reads; for a decoder the vocabulary's language.
        target_language: BCP 47 code of what it writes: the vocabulary's language.
        vocabulary: Name of the interface vocabulary, for example ``en/1``.
        contract: The interface facts.
        architecture: Free values for the code that builds the network.
        chunk: Speech encoders only.
        weights: File name in the module's folder to digest; every file that must be there.
        state_layout: The memory of one stream; empty for text encoders.
        calibration: Encoders only, else neutral.
        decoding: Decoders; encoders may suggest what suits their marginals.
        training: Provenance.
        scores: Measured figures by name, for example ``librispeech_test_other_100.wer``.
        bands: What its marginals look like in service; encoders only, may be absent.
        num_parameters: Of the whole module.
        created: Date, ``YYYY-MM-DD``.
    """

    name: str
    version: str
    kind: ModuleKind
    source_language: str
    target_language: str
    vocabulary: str
    contract: Contract
    architecture: dict[str, int | float | str | bool]
    weights: dict[str, FileDigest]
    training: TrainingRecord
    num_parameters: int
    created: str
    chunk: ChunkGeometry | None = None
    state_layout: tuple[StateTensor, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    decoding: DecodingDefaults = field(default_factory=DecodingDefaults)
    scores: dict[str, float] = field(default_factory=dict)
    bands: MarginalBands | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(f"name {self.name!r} is not lower-case words joined by hyphens")
        if not re.fullmatch("[1-9][0-9]*", self.version):
            raise ValueError(f"version {self.version!r} is not a positive whole number")
        if (self.chunk is not None) != (self.kind is ModuleKind.SPEECH_ENCODER):
            raise ValueError("chunk belongs on the card of a speech encoder, and only there")
        for file in self.weights:
            if file.startswith(("/", ".")) or ".." in file.split("/") or "\\" in file:
                raise ValueError(f"weights names {file!r}, which may lie outside the module")

    @property
    def weights_digest(self) -> str:
        """Sixteen hex digits that change with any file of the module."""
        lines = [f"{file} {digest.sha256}\n" for file, digest in sorted(self.weights.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    @property
    def state_bytes(self) -> int:
        """Memory that one open stream takes, as far as the layout says."""
        return sum(tensor.num_bytes for tensor in self.state_layout)

    @classmethod
    def parse(cls, toml_text: str) -> ModuleCard:
        """Read ``card.toml``.

        Raises:
            BadModule: If it is not TOML, or a key is unknown, missing or of the wrong type; the
                message names the key's full path.
        """
        try:
            return read_table(cls, tomllib.loads(toml_text))
        except tomllib.TOMLDecodeError as error:
            raise BadModule(f"card.toml is not TOML: {error}") from error
        except TableError as error:
            raise BadModule(f"card.toml: {error}") from error

    def to_toml(self) -> str:
        """Write what ``parse`` reads; absent optional tables are left out."""
        return tomli_w.dumps(write_table(self))
