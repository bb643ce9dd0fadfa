"""Writes the Python stubs of the .proto files: `python proto/generate.py`, or `make proto`.

They lie in the client, which is installed with the service and without it: protoc's imports of `lexiseg.v1` and
`inference` are turned into the package's own name.

Stubs refuse libraries older than their generator, and run with all newer ones up to protobuf's next major version but
one. So the generator is the oldest that is good enough (requirements/generator.txt), in a folder of its own beside the
environment's packages, which are newer than it wants them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GENERATOR = Path(sys.prefix) / "generator"
PROTO = Path(__file__).resolve().parent
# The public interface, that between gateways and workers, and an adapter's, which is loaded with it alone.
FILES = ("lexiseg/v1/segmentation", "lexiseg/v1/worker", "inference/open_inference")
NOTE = '"""Generated from proto/{sources} by proto/generate.py; changes are lost."""\n'
IMPORT = re.compile(r"\b(?:lexiseg\.v1|inference)(?= import\b|\.\w+_pb2')")


TARGET, PACKAGE = Path("clients/python/lexiseg_client/stubs"), "lexiseg_client.stubs"


def generate(root: Path) -> None:
    """Writes them below a folder, removing what is no longer generated.

    Raises:
        CalledProcessError: protoc refuses a file; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder_of_stubs = Path(folder)
        _protoc(folder_of_stubs)
        target = root / TARGET
        target.mkdir(parents=True, exist_ok=True)
        for old in (*target.glob("*.py"), *target.glob("*.pyi")):
            old.unlink()
        sources = sorted({str(Path(name).parent) for name in FILES})
        (target / "__init__.py").write_text(NOTE.format(sources=", proto/".join(sources)), encoding="utf-8")
        for name in FILES:
            for path in sorted((folder_of_stubs / name).parent.glob(f"{Path(name).name}_pb2*")):
                (target / path.name).write_text(IMPORT.sub(PACKAGE, path.read_text(encoding="utf-8")), encoding="utf-8")


def _protoc(target: Path) -> None:
    # The plug-ins lie beside the interpreter, which need not be on the path.
    beside = Path(sys.executable).parent
    plugins = [f"--plugin={name}={beside / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    files = [f"{name}.proto" for name in FILES]
    typed = [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins, *outputs, *typed, *files]
    if not GENERATOR.is_dir():
        raise SystemExit(f"{GENERATOR} holds no generator: `make proto` sets it up from requirements/generator.txt")
    path = os.pathsep.join(filter(None, [str(GENERATOR), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path})


if __name__ == "__main__":
    generate(PROTO.parent)
