"""`legonn serve`: arguments in, a running server."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from legonn_core.errors import LegonnError
from legonn_server.app import serve
from legonn_server.config import settings as config
from legonn_server.telemetry import logs

HELP = "serve speech recognition and translation over gRPC and HTTP, with a captions page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command line may say; everything else is a setting."""
    parser.add_argument("--listen", metavar="HOST:PORT", help="gRPC address; port 0 takes any")
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        help='captions page and HTTP calls (default 127.0.0.1:8080); "" for none',
    )
    parser.add_argument("--modules", metavar="DIR", help="folder of modules")
    parser.add_argument("--routes", metavar="DIR", help="folder with routes.toml, which is watched")
    parser.add_argument("--metrics", metavar="HOST:PORT", help='/metrics address; "" for none')
    parser.add_argument("--threads", metavar="N", type=int, help="threads of the engine")
    parser.add_argument(
        "--backend", choices=("embedded", "triton", "fake"), help="what runs the modules"
    )
    parser.add_argument(
        "--triton-endpoints",
        metavar="HOST:PORT,…",
        help="gRPC addresses of the Triton servers of --backend triton",
    )
    parser.add_argument(
        "--access",
        metavar="FILE",
        help="keys, tokens and certificates that may call, and their quotas; read again when it"
        " changes. `legonn keys new` makes one; docs/access.md",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="let anybody call who can reach the port, from other machines too",
    )
    parser.add_argument(
        "--cert", metavar="FILE", help="certificate chain (PEM): gRPC and HTTP speak TLS"
    )
    parser.add_argument("--cert-key", metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--client-ca",
        metavar="FILE",
        help="ask clients for certificates that this CA signed (mTLS)",
    )
    parser.add_argument("--grace-seconds", metavar="S", type=float, help="longest drain")
    parser.add_argument("--log-json", action="store_true", default=None, help="log JSON lines")
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings file (TOML)")
    parser.add_argument(
        "--print-config", action="store_true", help="print all settings with their sources, and end"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 after a clean drain, 1 if the server cannot start."""
    named = {
        "server": {
            name: getattr(args, name)
            for name in (
                "listen",
                "http",
                "modules",
                "routes",
                "metrics",
                "threads",
                "backend",
                "grace_seconds",
            )
        },
        "access": {"file": args.access, "insecure": args.insecure},
        "tls": {
            "certificate": args.cert,
            "private_key": args.cert_key,
            "client_ca": args.client_ca,
        },
        "triton": {"endpoints": args.triton_endpoints},
        "log": {"json": args.log_json},
    }
    arguments = {
        section: given
        for section, values in named.items()
        if (given := {name: value for name, value in values.items() if value is not None})
    }
    try:
        settings = config.load(arguments, args.config)
        if args.print_config:
            print(config.printed(settings, arguments, args.config))
            return 0
        logs.set_up(as_json=settings.log.json, level=settings.log.level)
        asyncio.run(serve(settings, lambda line: print(line, flush=True)))
    except LegonnError as error:
        print(f"legonn serve: {error.message}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """The same as ``legonn serve``, for ``python -m legonn_server``."""
    parser = argparse.ArgumentParser(prog="legonn serve", description=HELP)
    add_arguments(parser)
    return run(parser.parse_args())
