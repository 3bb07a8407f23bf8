"""Write src/gen from the protos, or check that the committed code is what they give.

    python generate.py            # write
    python generate.py --check    # generate into a temporary folder, fail on a difference

The generator is protoc-gen-es of node_modules, pinned by package-lock.json; protoc is that of
grpcio-tools.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

import google.rpc
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
# The error details of gRPC, which no npm package has in this form.
RPC = Path(google.rpc.__path__[0])


def generate(root: Path, protos: Path, plugin: Path) -> None:
    """Write the TypeScript of every proto below ``root``.

    Raises:
        RuntimeError: If protoc refuses; its own words are on stderr.
    """
    root.mkdir(parents=True, exist_ok=True)
    well_known = resources.files("grpc_tools") / "_proto"
    sources = sorted((protos / "legonn/v1").glob("*.proto"))
    command = [
        "protoc",
        *(f"-I{folder}" for folder in (protos, well_known, RPC.parents[1])),
        f"--plugin=protoc-gen-es={plugin}",
        f"--es_out={root}",
        "--es_opt=target=ts,import_extension=js",
        *map(str, sources),
        *(str(RPC / name) for name in ("error_details.proto", "status.proto")),
    ]
    if protoc.main(command) != 0:
        raise RuntimeError("protoc refused the protos")


def main() -> int:
    """Generate, or check; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--protos", type=Path, default=HERE.parent, help="folder of the protos")
    arguments = parser.parse_args()
    plugin = HERE / "node_modules/.bin/protoc-gen-es"
    committed = HERE / "src/gen"
    if not arguments.check:
        generate(committed, arguments.protos, plugin)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), arguments.protos, plugin)
        fresh = {path.relative_to(folder): path.read_text() for path in Path(folder).rglob("*.ts")}
    found = {path.relative_to(committed): path.read_text() for path in committed.rglob("*.ts")}
    if fresh != found:
        print("src/gen is not what the protos say: run `npm run generate`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
