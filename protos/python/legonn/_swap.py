"""A swap of module versions, step by step: what is awaited, and what it changes. Pure.

Both clients walk it: watch, load, ``take`` news until ``is_loaded``, set ``changes``, ``take`` news
until nothing is ``leaving``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from legonn import errors
from legonn.routes import Canary, ModuleEvent, ModuleNews, Route, RouteTable
from legonn.streams import ModuleInfo

_LOADED = ("WARM", "SERVING", "SHADOW")


class Swap:
    """One version put in place of the other versions of its name.

    Args:
        name: Of the module.
        version: The new one.
        canary: How to try it; None puts it in place at once.

    Attributes:
        is_loaded: Whether the routes may name it.
        leaving: The versions that it replaced and that are still in memory, as name/version.
    """

    def __init__(self, name: str, version: str, canary: Canary | None) -> None:
        self._name = name
        self._version = version
        self._ref = f"{name}/{version}"
        self._canary = canary
        self.is_loaded = False
        self.leaving: set[str] = set()

    def note(self, infos: list[ModuleInfo] | tuple[ModuleInfo, ...]) -> None:
        """Take what is known of versions."""
        for info in infos:
            if (info.name, info.version) == (self._name, self._version):
                self.is_loaded = info.state in _LOADED

    def take(self, news: ModuleNews) -> Iterator[ModuleEvent]:
        """Take news of the server; gives what happened, for people.

        Raises:
            ContractMismatch: If the new version turned out not to be fit.
        """
        if not self.is_loaded:
            self.note(news.modules)
        for event in news.events:
            yield event
            if event.module == self._ref and event.state == "FAILED":
                raise errors.ContractMismatch(event.text, from_server=True)
            if event.state == "RETIRED":
                self.leaving.discard(event.module)

    def changes(self, table: RouteTable) -> list[Route]:
        """The routes to set, in order; notes which versions leave."""
        changed = []
        for route in table.routes:
            old = {one for one in (route.encoder, route.decoder) if self._is_old(one)}
            if old and self._canary is None:
                self.leaving |= old
                changed.append(
                    replace(
                        route, encoder=self._new(route.encoder), decoder=self._new(route.decoder)
                    )
                )
            elif old and self._canary is not None:
                trial = replace(
                    self._canary,
                    encoder=self._ref if route.encoder in old else "",
                    decoder=self._ref if route.decoder in old else "",
                )
                changed.append(replace(route, canary=trial))
        return changed

    def _is_old(self, module: str) -> bool:
        return module.rpartition("/")[0] == self._name and module != self._ref

    def _new(self, module: str) -> str:
        return self._ref if self._is_old(module) else module


def parts(module: str) -> tuple[str, str]:
    """Name and version of ``name/version``.

    Raises:
        BadConfig: If it is written otherwise.
    """
    name, slash, version = module.rpartition("/")
    if not slash or not name or not version:
        raise errors.BadConfig(f"a module is written name/version, such as speech-en/2: {module}")
    return name, version
