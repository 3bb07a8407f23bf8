"""``make triton``: a Triton server on this machine with every module, watched until Ctrl-C.

Triton neither restarts a model process that died nor says that it did. Whoever runs it has to
watch, and to start the whole server anew: gateways notice, replay elsewhere, and come back.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from deploy.triton.launcher import HOST, LaunchError, Ports, TritonServer
from legonn_core.errors import LegonnError
from legonn_core.modules.registry import find_modules
from legonn_core.runtime.triton_repository import TritonExport, export

LOAD_TIMEOUT_S = 300
LOOK_EVERY_S = 1.0


def call(server: TritonServer, path: str) -> object:
    """One request of the server's repository API."""
    url = f"http://{HOST}:{server.ports.http}/v2/repository/{path}"
    request = urllib.request.Request(url, data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=LOAD_TIMEOUT_S) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def load_all(server: TritonServer, models: dict[str, str]) -> None:
    """Load every model, saying how it goes.

    Args:
        server: Already started.
        models: Triton names with the modules that they are.

    Raises:
        LaunchError: If one cannot be loaded.
    """
    for number, (model, module) in enumerate(models.items(), start=1):
        print(f"  loading {module} ({number} of {len(models)}) …", end=" ", flush=True)
        began = time.monotonic()
        try:
            call(server, f"models/{model}/load")
        except urllib.error.HTTPError as error:
            print("failed")
            raise LaunchError(f"{module} cannot be served: {reason_of(error)}") from error
        print(f"{time.monotonic() - began:.1f} s", flush=True)


def reason_of(error: urllib.error.HTTPError) -> str:
    """The first line of what the server says."""
    try:
        said = str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"status {error.code}"
    return said.splitlines()[0]


def is_whole(server: TritonServer) -> bool:
    """Whether the server and a process for each model that says READY are alive."""
    if not server.is_running:
        return False
    try:
        index = call(server, "index")
    except OSError:
        return False
    assert isinstance(index, list)
    ready = {model["name"] for model in index if model.get("state") == "READY"}
    alive = {Path(stub.model).parts[-3] for stub in server.stubs() if stub.model}
    return ready <= alive


def watch(server: TritonServer, models: dict[str, str]) -> None:
    """Start the server anew whenever it, or one of its model processes, has died."""
    while True:
        time.sleep(LOOK_EVERY_S)
        if not is_whole(server):
            print("a process of the Triton server died; starting it again", flush=True)
            server.kill()
            server.start()
            load_all(server, models)
            print("Triton serves again", flush=True)


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="make triton", description=__doc__)
    parser.add_argument("--wheel", type=Path, default=Path(".triton"), help="where the server is")
    parser.add_argument("--modules", type=Path, default=Path("modules"), help="module store")
    usual = Ports()
    parser.add_argument("--grpc-port", type=int, default=usual.grpc)
    parser.add_argument("--http-port", type=int, default=usual.http)
    parser.add_argument("--metrics-port", type=int, default=usual.metrics)
    parser.add_argument("--decoder-instances", type=int, default=1, help="processes a decoder")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ports = Ports(arguments.grpc_port, arguments.http_port, arguments.metrics_port)
    scratch = arguments.wheel.resolve() / f"run-{ports.grpc}"
    scratch.mkdir(parents=True, exist_ok=True)
    server = TritonServer(arguments.wheel.resolve(), scratch / "repository", scratch, ports)
    try:
        options = TritonExport(decoder_instances=arguments.decoder_instances)
        refs = find_modules(arguments.modules)
        found = export(arguments.modules, server.repository, options, refs=refs)
        print(f"starting Triton; its log is {server.log}", flush=True)
        server.start()
        models = {one.name: str(one.ref) for one in found}
        load_all(server, models)
        print(
            f"Triton serves {', '.join(models.values())} at {server.address};"
            f" metrics at {server.metrics_address}\n"
            f"use it with: legonn serve --backend triton --triton-endpoints {server.address}\n"
            "Ctrl-C ends it",
            flush=True,
        )
        watch(server, models)
    except (LaunchError, LegonnError) as error:
        print(f"make triton: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
