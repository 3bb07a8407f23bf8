"""``legonn bench``: load a server, or find out how much it carries."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from legonn import __version__
from legonn.cli.connection import add_address
from legonn_core.scoring.sets import BadSet
from legonn_loadtest.load.scenario import Scenario, read_scenario
from legonn_loadtest.load.server import NoServer, Served, serving

if TYPE_CHECKING:
    from legonn_loadtest.load.capacity import Step
    from legonn_loadtest.load.driver import Outcome

HELP = "play load against a server, or find how many streams it carries"
EXAMPLES = """examples:
  legonn bench load loadtest/scenarios/steady.toml                  against a server that runs
  legonn bench load loadtest/scenarios/spike.toml --serve fake      against one of its own
  legonn bench capacity --serve embedded                            how many streams it carries
  legonn bench capacity --serve fake --server-cpus 1 --first 100    the gateway alone, on one core
  legonn bench plan work/capacity.json --sessions 1000 100000       what many sessions need

Audio is sent when it is spoken, whatever the server does; each latency counts from that moment.
Every stream is checked against the promises of the contract. `--json` keeps everything, `--html`
makes a page with plots. Exit code: 0 all limits of the scenario held, 1 not, 2 wrong usage."""


PLAN_EPILOG = """The result of `legonn bench capacity` holds what the server used at several numbers
of streams. From its two lightest loads a queue is reckoned (docs/operations.md, Capacity): where
the lag reaches the bound, and how many such servers many sessions need."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="load|capacity|plan")
    load = kinds.add_parser("load", help="play a scenario", epilog=EXAMPLES)
    load.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    capacity = kinds.add_parser("capacity", help="find the largest number of streams")
    capacity.add_argument(
        "--scenario", type=Path, metavar="FILE", help="its audio and limits (default: beeps)"
    )
    capacity.add_argument("--first", type=int, default=8, metavar="N", help="try this number first")
    capacity.add_argument("--most", type=int, default=2_048, metavar="N", help="try no more")
    capacity.add_argument("--seconds", type=float, default=15.0, help="measured, for each number")
    capacity.add_argument(
        "--lag-ms", type=float, metavar="MS", help="bound of the 95th percentile (default: a chunk)"
    )
    for one in (load, capacity):
        _add_common(one)
    plan = kinds.add_parser("plan", help="what many sessions need, from a capacity result")
    plan.formatter_class = argparse.RawDescriptionHelpFormatter
    plan.epilog = PLAN_EPILOG
    plan.add_argument("result", type=Path, metavar="CAPACITY.json")
    plan.add_argument("--sessions", type=int, nargs="+", default=[1_000], metavar="N")
    plan.add_argument("--cores", type=float, default=1.0, help="of the server that was measured")
    plan.add_argument("--chunk-ms", type=float, default=640.0, help="of the speech encoder's card")
    plan.add_argument("--speech-share", type=float, default=0.5, help="of a session's time")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_address(parser)
    parser.add_argument("--metrics", default="", metavar="URL", help="/metrics of that server")
    parser.add_argument("--serve", choices=("fake", "embedded"), help="start a server for the test")
    parser.add_argument(
        "--server-cpus", default="", metavar="N,…", help="cores of the server of --serve"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="generator processes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the raw result")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")


def run(arguments: argparse.Namespace) -> int:
    """Run the test; 0 if all limits held."""
    if arguments.kind == "plan":
        return _plan(arguments)
    try:
        scenario = _scenario(arguments)
        return asyncio.run(
            _load(arguments, scenario)
            if arguments.kind == "load"
            else _capacity(arguments, scenario)
        )
    except (BadSet, NoServer) as error:
        print(f"legonn bench: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            "legonn bench: this needs more than the plain install: pip install 'legonn[loadtest]'"
            f" ({error.name} is not installed)",
            file=sys.stderr,
        )
        return 1


def _scenario(arguments: argparse.Namespace) -> Scenario:
    from legonn_loadtest.load.scenario import Limits, Phase

    if arguments.scenario:
        scenario = read_scenario(arguments.scenario)
    else:
        scenario = Scenario("capacity", phases=(Phase(seconds=1, streams=1),))
    if arguments.kind == "capacity":
        lag_ms = arguments.lag_ms or scenario.limits.lag_ms or float(scenario.chunk_ms)
        scenario = replace(scenario, limits=Limits(lag_ms=lag_ms))
    if arguments.processes:
        scenario = replace(scenario, processes=arguments.processes)
    return scenario


