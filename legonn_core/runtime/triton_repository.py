"""A Triton model repository from a module store: one Triton model for each module version.

A model's name holds the digest of its weights, so two versions, or two builds that call themselves
the same version, never share a name. Its configuration comes from the card and cannot drift from
it. Of Triton's schedulers only ``dynamic_batching {}`` is used: it takes what has queued while the
last batch ran. Queue policies and priorities make release 2.51 lose wake-ups, and a queue delay is
paid in full by a lone stream.
"""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import legonn_core
from legonn_core.errors import BadConfig, BadModule
from legonn_core.interface.card import ModuleCard, ModuleKind
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import write_table
from legonn_core.modules.registry import CARD, describe, read_card
from legonn_core.modules.signatures import ANYONE, Trust
from legonn_core.runtime.priority import NICENESS
from legonn_core.runtime.wire import ANSWER, CALL, MARGINALS, SAMPLES, model_name, parse_model_name

STORE = "store"
"""Folder of the module's files beside ``model.py``."""


@dataclass(frozen=True, slots=True)
class TritonExport:
    """How modules are to be served.

    Attributes:
        kind: ``cpu`` or ``gpu``: where encoders compute; decoders stay on the CPU.
        gpu: Index of the device when ``kind`` is ``gpu``.
        slots: Streams of a speech encoder. There is one instance of each encoder, since instances
            are processes that do not share state.
        max_batch: Most calls that an encoder answers at once.
        decoder_instances: Processes of a decoder; a decode is a pure function and may go to any.
        idle_seconds: A slot not used for so long is given back.
        threads: Numeric threads of each process.
        load_niceness: How far a load stands back behind what is served, 0 to 19: on a machine
            without idle cores it lasts longer and costs the streams less.
    """

    kind: str = "cpu"
    gpu: int = 0
    slots: int = 32
    max_batch: int = 32
    decoder_instances: int = 1
    idle_seconds: float = 60.0
    threads: int = 1
    load_niceness: int = NICENESS

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "gpu"):
            raise BadConfig(f"modules run on cpu or gpu, not on {self.kind!r}")
        numbers = (self.slots, self.max_batch, self.decoder_instances, self.threads)
        if not 0 <= self.load_niceness <= 19:
            raise BadConfig("the niceness of a load lies in [0, 19]")
        if min(numbers) < 1 or self.gpu < 0 or not self.idle_seconds > 0:
            raise BadConfig("slots, batch, instances, threads and idle time must be positive")


@dataclass(frozen=True, slots=True)
class Exported:
    """One model of the repository.

    Attributes:
        ref: The module version.
        name: The Triton model.
        is_new: Whether it was not there before; what is there is immutable.
    """

    ref: ModuleRef
    name: str
    is_new: bool


def config_text(card: ModuleCard, options: TritonExport) -> str:
    """The ``config.pbtxt`` of a module version; complete, since the server is to guess nothing."""
    description = describe(card)
    is_decoder = card.kind is ModuleKind.DECODER
    inputs, outputs = [_tensor(CALL, "STRING", 1)], [_tensor(ANSWER, "STRING", 1)]
    if is_decoder:
        inputs.append(_tensor(MARGINALS, "STRING", -1))
    else:
        outputs.append(_tensor(MARGINALS, "STRING", 1))
    if card.chunk is not None:
        # Only a step brings samples.
        inputs.append(_tensor(SAMPLES, "FP32", card.chunk.chunk_samples, is_optional=True))
    count = options.decoder_instances if is_decoder else 1
    is_on_gpu = options.kind == "gpu" and not is_decoder
    place = (
        f"KIND_GPU count: 1 gpus: [ {options.gpu} ]" if is_on_gpu else f"KIND_CPU count: {count}"
    )
    parameters = {
        "MODULE": str(description.ref),
        "DESCRIPTION": json.dumps(write_table(description)),
        "SLOTS": str(options.slots),
        "IDLE_SECONDS": f"{options.idle_seconds:g}",
        "THREADS": str(options.threads),
        "LOAD_NICENESS": str(options.load_niceness),
        "FORCE_CPU_ONLY_INPUT_TENSORS": "yes",
    }
    lines = [
        "# Written by: legonn modules export --triton",
        f"name: {_quoted(model_name(description))}",
        'backend: "python"',
        f"max_batch_size: {0 if is_decoder else options.max_batch}",
        *(f"input [ {tensor} ]" for tensor in inputs),
        *(f"output [ {tensor} ]" for tensor in outputs),
        f"instance_group [ {{ kind: {place} }} ]",
        "model_transaction_policy { decoupled: true }" if is_decoder else "dynamic_batching { }",
        *(
            f"parameters [ {{ key: {_quoted(key)} value: {{ string_value: {_quoted(value)} }} }} ]"
            for key, value in parameters.items()
        ),
    ]
    if not is_decoder:  # Triton cannot warm up decoupled models; ours exercise themselves besides
        lines.append(_WARM_UP)
    return "\n".join(lines) + "\n"


