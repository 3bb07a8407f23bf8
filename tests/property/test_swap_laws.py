"""In whatever order things happen, versions come and go by the book; none in use is lost."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from legonn_core.errors import BadModule, ModulePinned, UnknownModule
from legonn_core.runtime.messages import ModuleRef
from legonn_server.backends.fake import fake_modules
from legonn_server.routing import swap
from legonn_server.routing.routes import Modality, Route, RouteTable, route_key
from legonn_server.routing.swap import NEXT, DrainRule, SwapMachine, VersionState
from legonn_server.routing.trials import CanaryPlan, ShadowPlan

DECODER, SPEECH, *_ = fake_modules()
VERSIONS = tuple(
    replace(one, ref=ModuleRef(one.ref.name, version))
    for one in (SPEECH, DECODER)
    for version in "12345"
)
BY_REF = {one.ref: one for one in VERSIONS}
ENCODERS = [ref for ref in BY_REF if ref.name == "speech-en"]
DECODERS = [ref for ref in BY_REF if ref.name == "decoder-en"]
KEY = route_key(Modality.SPEECH, "en", "en")
RULE = DrainRule(retire_after_seconds=20.0, drain_seconds=60.0)


class World:
    """A backend and users that do what they like, and the laws."""

    def __init__(self, seed: int):
        self.dice = random.Random(seed)
        self.now = 0.0
        self.pins: Counter[ModuleRef] = Counter()
        self.loading: set[ModuleRef] = set()
        self.unloading: set[ModuleRef] = set()
        self.memory = {ENCODERS[0], DECODERS[0]}
        self.machine = SwapMachine(RULE)
        self.number = 1
        self.answered = Counter()
        self.obey(self.machine.found(tuple(BY_REF[ref] for ref in sorted(self.memory)), 0.0))
        table = RouteTable(1, {KEY: Route(ENCODERS[0], DECODERS[0])})
        self.obey(self.machine.routes_asked(table, 0.0))

    def obey(self, commands: list[swap.Command]) -> None:
        for command in commands:
            match command:
                case swap.StartLoad(ref):
                    assert ref not in self.memory | self.loading | self.unloading
                    self.loading.add(ref)
                case swap.StartUnload(ref):
                    assert ref in self.memory and ref not in self.unloading
                    assert not self.machine.table.names(ref)
                    waited = self.now - self.machine.versions[ref].since
                    assert not self.pins[ref] or waited >= RULE.drain_seconds
                    self.unloading.add(ref)
                case swap.Publish(table):
                    assert table.refs <= self.memory - self.unloading
                    self.answered[table.number] += 1
                case swap.Reject(table, _):
                    self.answered[table.number] += 1
                case swap.Announce(version, before, _):
                    assert version.state in NEXT[before]
        for version in self.machine.versions.values():
            if version.state in (VersionState.SERVING, VersionState.SHADOW):
                assert version.ref in self.memory
                assert self.machine.table.names(version.ref)
        assert self.machine.table.refs <= self.memory - self.unloading

    def act(self) -> None:
        dice, machine = self.dice, self.machine
        self.now += dice.choice([0.1, 1.0, 10.0, 40.0])
        ref = dice.choice(list(BY_REF))
        match dice.randrange(9):
            case 0:
                self.obey(machine.load_asked(ref, self.now))
            case 1 | 2 if self.loading:
                ref = dice.choice(sorted(self.loading))
                if dice.random() < 0.5:
                    self.obey(machine.load_moved(ref, VersionState.CHECKING, self.now))
                self.loading.discard(ref)
                if dice.random() < 0.7:
                    self.memory.add(ref)
                    self.obey(machine.load_done(BY_REF[ref], self.now))
                else:
                    self.obey(machine.load_failed(ref, BadModule("bad"), self.now))
            case 3:
                self.obey(machine.routes_asked(self.table(), self.now))
            case 4:
                try:
                    drain = dice.random() < 0.5
                    self.obey(machine.unload_asked(ref, self.now, drain=drain, pins=self.pins))
                except (ModulePinned, UnknownModule):
                    pass
            case 5 if self.unloading:
                ref = dice.choice(sorted(self.unloading))
                self.unloading.discard(ref)
                self.memory.discard(ref)
                self.pins.pop(ref, None)
                self.obey(machine.unloaded(ref, self.now))
            case 6:
                self.pins[dice.choice(sorted(machine.table.served))] += 1
            case 7 if +self.pins:
                self.pins[dice.choice(sorted((+self.pins).elements()))] -= 1
            case 8 if any(route.canary for route in machine.table.routes.values()):
                (route,) = machine.table.routes.values()
                self.number += 1
                without = RouteTable(self.number, {KEY: replace(route, canary=None)})
                trial = frozenset((route.canary.encoder, route.canary.decoder))
                self.obey(machine.trial_failed(without, trial, BadModule("worse"), self.now))
        self.obey(machine.ticked(self.now, self.pins))

    def table(self) -> RouteTable:
        dice = self.dice
        self.number += 1
        encoder, decoder = dice.choice(ENCODERS), dice.choice(DECODERS)
        canary = CanaryPlan(dice.choice(ENCODERS), decoder) if dice.random() < 0.3 else None
        shadow = ShadowPlan(dice.choice(ENCODERS), decoder) if dice.random() < 0.3 else None
        return RouteTable(self.number, {KEY: Route(encoder, decoder, canary, shadow)})

    def settle(self) -> None:
        """Everything that was begun ends well, everybody leaves, and time passes."""
        for _ in range(200):
            self.now += 30.0
            for ref in sorted(self.loading):
                self.loading.discard(ref)
                self.memory.add(ref)
                self.obey(self.machine.load_done(BY_REF[ref], self.now))
            for ref in sorted(self.unloading):
                self.unloading.discard(ref)
                self.memory.discard(ref)
                self.obey(self.machine.unloaded(ref, self.now))
            self.pins.clear()
            self.obey(self.machine.ticked(self.now, self.pins))


@pytest.mark.parametrize("seed", range(150))
def test_versions_come_and_go_by_the_book(seed: int):
    world = World(seed)
    for _ in range(150):
        world.act()
    world.settle()
    states = Counter(version.state for version in world.machine.versions.values())
    assert not states[VersionState.LOADING] + states[VersionState.CHECKING]
    assert not states[VersionState.DRAINING], "what nobody routes and nobody uses is gone"
    assert world.machine.wanted is None
    assert all(count == 1 for count in world.answered.values()), "each table is answered once"
    kept = {VersionState.SERVING, VersionState.SHADOW, VersionState.WARM}
    in_service = {v.ref for v in world.machine.versions.values() if v.state in kept}
    assert in_service == world.memory


def test_of_two_swaps_at_once_the_newest_wins_and_the_other_leaves_no_trace():
    world = World(0)
    machine = world.machine
    second, third = ENCODERS[1], ENCODERS[2]
    world.obey(machine.routes_asked(RouteTable(2, {KEY: Route(second, DECODERS[0])}), 1.0))
    world.obey(machine.routes_asked(RouteTable(3, {KEY: Route(third, DECODERS[0])}), 2.0))
    for ref in (third, second):
        world.loading.discard(ref)
        world.memory.add(ref)
        world.obey(machine.load_done(BY_REF[ref], 3.0))
    assert machine.table.number == 3
    assert machine.versions[third].state is VersionState.SERVING
    assert machine.versions[second].state is VersionState.WARM
    assert machine.versions[ENCODERS[0]].state is VersionState.DRAINING
