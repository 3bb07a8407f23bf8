"""All settings as one tree, read from command line, environment, one TOML file and defaults.

The sections are the parameter classes of the rooms that use them. Unknown keys are errors wherever
they come from. This is the only place of the server that reads the environment.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

import legonn_core
from legonn_core.errors import BadConfig
from legonn_server.backends.module_trust import ModuleTrust
from legonn_server.backends.triton_options import TritonOptions
from legonn_server.gateway.doorkeeper import AccessOptions
from legonn_server.gateway.response_cache import CacheLimits
from legonn_server.gateway.server import TransportLimits
from legonn_server.gateway.services import CallLimits
from legonn_server.gateway.tls import TlsFiles
from legonn_server.gateway.web.policy import WebLimits
from legonn_server.pools.decoder_pool import DecoderLimits
from legonn_server.routing.admission import AdmissionLimits
from legonn_server.routing.swap import DrainRule
from legonn_server.session.endpoint import EndpointRule
from legonn_server.session.policy import DecodingPolicy
from legonn_server.session.text_policy import TextLimits
from legonn_server.telemetry.traces import TraceOptions

_PREFIX = "LEGONN_"
_OF_CLIENTS = {"ADDRESS", "KEY", "CA", "CERT", "CERT_KEY"}
_OTHERS = {"LEGONN_MODULES", "LEGONN_CONFIG", *(f"{_PREFIX}{name}" for name in _OF_CLIENTS)}
"""Variables that are no settings: the module folder, the settings file, and the client's."""

DEFAULT_METRICS = "127.0.0.1:9464"
DEFAULT_HTTP = "127.0.0.1:8080"


def split_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` as a pair.

    Raises:
        ValueError: If it is not one.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"an address is written HOST:PORT, not {address!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The process as a whole.

    Attributes:
        listen: ``HOST:PORT`` of gRPC; port 0 takes a free one.
        http: ``HOST:PORT`` of the captions page and the HTTP calls; empty for none.
        metrics: ``HOST:PORT`` of /metrics; empty for none.
        modules: Folder of modules; empty looks in the usual places.
        routes: Folder that holds ``routes.toml``; empty makes routes from the modules.
        routes_read_only: Never write that file, whatever the file system would allow.
        backend: ``embedded`` runs modules in a child process, ``triton`` on Triton servers;
            ``fake`` needs none.
        threads: Threads of the engine; 0 leaves the choice to it.
        grace_seconds: Longest drain.
    """

    listen: str = "127.0.0.1:50051"
    http: str = DEFAULT_HTTP
    metrics: str = DEFAULT_METRICS
    modules: str = ""
    routes: str = ""
    routes_read_only: bool = False
    backend: Literal["embedded", "triton", "fake"] = "embedded"
    threads: int = 0
    grace_seconds: float = 25.0

    def __post_init__(self) -> None:
        split_address(self.listen)
        for optional in (self.http, self.metrics):
            if optional:
                split_address(optional)
        if self.threads < 0 or self.grace_seconds < 0:
            raise ValueError("threads and grace_seconds must not be negative")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Log lines on standard error.

    Attributes:
        json: One JSON object a line, for collectors.
        level: The least that is written.
    """

    json: bool = False
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseSettings):
    """The tree. Each section is documented at its class."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    server: ServerSettings = ServerSettings()
    access: AccessOptions = AccessOptions()
    tls: TlsFiles = TlsFiles()
    log: LogSettings = LogSettings()
    traces: TraceOptions = TraceOptions()
    admission: AdmissionLimits = AdmissionLimits()
    transport: TransportLimits = TransportLimits()
    limits: CallLimits = CallLimits()
    web: WebLimits = WebLimits()
    swap: DrainRule = DrainRule()
    endpoint: EndpointRule = EndpointRule()
    decoding: DecodingPolicy = DecodingPolicy()
    text: TextLimits = TextLimits()
    cache: CacheLimits = CacheLimits()
    decoder_pool: DecoderLimits = DecoderLimits()
    triton: TritonOptions = TritonOptions()
    trust: ModuleTrust = ModuleTrust()


Tree = Mapping[str, Mapping[str, object]]


def load(arguments: Tree, file: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        arguments: What the command line says, section by section.
        file: TOML file; None takes the one that LEGONN_CONFIG names, if any.

    Raises:
        BadConfig: If a key is unknown or a value makes no sense; names the key.
    """
    _refuse_unknown_variables(os.environ)
    from_file = read_file(file)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            toml = InitSettingsSource(settings_cls, init_kwargs=dict(from_file))
            return (init_settings, env_settings, toml)

    content: dict[str, Any] = {name: dict(section) for name, section in arguments.items()}
    try:
        return Sourced(**content)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}"
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise BadConfig(f"settings: {found}") from error


def read_file(file: Path | None) -> Tree:
    """The settings file as it is written.

    Raises:
        BadConfig: If it is missing or no TOML of sections.
    """
    named = os.environ.get("LEGONN_CONFIG")
    path = file or (Path(named) if named else None)
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"settings file {path}: {error}") from error
    return content


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt section is not seen by the library: compare all names with the tree."""
    known = _OTHERS | {f"{_PREFIX}{section}__{field}".upper() for section, field in _names()}
    unknown = sorted(
        name for name in environment if name.startswith(_PREFIX) and name.upper() not in known
    )
    if unknown:
        raise BadConfig(f"unknown environment variables: {', '.join(unknown)}")


def _names() -> Iterator[tuple[str, str]]:
    """Section and field of every setting."""
    for section, about in Settings.model_fields.items():
        for field in fields(about.default):
            yield section, field.name


def leaves(settings: Settings) -> Iterator[tuple[str, str, object]]:
    """Section, field and value of every setting."""
    for section, field in _names():
        yield section, field, getattr(getattr(settings, section), field)


def printed(settings: Settings, arguments: Tree, file: Path | None = None) -> str:
    """The tree as TOML, each line with where its value comes from."""
    from_file = read_file(file)
    lines: list[str] = []
    last = ""
    for section, field, value in leaves(settings):
        if section != last:
            lines += [""] * bool(lines) + [f"[{section}]"]
            last = section
        if field in arguments.get(section, {}):
            source = "command line"
        elif f"{_PREFIX}{section}__{field}".upper() in os.environ:
            source = "environment"
        elif field in from_file.get(section, {}):
            source = "file"
        else:
            source = "default"
        lines.append(f"{field} = {_toml(value)}  # {source}")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def modules_folder(settings: Settings) -> Path:
    """Where the modules are.

    Raises:
        BadConfig: If no folder with modules is found; says where it was looked for.
    """
    asked = settings.server.modules or os.environ.get("LEGONN_MODULES", "")
    package = Path(legonn_core.__file__).parent.parent
    candidates = (
        [Path(asked)]
        if asked
        else [Path("modules"), package / "modules", Path(sys.prefix) / "share/legonn/modules"]
    )
    for folder in candidates:
        if any(folder.glob("*/*/card.toml")):
            return folder.resolve()
    looked = ", ".join(str(folder) for folder in candidates)
    raise BadConfig(f"no modules found; looked in {looked}; name their folder with --modules DIR")


def engine_environment(settings: Settings) -> dict[str, str]:
    """Variables of the engine process: it imports the same sources as this one."""
    package = str(Path(legonn_core.__file__).parent.parent)
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    if settings.server.threads:
        environment["OMP_NUM_THREADS"] = str(settings.server.threads)
    return environment
