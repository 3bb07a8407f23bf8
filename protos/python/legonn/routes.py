"""Routes and the news of modules, as plain frozen values; see ``Client.routes`` and its kin."""

from __future__ import annotations

from dataclasses import dataclass

from legonn.streams import ModuleInfo


@dataclass(frozen=True, slots=True)
class Canary:
    """A trial of other versions with a growing part of the sessions.

    Attributes:
        encoder: On trial, as name/version; empty takes the route's.
        decoder: Likewise.
        steps: Sessions in a hundred, one step after the other; empty takes the server's.
        hold_s: Least time on a step; 0 takes the server's.
        min_segments: Least segments on a step; 0 takes the server's.
        weight_percent: In force now; said by the server only.
        status: How it goes, for people; said by the server only.
    """

    encoder: str = ""
    decoder: str = ""
    steps: tuple[int, ...] = ()
    hold_s: float = 0.0
    min_segments: int = 0
    weight_percent: int = 0
    status: str = ""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Versions that hear what the route hears, are compared, and answer nobody."""

    encoder: str = ""
    decoder: str = ""
    percent: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """Which modules serve a task.

    Attributes:
        task: TRANSCRIBE or TRANSLATE; empty: as the languages say.
        modality: SPEECH or TEXT.
        encoder: As name/version.
        decoder: As name/version.
        model: Name by which options ask for it; empty for the default of its languages.
    """

    task: str
    modality: str
    source_language: str
    target_language: str
    encoder: str
    decoder: str
    model: str = ""
    canary: Canary | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes at one moment; a change makes the next generation."""

    generation: int
    routes: tuple[Route, ...]
    content_hash: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModuleEvent:
    """One thing that happened to a module version or to the routes.

    Attributes:
        module: ``name/version``; empty for the routes.
        state: As in ``ModuleInfo``; empty for the routes.
        text: For people.
        elapsed_s: Time in the state before.
    """

    module: str
    state: str
    text: str
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ModuleNews:
    """Everything (the first, ``is_snapshot``), or what has changed since.

    Attributes:
        generation: Number of the state that this leads to, growing.
        modules: Versions of the modules that are new or changed.
        routes: The table, when it is new.
        events: What happened, oldest first.
    """

    generation: int
    is_snapshot: bool
    modules: tuple[ModuleInfo, ...]
    routes: RouteTable | None
    events: tuple[ModuleEvent, ...]
