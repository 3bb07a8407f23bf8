"""What a model server starts: one module version with the settings of its configuration.

Reading torch and a module takes seconds of a core, while other modules of the same machine serve;
so it is done by a thread of low priority, and this file reads no torch by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from legonn_core.errors import BadConfig, BadModule
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import write_table
from legonn_core.runtime.priority import be_served_later

if TYPE_CHECKING:
    from legonn_core.runtime.served import ServedModule
    from legonn_core.runtime.served_decoder import ServedDecoder


@dataclass(frozen=True, slots=True)
class Served:
    """A module in service.

    Attributes:
        module: Answers batches if it is an encoder.
        decoder: Answers decodes if it is one.
    """

    module: ServedModule
    decoder: ServedDecoder | None

    def close(self) -> None:
        """End what is under way."""
        if self.decoder is not None:
            self.decoder.close()


def start(args: Mapping[str, str]) -> Served:
    """Start what the arguments of Triton's ``initialize`` name.

    Raises:
        LegonnError: As of ``load``.
    """
    parameters = json.loads(args["model_config"])["parameters"]
    settings = {name: value["string_value"] for name, value in parameters.items()}
    folder = Path(args["model_repository"], args["model_version"])
    device = device_of(args["model_instance_kind"], args["model_instance_device_id"])
    return load(folder, settings, device=device)


def load(folder: Path, settings: Mapping[str, str], *, device: str) -> Served:
    """Read, check, warm and start the module of a model folder.

    Args:
        folder: Holds ``store``.
        settings: Parameters of the model's configuration.
        device: ``cpu`` or such as ``cuda:0``; see ``device_of``.

    Raises:
        LegonnError: If the module is damaged, is not the one that the configuration was written
            for, or does not compute what it promises.
    """
    niceness = int(settings["LOAD_NICENESS"])
    with ThreadPoolExecutor(
        1, "legonn-loader", initializer=be_served_later, initargs=(niceness,)
    ) as loader:
        module = loader.submit(_prepared, folder, settings, device).result()
    import torch

    from legonn_core.runtime.served_decoder import ServedDecoder

    torch.set_num_threads(int(settings["THREADS"]))
    # Threads inherit the priority of the one that starts them: the decoder's is started here.
    is_decoder = module.description.kind == "DECODER"
    return Served(module, ServedDecoder(module) if is_decoder else None)


def device_of(kind: str, number: str) -> str:
    """Torch's name of where a server wants an instance to compute.

    Args:
        kind: ``CPU`` or ``GPU``.
        number: Of the GPU.
    """
    return f"cuda:{number}" if kind == "GPU" else "cpu"


def _prepared(folder: Path, settings: Mapping[str, str], device: str) -> ServedModule:
    """The module, checked and warm."""
    import torch

    from legonn_core.modules.registry import describe, read_card
    from legonn_core.runtime.served import ServedModule, ServedOptions

    torch.set_num_threads(int(settings["THREADS"]))
    if device != "cpu" and not torch.cuda.is_available():
        raise BadConfig(f"torch finds no {device} on this server; export with --kind cpu")
    ref = ModuleRef.parse(settings["MODULE"])
    options = ServedOptions(int(settings["SLOTS"]), float(settings["IDLE_SECONDS"]), device)
    store = folder / "store"
    module = ServedModule(store, ref, options)
    if write_table(describe(read_card(store, ref))) != json.loads(settings["DESCRIPTION"]):
        raise BadModule(f"{ref} is not what its configuration describes; export it again")
    return module
