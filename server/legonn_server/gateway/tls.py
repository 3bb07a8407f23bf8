"""Certificates of both doors, read again when their files change; open streams do not notice.

A handshake looks at the files, so there is no task and no signal: what a renewal has written is
served to the next caller. Files that do not fit together (a renewal half done) change nothing.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from legonn_core.errors import BadConfig
from legonn_server.gateway.watched_files import Stamp, stamp_of
from legonn_server.telemetry.logs import log
from legonn_server.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificates as PEM files; without any, both doors speak plain text.

    Attributes:
        certificate: The server's certificate and what stands between it and its root.
        private_key: Its key.
        client_ca: Who signs clients' certificates. gRPC then asks every client for one, HTTP takes
            one where there is one; the access file says whose they are.
    """

    certificate: str = ""
    private_key: str = ""
    client_ca: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key go together")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca needs a certificate and a private_key as well")

    @property
    def is_wanted(self) -> bool:
        """Whether the doors speak TLS."""
        return bool(self.certificate)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        named = (self.certificate, self.private_key, self.client_ca)
        return tuple(Path(name) for name in named if name)


class Certificates:
    """The files' content, as gRPC and as HTTP want it.

    Args:
        files: Where they are; at least certificate and key.
        metrics: Where reloads are counted.

    Raises:
        BadConfig: If they cannot be read or do not fit together.
    """

    def __init__(self, files: TlsFiles, metrics: Metrics) -> None:
        self._files = files
        self._metrics = metrics
        self._lock = threading.Lock()
        self._stamp: Stamp = stamp_of(files.paths)
        self._context = self._built()
        self._of_grpc = self._configuration()

    def for_grpc(self) -> grpc.ServerCredentials:
        """Credentials that follow the files."""
        served = self._of_grpc

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # Called by the library on a thread of its own, before each handshake.
            nonlocal served
            self._refresh()
            if self._of_grpc is served:
                return None
            served = self._of_grpc
            return served

        return grpc.dynamic_ssl_server_credentials(
            served,
            fetch,  # type: ignore[arg-type]  # None is "no change"; the stubs have forgotten it
            require_client_authentication=bool(self._files.client_ca),
        )

    def for_http(self) -> ssl.SSLContext:
        """A context that hands each handshake to the newest one."""

        def choose(handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            del name, context
            self._refresh()
            handshake.context = self._context

        door = self._built()
        door.sni_callback = choose  # also called for clients that name no server
        return door

    def _refresh(self) -> None:
        with self._lock:
            stamp = stamp_of(self._files.paths)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._context, self._of_grpc = self._built(), self._configuration()
            except BadConfig as error:
                self._metrics.access_reloads.labels("failed").inc()
                log(logging.ERROR, f"the certificates are not taken over: {error.message}")
                return
        self._metrics.access_reloads.labels("done").inc()
        log(logging.INFO, "certificates read again")

    def _built(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Never asks for a passphrase on a terminal: an encrypted key is an error.
            context.load_cert_chain(
                self._files.certificate, self._files.private_key, password=lambda: ""
            )
            if self._files.client_ca:
                context.load_verify_locations(self._files.client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ValueError) as error:
            raise BadConfig(
                f"tls: certificate, private_key or client_ca cannot be used: {error}"
            ) from error
        return context

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        content = [path.read_bytes() for path in self._files.paths]
        chain, key, *roots = content
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=roots[0] if roots else None
        )
