"""Keys, tokens and access files of tests."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://login.example"
AUDIENCE = "legonn"


def key_entry(key: str, tenant: str, *roles: str) -> str:
    """The lines of an access file that let a key in."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    listed = json.dumps(list(roles))
    return f'[[keys]]\nsha256 = "{digest}"\ntenant = "{tenant}"\nroles = {listed}\n'


class Signer:
    """Who issues tokens; its public key is beside the access file.

    Args:
        folder: Of the access file.
    """

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        (folder / "issuer.pem").write_bytes(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @property
    def entry(self) -> str:
        """The lines of an access file that believe its tokens."""
        return (
            f'[[issuers]]\nname = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
            'keys_file = "issuer.pem"\nalgorithms = ["ES256"]\n'
        )

    def token(self, **changed: object) -> str:
        """A token of tenant acme for speech, but for what is changed; None leaves a claim out."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": int(time.time()) + 600,
            "tenant": "acme",
            "roles": ["speech"],
        } | changed
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(given, self._key, algorithm="ES256")
