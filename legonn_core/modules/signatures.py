"""Who vouches for a module: detached minisign signatures of its card.

A card names the digest of every file that is loaded and the fingerprint of its vocabulary, so one
signature of ``card.toml`` covers the module. It lies beside it as ``card.toml.minisig`` and is made
by ``legonn modules sign`` or by minisign itself (``minisign -Sm card.toml``). The format is
minisign's: Ed25519 over BLAKE2b-512, with the key's id, so that keys can be changed one by one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import minisign

from legonn_core.errors import BadConfig, BadModule
from legonn_core.interface.reference import ModuleRef

SUFFIX = ".minisig"
MAX_BYTES = 4_096
"""Of a signature or a key; real ones have some hundred."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose modules may be loaded.

    Attributes:
        keys: Those who are trusted.
        require_signed: Whether a module without a signature is refused. One with a wrong or an
            unknown signature is refused wherever keys are known.
    """

    keys: tuple[minisign.PublicKey, ...] = ()
    require_signed: bool = False

    def __post_init__(self) -> None:
        if self.require_signed and not self.keys:
            raise ValueError("signed modules are required, but no key is trusted")

    def check(self, ref: ModuleRef, card: bytes, signature: bytes | None) -> str:
        """Refuse a card that nobody vouches for.

        Args:
            ref: The module, for messages.
            card: Its card as it lies on disk.
            signature: The file beside it; None if there is none.

        Returns:
            The id of the key that signed it; empty if none was asked for.

        Raises:
            BadModule: Says what is wrong with the signature.
        """
        if signature is None:
            if self.require_signed:
                raise BadModule(f"{ref} is not signed, and this server loads signed modules only")
            return ""
        if not self.keys:
            return ""
        try:
            found = minisign.Signature.from_bytes(signature)
        except (minisign.ParseError, UnicodeDecodeError) as error:
            raise BadModule(f"{ref}: its signature cannot be read") from error
        for key in self.keys:
            if key_id(key) != found._key_id.hex():  # no public name for it
                continue
            try:
                key.verify(card, found)
            except minisign.VerifyError as error:
                raise BadModule(
                    f"{ref}: its signature is not of this card; one of them was changed"
                ) from error
            return key_id(key)
        raise BadModule(f"{ref} is signed with a key that is not trusted here")


ANYONE = Trust()
"""Signatures are not looked at."""


def key_id(key: minisign.PublicKey) -> str:
    """Sixteen hex digits that name a key."""
    return bytes(key._keynum_pk.key_id).hex()  # no public name for it


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments by which a gateway hands its policy to the processes that load."""
    parser.add_argument("--trust", type=Path, action="append", default=[], help="public key(s)")
    parser.add_argument("--require-signed", action="store_true", help="refuse unsigned modules")


def asked_trust(arguments: argparse.Namespace) -> Trust:
    """The policy of such arguments.

    Raises:
        BadConfig: If a key cannot be read, or signatures are required of nobody.
    """
    try:
        return Trust(read_keys(arguments.trust), arguments.require_signed)
    except ValueError as error:
        raise BadConfig(str(error)) from error


def read_keys(paths: Iterable[Path]) -> tuple[minisign.PublicKey, ...]:
    """Public keys: files, or folders of ``*.pub``.

    Raises:
        BadConfig: If one cannot be read, or a folder has none.
    """
    keys: list[minisign.PublicKey] = []
    for path in paths:
        files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        if not files:
            raise BadConfig(f"{path} holds no public key (*.pub)")
        for file in files:
            try:
                keys.append(minisign.PublicKey.from_bytes(file.read_bytes()[:MAX_BYTES]))
            except (OSError, minisign.ParseError, UnicodeDecodeError) as error:
                raise BadConfig(f"{file} is no minisign public key") from error
    return tuple(keys)
