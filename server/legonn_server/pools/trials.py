"""Trials and shadows of the routes in force: fed by outcomes, judged once a tick."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from legonn_core.errors import BadModule, LegonnError, RoutesReadOnly
from legonn_server.pools.module_manager import ModuleManager, Pair
from legonn_server.pools.outcomes import Outcomes, SegmentCopy
from legonn_server.pools.shadowing import Shadowing
from legonn_server.pools.watching import Happening
from legonn_server.routing.canary import Outcome, Trial, Verdict
from legonn_server.routing.routes import Route, RouteKey, RouteTable
from legonn_server.routing.trials import CanaryPlan, is_within
from legonn_server.telemetry.logs import log
from legonn_server.telemetry.metrics import Metrics

Replace = Callable[[RouteTable], RouteTable]


class Trials(Outcomes):
    """Carries out what ``routing.canary`` judges.

    Args:
        modules: Whose routes they are.
        replace_routes: Writes routes where they come from; raises RoutesReadOnly if nobody may.
        shadowing: Who hears copies of segments.
        metrics: What is counted.
    """

    def __init__(
        self,
        modules: ModuleManager,
        replace_routes: Replace,
        *,
        shadowing: Shadowing,
        metrics: Metrics,
    ) -> None:
        self._modules = modules
        self._replace = replace_routes
        self._shadowing = shadowing
        self._metrics = metrics
        self._trials: dict[RouteKey, tuple[CanaryPlan, Trial]] = {}
        self._num_copies = 0

    # --- asked by those who serve

    def percent(self, key: RouteKey) -> float:
        """Sessions in a hundred that meet the route's trial now; 0 before its first tick."""
        found = self._trials.get(key)
        return float(found[1].percent) if found else 0.0

    def status(self, key: RouteKey) -> str:
        """How the route's trial goes, for people; empty without one."""
        found = self._trials.get(key)
        return found[1].status if found else ""

    def report(self, pair: Pair, outcome: Outcome) -> None:
        """A segment or a sentence ended."""
        found = self._trials.get(pair.key) if pair.key is not None else None
        if found is not None:
            found[1].add(outcome, is_trial=pair.is_trial)

    def wants_copy(self, pair: Pair) -> bool:
        """Whether a shadow is to hear this segment too: a share of them, spread evenly."""
        route = self._modules.table.routes.get(pair.key) if pair.key is not None else None
        if route is None or route.shadow is None or pair.is_trial:
            return False
        self._num_copies += 1
        return is_within(str(self._num_copies), route.shadow.percent, salt="shadow")

    def copy(self, copied: SegmentCopy) -> None:
        """Hand a segment to the shadow of its route, if it still has one."""
        key = copied.pair.key
        route = self._modules.table.routes.get(key) if key is not None else None
        if route is not None and route.shadow is not None:
            self._shadowing.offer(copied, route.shadow)

    # --- time

    def tick(self, now: float) -> None:
        """Begin trials that the routes name, judge those that run, forget those that are over."""
        routes = self._modules.table.routes
        for key in self._trials.keys() - {key for key, one in routes.items() if one.canary}:
            del self._trials[key]
        for key, route in routes.items():
            if route.canary is None:
                continue
            found = self._trials.get(key)
            if found is None or found[0] != route.canary:
                band = self._modules.module(route.canary.encoder).blank_band
                found = (route.canary, Trial(route.canary, now, blank_band=band))
                self._trials[key] = found
            self._decide(key, route, route.canary, found[1], now)

    def _decide(
        self, key: RouteKey, route: Route, plan: CanaryPlan, trial: Trial, now: float
    ) -> None:
        ref = plan.encoder
        self._metrics.route_weight.labels(ref.name, ref.version).set(trial.percent)
        verdict = trial.judge(now)
        if verdict is Verdict.STAY:
            return
        self._metrics.canary_decisions.labels(verdict.value).inc()
        names = f"{plan.encoder} with {plan.decoder}"
        match verdict:
            case Verdict.ADVANCE:
                trial.advance(now)
                self._tell(f"trial of {names} goes to {trial.percent} % of the sessions")
            case Verdict.PROMOTE:
                promoted = replace(route, encoder=plan.encoder, decoder=plan.decoder, canary=None)
                self._modules.ask_routes(self._written(key, promoted))
                self._tell(f"trial of {names} passed: it serves all sessions")
            case Verdict.ABORT:
                why = trial.broken()
                table = self._written(key, replace(route, canary=None))
                error: LegonnError = BadModule(f"given up on trial: {why}")
                self._modules.fail_trial(table, frozenset((plan.encoder, plan.decoder)), error)
                self._tell(f"trial of {names} is given up: {why}")

    def _written(self, key: RouteKey, route: Route) -> RouteTable:
        """The routes with one changed, where they come from too if they may be written there."""
        table = self._modules.table
        try:
            return self._replace(table.set(key, route))
        except RoutesReadOnly as error:
            # The number stays, so that the next one of the file follows it.
            log(logging.WARNING, "the routes file still names a trial that is over", why=str(error))
            return RouteTable(table.number, {**table.routes, key: route})

    def _tell(self, text: str) -> None:
        self._modules.watchers.tell(Happening(None, None, text), has_routes=True)
