"""What a model server starts: one module version with the settings of its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from legonn_core.errors import BadConfig, BadModule
from legonn_core.interface.reference import ModuleRef
from legonn_core.interface.tables import write_table
from legonn_core.modules.registry import describe, read_card
from legonn_core.runtime.served import ServedModule, ServedOptions
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


def load(folder: Path, settings: Mapping[str, str], *, kind: str) -> Served:
    """Read, check, warm and start the module of a model folder.

    Args:
        folder: Holds ``store``.
        settings: Parameters of the model's configuration.
        kind: ``CPU`` or ``GPU``.

    Raises:
        LegonnError: If the module is damaged, is not the one that the configuration was written
            for, or does not compute what it promises.
    """
    torch.set_num_threads(int(settings["THREADS"]))
    if kind != "CPU":
        raise BadConfig("the engines of this version run on the CPU; export with --kind cpu")
    ref = ModuleRef.parse(settings["MODULE"])
    options = ServedOptions(int(settings["SLOTS"]), float(settings["IDLE_SECONDS"]))
    store = folder / "store"
    module = ServedModule(store, ref, options)
    if write_table(describe(read_card(store, ref))) != json.loads(settings["DESCRIPTION"]):
        raise BadModule(f"{ref} is not what its configuration describes; export it again")
    is_decoder = module.description.kind == "DECODER"
    return Served(module, ServedDecoder(module) if is_decoder else None)
