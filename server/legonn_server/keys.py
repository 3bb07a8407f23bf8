"""``legonn keys``: a new key, and the lines of the access file that let it in."""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
from pathlib import Path

from legonn_core.errors import BadConfig
from legonn_server.access.identity import Role
from legonn_server.access.table import parse

HELP = "make a key for the server's access file, or check that file"
EXAMPLES = """examples:
  legonn keys new --tenant town-hall --roles speech >> access.toml
  legonn keys new --tenant me --roles speech,translate,admin,metrics >> access.toml
  legonn keys check access.toml
  legonn serve --access access.toml
  LEGONN_KEY=lk_… legonn transcribe talk.wav

The key is written to the terminal (standard error), once; the file gets its SHA-256 only. A server
that runs takes a changed file over within a second; open streams go on. docs/access.md has the
rest: quotas, tokens, certificates."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key; its [[keys]] entry goes to standard output")
    new.add_argument("--tenant", required=True, help="whose quotas count")
    new.add_argument(
        "--roles", default="speech,translate", help=f"of {', '.join(Role)} (default: %(default)s)"
    )
    new.add_argument("--name", default="", help="a word on what the key is for")
    check = actions.add_parser("check", help="say what an access file lets in")
    check.add_argument("file", type=Path)


def run(args: argparse.Namespace) -> int:
    """Make a key or check a file; 1 if the file is wrong."""
    if args.action == "new":
        return _new(args)
    return _check(args.file)


def _new(args: argparse.Namespace) -> int:
    key = f"lk_{secrets.token_urlsafe(32)}"
    roles = [role.strip() for role in args.roles.split(",") if role.strip()]
    lines = ["[[keys]]"]
    if args.name:
        lines.append(f"name = {json.dumps(args.name, ensure_ascii=False)}")
    lines += [
        f'sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"',
        f"tenant = {json.dumps(args.tenant, ensure_ascii=False)}",
        f"roles = {json.dumps(roles)}",
    ]
    entry = "\n".join(lines) + "\n"
    try:
        parse(entry, lambda name: name)
    except BadConfig as error:
        print(f"legonn keys: {error.message}", file=sys.stderr)
        return 1
    print(f"the key, which is shown this once:\n\n    {key}\n", file=sys.stderr)
    print(entry)
    return 0


def _check(file: Path) -> int:
    try:
        table = parse(
            file.read_text(encoding="utf-8"),
            lambda name: (file.parent / name).read_text(encoding="utf-8"),
        )
    except BadConfig as error:
        print(f"legonn keys: {error.message}", file=sys.stderr)
        return 1
    print(
        f"{len(table.keys)} keys, {len(table.certificates)} certificates,"
        f" {len(table.issuers)} issuers, {len(table.tenants)} tenants with quotas of their own"
    )
    return 0
