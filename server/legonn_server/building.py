"""What runs the modules and who follows the routes, built as the settings say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from legonn_core.errors import BadConfig
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.embedded import EmbeddedBackend, EmbeddedOptions
from legonn_server.backends.fake import FakeBackend, FakeScript
from legonn_server.backends.protocol import Backend
from legonn_server.backends.rehearsal import ProcessRehearsal, Rehearsal, RehearsalOptions
from legonn_server.config.settings import Settings, engine_environment, modules_folder
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.pools.reconciler import Reconciler
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.routing import routes_file
from legonn_server.telemetry.logs import log


def build_backend(settings: Settings, on_state: Callable[[bool], None]) -> Backend:
    """The backend that the settings name."""
    if settings.server.backend == "fake":
        return FakeBackend(FakeScript(max_slots=settings.admission.max_streams))
    if settings.server.backend == "triton":
        return _triton_backend(settings, on_state)
    folder = modules_folder(settings)
    return EmbeddedBackend(
        EmbeddedOptions(
            command=_engine_command(settings, folder),
            environment=engine_environment(settings),
            modules=_routed(settings),
        ),
        on_progress=lambda text: log(logging.INFO, text),
        on_state=on_state,
    )


def _triton_backend(settings: Settings, on_state: Callable[[bool], None]) -> Backend:
    """Triton servers; their client library is an extra, so it is imported only here."""
    try:
        from legonn_server.backends.triton import TritonBackend
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"--backend triton needs {error.name}: pip install 'legonn[triton]'"
        ) from error
    return TritonBackend(
        settings.triton,
        modules=_routed(settings),
        on_progress=lambda text: log(logging.INFO, text),
        on_state=on_state,
    )


def _engine_command(settings: Settings, folder: Path) -> tuple[str, ...]:
    """The engine's entry point, named as a string: this process never imports it."""
    return (
        sys.executable,
        "-m",
        "legonn_core.runtime.process",
        f"--modules={folder}",
        f"--threads={settings.server.threads}",
        f"--slots={settings.admission.max_streams}",
        *settings.trust.arguments(),
    )


def build_rehearsal(settings: Settings) -> Rehearsal | None:
    """Who tries a version before the engine loads it.

    The fake has no files to try. Triton gives each version a process of its own, which checks it
    before it serves; the files and torch are there and need not be here.
    """
    if settings.server.backend in ("fake", "triton"):
        return None
    folder = modules_folder(settings)
    command = (
        *(sys.executable, "-m", "legonn_core.modules.check", "--nice=5", f"--store={folder}"),
        *settings.trust.arguments(),
    )
    return ProcessRehearsal(
        RehearsalOptions(command, folder, environment=engine_environment(settings))
    )


def build_reconciler(settings: Settings, modules: ModuleManager) -> Reconciler:
    """Who follows the routes file, if there is one, and the clock."""
    server = settings.server
    folder = (
        RoutesFolder(Path(server.routes), is_read_only=server.routes_read_only)
        if server.routes
        else None
    )
    return Reconciler(modules, folder)


def _routed(settings: Settings) -> tuple[ModuleRef, ...]:
    """What the routes file names: the first child loads that and nothing else."""
    if not settings.server.routes:
        return ()
    text = RoutesFolder(Path(settings.server.routes)).read()
    return () if text is None else tuple(sorted(routes_file.parse(text).refs))
