"""The route table: which encoder and which decoder serve a task and a pair of languages.

Immutable and numbered; a change is a new table, made current by one assignment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from legonn_core.errors import (
    BadConfig,
    ContractMismatch,
    UnknownModule,
    UnknownRoute,
    VocabularyMismatch,
)
from legonn_core.runtime.messages import ModuleDescription, ModuleRef
from legonn_server.routing.trials import CanaryPlan, ShadowPlan


class Modality(Enum):
    """What goes into an encoder."""

    SPEECH = "speech"
    TEXT = "text"


_ENCODER_KINDS = {"SPEECH_ENCODER": Modality.SPEECH, "TEXT_ENCODER": Modality.TEXT}


@dataclass(frozen=True, slots=True, order=True)
class RouteKey:
    """What is asked for. The task is a consequence: same language is transcription.

    Attributes:
        modality: ``speech`` or ``text`` (the value of ``Modality``, so that keys can be ordered).
        source: Primary language subtag of the input, lower case.
        target: Likewise of the output.
        model: Name of the route; empty for the default of its languages.
    """

    modality: str
    source: str
    target: str
    model: str = ""

    def __str__(self) -> str:
        name = f" model {self.model!r}" if self.model else ""
        return f"{self.modality} {self.source} to {self.target}{name}"


def route_key(modality: Modality, source: str, target: str, *, model: str = "") -> RouteKey:
    """Build a key from language codes such as ``en`` or ``en-US``."""
    return RouteKey(modality.value, primary_language(source), primary_language(target), model)


def primary_language(code: str) -> str:
    """The first subtag of a BCP-47 code, lower case.

    Raises:
        BadConfig: If the code cannot be one.
    """
    subtag = code.replace("_", "-").split("-")[0].lower()
    if not (subtag.isascii() and subtag.isalpha() and 2 <= len(subtag) <= 8):
        raise BadConfig('a language code looks like "en" or "en-US"')
    return subtag


@dataclass(frozen=True, slots=True)
class Route:
    """The two modules that serve a key, and what is tried beside them."""

    encoder: ModuleRef
    decoder: ModuleRef
    canary: CanaryPlan | None = None
    shadow: ShadowPlan | None = None

    @property
    def served(self) -> frozenset[ModuleRef]:
        """Versions whose answers somebody gets."""
        trial = (self.canary.encoder, self.canary.decoder) if self.canary else ()
        return frozenset((self.encoder, self.decoder, *trial))

    @property
    def refs(self) -> frozenset[ModuleRef]:
        """All versions that the route names."""
        unheard = (self.shadow.encoder, self.shadow.decoder) if self.shadow else ()
        return self.served | frozenset(unheard)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes at one moment.

    Attributes:
        number: 1 for the table of the start, one more for each change.
        routes: What serves each key.
    """

    number: int
    routes: Mapping[RouteKey, Route]

    def find(self, key: RouteKey) -> Route:
        """The route of a key.

        Raises:
            UnknownRoute: If there is none; the message says what there is.
        """
        try:
            return self.routes[key]
        except KeyError:
            known = "; ".join(str(one) for one in sorted(self.routes)) or "nothing"
            raise UnknownRoute(f"no module serves {key}; served are: {known}") from None

    def set(self, key: RouteKey, route: Route) -> RouteTable:
        """The table with one route added or replaced, and the next number."""
        return replace(self, number=self.number + 1, routes={**self.routes, key: route})

    def names(self, module: ModuleRef) -> bool:
        """Whether a route uses the module version."""
        return module in self.refs

    @property
    def served(self) -> frozenset[ModuleRef]:
        """Versions whose answers somebody gets."""
        return frozenset().union(*(route.served for route in self.routes.values()))

    @property
    def refs(self) -> frozenset[ModuleRef]:
        """All versions that a route names."""
        return frozenset().union(*(route.refs for route in self.routes.values()))

    @property
    def content_hash(self) -> str:
        """The same for the same routes, whatever their number."""
        lines = sorted(f"{key!r} {route!r}\n" for key, route in self.routes.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def build_table(modules: Iterable[ModuleDescription]) -> RouteTable:
    """Routes for every encoder that a decoder fits; the highest versions win."""
    newest_last = sorted(modules, key=lambda one: (one.ref.name, version_order(one.ref.version)))
    decoders = [one for one in newest_last if one.kind == "DECODER"]
    routes: dict[RouteKey, Route] = {}
    for encoder in newest_last:
        modality = _ENCODER_KINDS.get(encoder.kind)
        fitting = [one for one in decoders if one.fingerprint == encoder.fingerprint]
        if modality is not None and fitting:
            key = route_key(modality, encoder.source_language, encoder.target_language)
            routes[key] = Route(encoder.ref, fitting[-1].ref)
    return RouteTable(1, routes)


def version_order(version: str) -> tuple[int, str]:
    """Sort key for versions: numbers by value, anything else before them by text."""
    return (int(version), "") if version.isdecimal() else (-1, version)


def check_route(
    key: RouteKey, route: Route, modules: Mapping[ModuleRef, ModuleDescription]
) -> None:
    """Refuse a route whose parts are missing or do not fit.

    Raises:
        UnknownModule: If a version is not loaded.
        ContractMismatch: If a module is of the wrong kind or of other languages.
        VocabularyMismatch: If encoder and decoder speak different vocabularies.
    """
    pairs = [(route.encoder, route.decoder)]
    pairs += [(plan.encoder, plan.decoder) for plan in (route.canary, route.shadow) if plan]
    for pair in pairs:
        for ref in pair:
            if ref not in modules:
                raise UnknownModule(f"module {ref} is not loaded")
        _check_pair(key, modules[pair[0]], modules[pair[1]])
    if modules[route.encoder].sample_rate_hertz != modules[pairs[-1][0]].sample_rate_hertz:
        raise ContractMismatch(f"{pairs[-1][0]} hears another sample rate than {route.encoder}")


def _check_pair(key: RouteKey, encoder: ModuleDescription, decoder: ModuleDescription) -> None:
    modality = _ENCODER_KINDS.get(encoder.kind)
    if modality is None or modality.value != key.modality:
        raise ContractMismatch(f"{encoder.ref} is a {encoder.kind}, not a {key.modality} encoder")
    if decoder.kind != "DECODER":
        raise ContractMismatch(f"{decoder.ref} is a {decoder.kind}, not a DECODER")
    languages = (encoder.source_language, encoder.target_language)
    if languages != (key.source, key.target):
        raise ContractMismatch(
            f"{encoder.ref} goes from {languages[0]} to {languages[1]},"
            f" not from {key.source} to {key.target}"
        )
    if encoder.fingerprint != decoder.fingerprint:
        raise VocabularyMismatch(
            f"{encoder.ref} writes vocabulary {encoder.fingerprint},"
            f" {decoder.ref} reads {decoder.fingerprint}"
        )
