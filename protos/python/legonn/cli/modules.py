"""``legonn modules``: what the server has, how good it is, and changing it while streams go on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from legonn._swap import parts
from legonn.cli.connection import add_address
from legonn.client import Client
from legonn.errors import BadConfig
from legonn.routes import Canary, ModuleEvent
from legonn.streams import ModuleInfo

HELP = "list, check, load, swap and watch the modules of the server"
EXAMPLES = """examples:
  legonn modules                              a table of what is there
  legonn modules check modules/speech-en/2    is this folder fit for service? needs no server
  legonn modules load speech-en/2             bring a version of the store into memory
  legonn modules swap speech-en/2             put it in place of the version in service
  legonn modules swap speech-en/2 --canary 1,10,50,100
                                              the same by shares of the sessions, with rollback
  legonn modules unload speech-en/1 --drain   take a version away when nobody uses it
  legonn modules watch                        say what happens, as it happens

Streams go on during all of this: an open segment keeps the version that it began with."""

HEADINGS = ("MODULE", "KIND", "LANGUAGES", "VOCABULARY", "STATE", "WEIGHTS", "SCORES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments; without an action it is ``list``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    add_address(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")

    def action(name: str, help_text: str, *, is_remote: bool = True) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=help_text, description=help_text)
        if is_remote:
            # Absent here leaves what was said before the action.
            add_address(one, is_repeated=True)
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        return one

    action("list", "show every version that the server knows")
    action("watch", "say what happens to modules and routes, until interrupted")
    check = action(
        "check", "check a module folder: contract, digests, golden test", is_remote=False
    )
    check.add_argument("path", type=Path, help="folder of one version, such as modules/speech-en/2")
    check.add_argument(
        "--with", dest="partners", action="append", default=[], metavar="NAME/VERSION",
        help="a version of the same store that it must fit; may be repeated",
    )  # fmt: skip
    load = action("load", "bring a version into memory; routes stay as they are")
    unload = action("unload", "take a version out of memory")
    unload.add_argument("--drain", action="store_true", help="wait for the segments that use it")
    swap = action("swap", "load a version and route to it what its other versions serve")
    swap.add_argument("--canary", metavar="PERCENTS", help="by shares of the sessions: 1,10,50,100")
    swap.add_argument(
        "--hold", type=float, default=60.0, metavar="S", help="least time on a share (default 60)"
    )
    swap.add_argument("--no-wait", action="store_true", help="do not wait for the old to leave")
    for one in (load, unload, swap):
        one.add_argument("module", metavar="NAME/VERSION")
    for one in (load, swap):
        one.add_argument(
            "--timeout", type=float, default=900.0, metavar="S", help="give up after (default 900)"
        )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return _ACTIONS[arguments.action or "list"](arguments)


def _list(arguments: argparse.Namespace) -> int:
    with Client(arguments.address) as client:
        found = client.modules()
    for line in _objects(found) if arguments.json else table(found):
        print(line)
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    with Client(arguments.address) as client:
        news = client.watch_modules()
        next(news)  # all that was before
        for one in news:
            _tell(one.events, as_json=arguments.json)
    return 0


def _load(arguments: argparse.Namespace) -> int:
    name, version = parts(arguments.module)
    with Client(arguments.address) as client:
        infos = client.load_module(name, version, wait_s=min(arguments.timeout, 600.0))
    return _show_version(version, infos, as_json=arguments.json)


def _unload(arguments: argparse.Namespace) -> int:
    name, version = parts(arguments.module)
    with Client(arguments.address) as client:
        infos = client.unload_module(name, version, drain=arguments.drain)
    return _show_version(version, infos, as_json=arguments.json)


def _show_version(version: str, infos: Sequence[ModuleInfo], *, as_json: bool) -> int:
    for info in infos:
        if info.version == version:
            text = f"{info.name}/{version} is {info.state}"
            print(json.dumps(asdict(info)) if as_json else text)
    return 0


def _swap(arguments: argparse.Namespace) -> int:
    name, version = parts(arguments.module)
    canary = None
    if arguments.canary:
        try:
            steps = tuple(int(step) for step in arguments.canary.split(","))
        except ValueError:
            raise BadConfig("--canary is written as percentages, such as 1,10,50,100") from None
        canary = Canary(steps=steps, hold_s=arguments.hold)
    with Client(arguments.address) as client:
        events = client.swap_module(
            name,
            version,
            canary=canary,
            timeout_s=arguments.timeout,
            is_awaited=not arguments.no_wait,
        )
        _tell(events, as_json=arguments.json)
    if not arguments.json:
        done = "is on trial; `legonn modules watch` says how it goes" if canary else "serves"
        print(f"{arguments.module} {done}")
    return 0


def _tell(events: Iterable[ModuleEvent], *, as_json: bool) -> None:
    """Print what happens, as it happens."""
    for event in events:
        if as_json:
            print(json.dumps(asdict(event), ensure_ascii=False), flush=True)
        else:
            took = f" ({event.elapsed_s:.1f} s)" if event.elapsed_s >= 0.05 else ""
            print(f"{event.text}{took}", flush=True)


def _check(arguments: argparse.Namespace) -> int:
    """Run the check of the core in its own process, which this package must not import."""
    if find_spec("legonn_core") is None or find_spec("torch") is None:
        raise BadConfig(
            "`legonn modules check` needs the modules' code: pip install 'legonn[core]'"
        )
    path = arguments.path.resolve()
    command = [sys.executable, "-m", "legonn_core.modules.check", f"--store={path.parent.parent}"]
    command += [f"--with={partner}" for partner in arguments.partners]
    command.append(f"{path.parent.name}/{path.name}")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    last = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    if arguments.json:
        print(json.dumps(last))
    elif "error" in last:
        print(f"{last['message']} ({last['error']})")
    elif done.returncode:
        print(f"the check ended with code {done.returncode}: the files crash their reader")
    else:
        print(
            f"{command[-1]} is fit: golden output differs by {last['golden_difference']:.2g},"
            f" {last['blank_share']:.0%} of its rows are blank, {last['seconds']:.1f} s"
        )
    return 0 if done.returncode == 0 else 1


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "watch": _watch,
    "check": _check,
    "load": _load,
    "unload": _unload,
    "swap": _swap,
}


def _objects(modules: Sequence[ModuleInfo]) -> list[str]:
    return [json.dumps(asdict(module), ensure_ascii=False) for module in modules]


def table(modules: Sequence[ModuleInfo]) -> list[str]:
    """The modules as lines of aligned columns under a heading."""
    rows = [HEADINGS, *(_row(module) for module in modules)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(module: ModuleInfo) -> tuple[str, ...]:
    languages = (module.source_language, module.target_language)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in sorted(module.scores.items()))
    return (
        f"{module.name}/{module.version}",
        f"{module.modality} {module.kind}".strip().lower(),
        "→".join(dict.fromkeys(language for language in languages if language)),
        module.vocabulary,
        module.state + (f": {module.error}" if module.error else ""),
        f"{module.num_parameters / 1e6:.1f} M" if module.num_parameters else "",
        scores,
    )
