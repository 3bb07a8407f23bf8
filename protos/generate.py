"""Write the Python stubs of protos/legonn/v1, or check that the committed ones are up to date.

    python protos/generate.py            # write protos/python/legonn/v1
    python protos/generate.py --check    # generate into a temporary folder, fail with a diff

Because the proto package is ``legonn.v1`` and the output root is ``protos/python``, the generated
imports are right as they come. The generator is pinned (grpcio-tools 1.81.1): a runtime refuses
stubs that are newer than itself. mypy-protobuf adds the types of the service stubs, blocking and
asyncio; the types of messages are protoc's own.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
STUBS = Path("legonn/v1")
DOOR_PLATE = '"""The wire contract as generated code: see protos/legonn/v1. Never edited."""\n'


def generate(root: Path) -> None:
    """Write the stubs of every proto below ``root``.

    Raises:
        RuntimeError: If protoc refuses a proto; its own words are on stderr.
    """
    root.mkdir(parents=True, exist_ok=True)
    protos = sorted(str(path) for path in (PROTOS / STUBS).glob("*.proto"))
    services = [path for path in protos if path.endswith("_service.proto")]
    _protoc(protos, root, ("python", "pyi"))
    _protoc(services, root, ("grpc_python", "mypy_grpc"))
    (root / STUBS / "__init__.py").write_text(DOOR_PLATE)


def _protoc(protos: list[str], root: Path, kinds: tuple[str, ...]) -> None:
    well_known = str(resources.files("grpc_tools") / "_proto")
    plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy_grpc"
    includes = [f"-I{PROTOS}", f"-I{well_known}"]
    command = ["protoc", *includes, f"--plugin=protoc-gen-mypy_grpc={plugin}"]
    # `quiet` keeps the plugin from announcing each file it writes.
    outputs = [f"--{kind}_out={'quiet:' if kind == 'mypy_grpc' else ''}{root}" for kind in kinds]
    if protoc.main([*command, *outputs, *protos]) != 0:
        raise RuntimeError("protoc refused the protos")


def differences(fresh: Path, committed: Path) -> list[str]:
    """Unified diff, line by line, of two folders of stubs; empty if they are equal."""
    names = {path.name for folder in (fresh, committed) for path in folder.glob("*.py*")}
    lines: list[str] = []
    for name in sorted(names):
        old, new = (
            path.read_text().splitlines(keepends=True) if path.exists() else []
            for path in (committed / name, fresh / name)
        )
        lines += difflib.unified_diff(old, new, f"committed/{name}", f"generated/{name}")
    return lines


def main() -> int:
    """Generate, or check; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        generate(PROTOS / "python")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        diff = differences(Path(folder) / STUBS, PROTOS / "python" / STUBS)
    if diff:
        sys.stdout.writelines(diff)
        print("the stubs are not what the protos say: run `make protos`", file=sys.stderr)
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())
