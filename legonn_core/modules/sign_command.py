"""``legonn modules sign | verify``: who vouches for a module version."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import minisign

from legonn_core.errors import LegonnError
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules import signatures
from legonn_core.modules.registry import CARD, find_modules, load_module, read_card

HELP = "sign a module version, check signatures, or make a key"
EXAMPLES = """examples:
  legonn modules sign --new-key team            makes team.key (keep it) and team.pub (hand it out)
  legonn modules sign --key team.key speech-en/2
  legonn modules sign --verify team.pub         every version in ./modules
A signature is of card.toml, which names the digest of every file. It is minisign's, so that
`minisign -Sm modules/speech-en/2/card.toml` makes the same. To load signed modules only, serve with
  LEGONN_TRUST__REQUIRE_SIGNED=true LEGONN_TRUST__KEYS=team.pub legonn serve"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("modules", nargs="*", metavar="NAME/VERSION", type=ModuleRef.parse)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--key", type=Path, metavar="FILE", help="sign with this secret key")
    what.add_argument("--verify", type=Path, metavar="FILE", help="public key, or a folder of them")
    what.add_argument("--new-key", metavar="NAME", help="make NAME.key and NAME.pub")
    parser.add_argument(
        "--from", dest="store", type=Path, metavar="DIR", help="module store (default: modules)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 0 if all went well, 1 if a signature is not right."""
    store = arguments.store or Path(os.environ.get("LEGONN_MODULES") or "modules")
    try:
        if arguments.new_key:
            return _new_key(arguments.new_key)
        if arguments.key:
            return _sign(store, arguments.modules, arguments.key)
        return _verify(store, arguments.modules, arguments.verify)
    except (LegonnError, OSError, minisign.Error) as error:
        print(f"legonn modules sign: {error}", file=sys.stderr)
        return 1


def _new_key(name: str) -> int:
    """A key pair; the secret half is readable by its owner only and has no password."""
    pair = minisign.KeyPair.generate()
    # Opened so that it never exists with wider rights, and never replaces a key that is there.
    with os.fdopen(
        os.open(f"{name}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
    ) as key:
        key.write(bytes(pair.secret_key) + b"\n")
    Path(f"{name}.pub").write_bytes(bytes(pair.public_key) + b"\n")
    print(f"{name}.key signs: keep it where no server is. {name}.pub checks.")
    return 0


def _sign(store: Path, refs: list[ModuleRef], key: Path) -> int:
    if not refs:
        print("legonn modules sign: say which versions: NAME/VERSION …", file=sys.stderr)
        return 2
    with minisign.SecretKey.from_bytes(key.read_bytes()) as secret:
        if secret.is_encrypted():
            print(f"{key} has a password: sign with minisign -Sm …/card.toml", file=sys.stderr)
            return 2
        for ref in refs:
            load_module(store, ref)  # nobody vouches for what does not load
            card = store / ref.name / ref.version / CARD
            signature = secret.sign(card.read_bytes(), trusted_comment=f"legonn {ref}")
            Path(f"{card}{signatures.SUFFIX}").write_bytes(bytes(signature) + b"\n")
            print(f"{ref} signed")
    return 0


def _verify(store: Path, refs: list[ModuleRef], keys: Path) -> int:
    trust = signatures.Trust(signatures.read_keys([keys]), require_signed=True)
    failed = 0
    for ref in refs or find_modules(store):
        try:
            read_card(store, ref, trust)
            print(f"{ref} is signed with a trusted key")
        except LegonnError as error:
            failed += 1
            print(error.message)
    return 1 if failed else 0
