"""Brings the routes in force to those of the routes file, again and again, on every gateway.

No leader and no agreement: the file is the truth, each gateway follows it at its own pace, and
segments keep their versions, so that gateways may differ for a while without harm. What cannot be
read or applied changes nothing; the reason is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from legonn_core.errors import BadConfig, StaleRoutes
from legonn_server.pools.module_manager import ModuleManager
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.routing import routes_file
from legonn_server.routing.routes import Route, RouteKey, RouteTable, check_route

PERIOD_S = 0.5


class Reconciler:
    """See the module's docstring.

    Args:
        modules: Whose routes they are.
        folder: Where the routes file is; None keeps routes in memory only.

    Attributes:
        on_tick: Called with the loop's time, twice a second: trials are judged there.
    """

    def __init__(self, modules: ModuleManager, folder: RoutesFolder | None) -> None:
        self._modules = modules
        self._folder = folder
        self.on_tick: Callable[[float], None] = lambda _: None

    def first(self) -> RouteTable | None:
        """The routes to start with, if the file has some.

        Raises:
            BadConfig: If it cannot be read; a server does not start on half of its routes.
        """
        text = self._folder.read() if self._folder is not None else None
        return None if text is None else routes_file.parse(text)

    async def run(self) -> None:
        """Follow file and clock until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.look()
            self._modules.tick()
            self.on_tick(asyncio.get_running_loop().time())

    def look(self) -> None:
        """Take a changed file into account."""
        if self._folder is None or not self._folder.changed():
            return
        try:
            text = self._folder.read()
            if text is None:
                return
            table = routes_file.parse(text)
            current = self._modules.table
            if table.content_hash == current.content_hash:
                table = RouteTable(table.number, current.routes)
            elif table.number <= current.number:
                raise BadConfig(
                    f"routes file: generation {table.number} does not follow {current.number},"
                    " which is in force; raise it with each change"
                )
        except BadConfig as error:
            self._modules.refuse_routes(error)
        else:
            self._modules.ask_routes(table)

    def set_route(self, key: RouteKey, route: Route, *, expected: int) -> RouteTable:
        """Replace or add one route, in the file too if there is one.

        Args:
            key: What it serves.
            route: What serves it.
            expected: Number that the routes must have; 0 takes any.

        Raises:
            RoutesReadOnly: If the file may not be written.
            StaleRoutes: If the routes have another number, in force or in the file.
            UnknownModule: If a module is not loaded.
            ContractMismatch: If the modules do not fit.
        """
        modules = self._modules
        if self._folder is None:
            return modules.set_route(key, route, expected=expected)
        with self._folder.locked():
            text = self._folder.read()
            table = modules.table if text is None else routes_file.parse(text)
            if expected and expected != table.number:
                raise StaleRoutes(f"the routes are at generation {table.number} already")
            check_route(key, route, {module.ref: module for module in modules.modules})
            changed = table.set(key, route)
            self._folder.write(routes_file.dump(changed))
        modules.ask_routes(changed)
        return changed

    def replace(self, table: RouteTable) -> RouteTable:
        """Put other routes in place of those in force, for a trial that is over.

        A file that may not be written stays as it is; its next change is followed again.
        """
        if self._folder is None:
            return table
        with self._folder.locked():
            self._folder.write(routes_file.dump(table))
        return table
