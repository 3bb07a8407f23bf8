"""``legonn modules export``: write a model server's repository from a module store."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from legonn_core.errors import BadConfig, LegonnError
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.registry import find_modules
from legonn_core.modules.signatures import add_trust, asked_trust
from legonn_core.runtime.triton_repository import TritonExport, export

HELP = "write a Triton model repository"
EXAMPLES = """examples:
  legonn modules export --triton repository                     every version in ./modules
  legonn modules export --triton repository speech-en/2         add one version
  legonn modules export --triton repository --decoder-instances 4
then start the server on it (`make triton` does both), and the gateway with
  legonn serve --backend triton --triton-endpoints 127.0.0.1:8001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    defaults = TritonExport()
    parser.add_argument("modules", nargs="*", metavar="NAME/VERSION", help="default: all")
    parser.add_argument(
        "--triton",
        required=True,
        type=Path,
        metavar="DIR",
        help="the repository to write or add to",
    )
    parser.add_argument(
        "--from", dest="store", type=Path, metavar="DIR", help="module store (default: modules)"
    )
    parser.add_argument("--kind", choices=("cpu", "gpu"), default=defaults.kind)
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="which GPU")
    parser.add_argument(
        "--slots", type=int, default=defaults.slots, metavar="N", help="streams of each encoder"
    )
    parser.add_argument(
        "--decoder-instances",
        type=int,
        default=defaults.decoder_instances,
        metavar="N",
        help="processes of each decoder; an encoder has one, which holds its streams' state",
    )
    parser.add_argument(
        "--threads", type=int, default=defaults.threads, metavar="N", help="threads of each process"
    )
    parser.add_argument(
        "--load-niceness",
        type=int,
        default=defaults.load_niceness,
        metavar="N",
        help="how far a load stands back behind what is served, 0 to 19",
    )
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the repository; 0 if all is there, 1 if something could not be written."""
    store = arguments.store or Path(os.environ.get("LEGONN_MODULES") or "modules")
    try:
        found = find_modules(store)
        if not found:
            raise BadConfig(f"no modules in {store}; name their folder with --from DIR")
        refs = [ModuleRef.parse(text) for text in arguments.modules] or found
        options = TritonExport(
            kind=arguments.kind,
            gpu=arguments.gpu,
            slots=arguments.slots,
            decoder_instances=arguments.decoder_instances,
            threads=arguments.threads,
            load_niceness=arguments.load_niceness,
        )
        trust = asked_trust(arguments)
        for one in export(store, arguments.triton, options, refs=refs, trust=trust):
            print(f"{one.ref}  {'written as' if one.is_new else 'is there as'} {one.name}")
    except (LegonnError, ValueError) as error:
        print(f"legonn modules export: {error}", file=sys.stderr)
        return 1
    return 0
