"""Loads modules beside the running ones: one thread, of low priority, one module at a time.

Reading, checking and warming take a second of work; on the engine's own thread no stream would
be heard for so long. The thread asks the system to be served after the others, so that a swap costs
the streams of the old version little.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import torch

from legonn_core.errors import LegonnError
from legonn_core.interface.reference import ModuleRef
from legonn_core.runtime.host import Prepared
from legonn_core.runtime.isolation import as_fault
from legonn_core.runtime.priority import be_served_later

Deliver = Callable[[int, "Prepared | LegonnError"], None]


class Loader:
    """See the module's docstring.

    Args:
        prepare: Makes an engine; called in the loader's thread.
        deliver: Told the request id and what became of it, from the loader's thread.
    """

    def __init__(self, prepare: Callable[[ModuleRef], Prepared], deliver: Deliver) -> None:
        self._prepare, self._deliver = prepare, deliver
        self._asked: queue.SimpleQueue[tuple[int, ModuleRef]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="legonn-engine-loader", daemon=True).start()

    def load(self, request_id: int, ref: ModuleRef) -> None:
        """Queue a module version."""
        self._asked.put((request_id, ref))

    def _run(self) -> None:
        be_served_later()
        torch.set_num_threads(1)
        while True:
            request_id, ref = self._asked.get()
            try:
                result: Prepared | LegonnError = self._prepare(ref)
            except LegonnError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - fails the load, not the engine
                result = as_fault(error)
            self._deliver(request_id, result)
            del result  # else the last module stays in memory until the next one comes
