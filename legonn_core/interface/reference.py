"""The name of a module version, and what others need to know of it without its card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from legonn_core.interface.contract import Contract, check


@dataclass(frozen=True, slots=True, order=True)
class ModuleRef:
    """One immutable version of one module, written ``name/version``."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> ModuleRef:
        """Read ``name/version``.

        Raises:
            ValueError: If the text has another form.
        """
        name, slash, version = text.rpartition("/")
        if not slash or not name or not version:
            raise ValueError(f"a module is written name/version, not {text!r}")
        return cls(name, version)


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """What a gateway needs to know of a loaded module, taken from its card.

    Attributes:
        kind: ``SPEECH_ENCODER``, ``TEXT_ENCODER`` or ``DECODER``.
        fingerprint: Vocabulary fingerprint of its interface side.
        sample_rate_hertz: Speech only, else 0.
        chunk_samples: Speech only, else 0.
        row_ms: Duration of one row; speech only, else 0.
        vocabulary: Name such as ``en/1``.
        ctc_weight: What the card suggests for decoding; an encoder's suits its marginals.
        length_bonus: Likewise.
        confidence_scale: How the confidences of what an encoder reads are made to hold.
        confidence_offset: Likewise.
        blank_band: Least and greatest share of blank rows that its card promises; None if it names
            no band.
        memory_bytes: Of its weights and of the state of all slots; 0 when not known.
        load_seconds: Time spent reading and checking it here; 0 when not known.
        warm_seconds: Time spent running it once before service; 0 when not known.
        golden_difference: Largest difference of a probability from its golden output.
        contract: What a partner must agree to; None where it is not known.
    """

    ref: ModuleRef
    kind: str
    source_language: str
    target_language: str
    fingerprint: str
    vocabulary: str
    weights_digest: str
    num_parameters: int
    sample_rate_hertz: int = 0
    chunk_samples: int = 0
    row_ms: float = 0.0
    ctc_weight: float = 0.3
    length_bonus: float = 0.0
    confidence_scale: float = 1.0
    confidence_offset: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    blank_band: tuple[float, float] | None = None
    memory_bytes: int = 0
    load_seconds: float = 0.0
    warm_seconds: float = 0.0
    golden_difference: float = 0.0
    contract: Contract | None = None


def check_partners(module: ModuleDescription, others: Iterable[ModuleDescription]) -> None:
    """Refuse a module that would misread, or be misread by, one that it may meet.

    Args:
        module: The new one.
        others: Modules in service; two encoders or two decoders never meet.

    Raises:
        ContractMismatch: Names the field.
    """
    for other in others:
        decoders = [one for one in (module, other) if one.kind == "DECODER"]
        encoders = [one for one in (module, other) if one.kind != "DECODER"]
        if not decoders or not encoders:
            continue
        ours, theirs = encoders[0].contract, decoders[0].contract
        if ours is not None and theirs is not None:
            check(ours, theirs)
