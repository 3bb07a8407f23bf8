"""What a client shows and whom it believes: keys, tokens, and certificates."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from legonn.errors import BadConfig

KEY_VARIABLE = "LEGONN_KEY"
CA_VARIABLE = "LEGONN_CA"
CERTIFICATE_VARIABLE = "LEGONN_CERT"
CERTIFICATE_KEY_VARIABLE = "LEGONN_CERT_KEY"

SYSTEM_CA = "system"
"""In place of a file: the certificate authorities that this machine believes."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a client makes itself known, and how it knows its server.

    Attributes:
        key: A static key or a signed token, sent with every call; empty for none.
        ca: PEM file of who signed the server's certificate, or ``system``; empty speaks plain text.
        certificate: PEM file of the client's own certificate, if the server asks for one.
        certificate_key: PEM file of its private key.
    """

    key: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    certificate_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.certificate_key):
            raise BadConfig("a client certificate and its key go together: --cert and --cert-key")
        if self.certificate and not self.ca:
            raise BadConfig("a client certificate is for TLS: say whom to believe with --ca")
        if not self.key.isascii() or not self.key.isprintable() or " " in self.key:
            raise BadConfig("the key holds blanks or signs that no key has")

    @classmethod
    def from_environment(cls) -> Access:
        """What LEGONN_KEY, LEGONN_CA, LEGONN_CERT and LEGONN_CERT_KEY say."""
        return cls(
            key=os.environ.get(KEY_VARIABLE, "").strip(),
            ca=os.environ.get(CA_VARIABLE, ""),
            certificate=os.environ.get(CERTIFICATE_VARIABLE, ""),
            certificate_key=os.environ.get(CERTIFICATE_KEY_VARIABLE, ""),
        )

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self.ca)

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Roots, private key and certificate chain, as gRPC wants them.

        Raises:
            BadConfig: If a file cannot be read; names it.
        """
        roots = None if self.ca == SYSTEM_CA else _content(self.ca)
        return roots, _content(self.certificate_key), _content(self.certificate)


def _content(name: str) -> bytes | None:
    if not name:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadConfig(f"{name}: {error.strerror}") from error