@asynccontextmanager
async def _server(arguments: argparse.Namespace, most: int) -> AsyncIterator[Served]:
    if not arguments.serve:
        yield Served(arguments.address, arguments.metrics)
        return
    cpus = [int(one) for one in arguments.server_cpus.split(",") if one]
    async with serving(arguments.serve, max_streams=most + 16, cpus=cpus) as served:
        yield served


async def _load(arguments: argparse.Namespace, scenario: Scenario) -> int:
    from legonn_loadtest.load import driver

    async with _server(arguments, 2 * scenario.most_streams) as served:
        outcome = await driver.run(scenario, [served])
    print(table(outcome))
    _keep(arguments, outcome.as_json())
    if arguments.html:
        from legonn_loadtest.load.page import page

        arguments.html.write_text(page(outcome), encoding="utf-8")
    return 1 if outcome.breaches() else 0


async def _capacity(arguments: argparse.Namespace, scenario: Scenario) -> int:
    from legonn_loadtest.load import capacity, driver

    search = capacity.Search(arguments.first, arguments.most, seconds=arguments.seconds)
    async with _server(arguments, arguments.most) as served:
        steps = await capacity.find(
            scenario, search, lambda one: driver.run(one, [served]), tell=_tell
        )
    best = capacity.largest(steps)
    print(
        f"{best} streams: 95 % of partials within {scenario.limits.lag_ms:g} ms of their audio"
        if best
        else "not even the smallest number held"
    )
    _keep(
        arguments,
        {"capacity": best, "steps": [step.outcome.as_json() for step in steps]},
    )
    return 0 if best else 1


def _plan(arguments: argparse.Namespace) -> int:
    from legonn_loadtest.load import model

    try:
        content = json.loads(arguments.result.read_text(encoding="utf-8"))
        bound_s = content["steps"][0]["scenario"]["limits"]["lag_ms"] / 1000
        found = model.fitted(model.loads_of(content), chunk_s=arguments.chunk_ms / 1000)
        knee = found.knee(cores=arguments.cores, bound_s=bound_s)
        print(
            f"one server: {knee:.1f} speaking streams by the model, {content['capacity']} measured,"
            f" 95 % of partials within {bound_s * 1000:g} ms"
        )
        for sessions in arguments.sessions:
            share, cores = arguments.speech_share, arguments.cores
            need = model.needs(found, sessions, cores=cores, bound_s=bound_s, speech_share=share)
            print(
                f"{need.sessions:,} sessions: {need.speaking:,} encoder slots, {need.replicas:,}"
                f" servers of {cores:g} cores (one to spare), gateways keep"
                f" {need.gateway_cores:,.1f} cores busy; {need.ingress_bits / 1e9:.2f} Gbit/s PCM"
            )
    except (OSError, ValueError, KeyError, model.NotEnough) as error:
        print(f"legonn bench plan: {arguments.result}: {error}", file=sys.stderr)
        return 1
    return 0


def _tell(step: Step) -> None:
    outcome = step.outcome
    cpu = outcome.server.get("process_cpu_seconds_total", math.nan) / outcome.wall_s
    said = "; ".join(step.breaches) or "held"
    print(
        f"{step.num_streams:5} streams: partial p50 {outcome.percentile_ms('partial', 50):.1f},"
        f" p95 {outcome.percentile_ms('partial', 95):.1f},"
        f" p99 {outcome.percentile_ms('partial', 99):.1f} ms;"
        f" gateway {cpu:.2f} of a core; {said}",
        flush=True,
    )


def _keep(arguments: argparse.Namespace, content: dict[str, object]) -> None:
    if arguments.json:
        whole = {"client_version": __version__, "command": sys.argv[1:], **content}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def table(outcome: Outcome) -> str:
    """The run for a terminal."""
    raw = outcome.as_json()
    lines = [f"{'interval (ms)':24}{'count':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
    for name, values in raw["latencies_ms"].items():
        cells = (values["p50"], values["p95"], values["p99"], values["p100"])
        lines.append(f"{name:24}{values['count']:>9}" + "".join(f"{one:9.1f}" for one in cells))
    lines.append("  ".join(f"{name} {number}" for name, number in raw["counts"].items()))
    lines += [f"{name} {value:.2f}" for name, value in raw["scores"].items()]
    lines += [f"LIMIT {one}" for one in raw["breaches"]] or ["all limits held"]
    if outcome.generator_is_busy:
        lines.append("the generators were too busy: read the latencies as upper bounds")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The same as ``legonn bench``, for ``python -m legonn_loadtest.load.command``."""
    parser = argparse.ArgumentParser(prog="legonn bench", description=HELP)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