_WARM_UP = f"""model_warmup [ {{ name: "probe" batch_size: 1 inputs {{
  key: "{CALL}" value: {{ data_type: TYPE_STRING dims: [ 1 ] zero_data: true }}
}} }} ]"""
"""An empty call is a probe: a real inference on the whole way, before the model is ready."""


def _tensor(name: str, data_type: str, size: int, *, is_optional: bool = False) -> str:
    optional = " optional: true" if is_optional else ""
    return f'{{ name: "{name}" data_type: TYPE_{data_type} dims: [ {size} ]{optional} }}'


def _quoted(value: str) -> str:
    """A string of the text format: bytes beyond ASCII in octal."""
    codes = (
        f"\\{byte:03o}" if byte in b'"\\' or not 32 <= byte < 127 else chr(byte)
        for byte in value.encode()
    )
    return '"' + "".join(codes) + '"'


def model_source() -> Path:
    """The generic ``model.py``: in a checkout beside this package, else where the wheel put it.

    Raises:
        BadConfig: If it is in neither place.
    """
    package = Path(legonn_core.__file__).parent
    installed = Path(sysconfig.get_path("data")) / "share/legonn/triton/model.py"
    candidates = (package.parent / "deploy/triton/model.py", installed)
    for path in candidates:
        if path.is_file():
            return path
    raise BadConfig("deploy/triton/model.py is missing from this installation")


def export(
    store: Path,
    folder: Path,
    options: TritonExport,
    *,
    refs: Iterable[ModuleRef],
    trust: Trust = ANYONE,
) -> list[Exported]:
    """Write a repository, or add to one; models that are there stay, but for their settings.

    Args:
        store: Module store.
        folder: The repository; made if it is missing.
        options: How the modules are to be served.
        refs: The versions.
        trust: Whose modules may be written. Who writes a repository is trusted by its server,
            which runs what is there: this is the door.

    Raises:
        UnknownModule: If the store has no such version.
        BadModule: If a card or a file is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for ref in refs:
        card = read_card(store, ref, trust)
        name = model_name(describe(card))
        is_new = not _is_there(store, ref, folder / name)
        if is_new:
            _write_model(store, card, folder / name)
        for other in folder.iterdir():  # an earlier build that called itself the same version
            if parse_model_name(other.name) == ref and other.name != name:
                shutil.rmtree(other)
        _keep_python_from_writing(folder / name / "1")
        _replace(folder / name / "1/model.py", model_source().read_text(encoding="utf-8"))
        _replace(folder / name / "config.pbtxt", config_text(card, options))
        found.append(Exported(ref, name, is_new))
    return found


def _is_there(store: Path, ref: ModuleRef, model: Path) -> bool:
    """Whether a model holds this version; a card may have been given new scores meanwhile."""
    place = Path(ref.name, ref.version, CARD)
    kept = model / "1" / STORE / place
    return kept.is_file() and kept.read_bytes() == (store / place).read_bytes()


def _write_model(store: Path, card: ModuleCard, target: Path) -> None:
    """Copy a module and its vocabulary; the model appears under its name when it is whole."""
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".legonn-") as unfinished:
        model = Path(unfinished) / target.name
        kept = model / "1" / STORE
        try:
            shutil.copytree(
                store / card.name / card.version,
                kept / card.name / card.version,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            shutil.copytree(store / card.vocabulary, kept / card.vocabulary)
        except (OSError, shutil.Error) as error:
            raise BadModule(f"{card.name}/{card.version} cannot be copied: {error}") from error
        if target.exists():
            target.rename(Path(unfinished, "replaced"))
        model.rename(target)


def _keep_python_from_writing(folder: Path) -> None:
    """Let no bytecode appear beside ``model.py``.

    Triton takes a folder that changed for a new model: the next load of what is loaded already, by
    another gateway say, would start it anew, and its streams would lose their state. The stub's
    Python heeds no variable that forbids it, but it cannot make a folder where a file is.
    """
    cache = folder / "__pycache__"
    if cache.is_dir():  # written under an export of an earlier version
        shutil.rmtree(cache)
    cache.touch(exist_ok=True)


def _replace(path: Path, content: str) -> None:
    """Write a file that readers see whole or not at all; leave an equal one alone."""
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(path)
