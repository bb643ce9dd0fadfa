"""Writes the Python stubs of the .proto files: `python proto/generate.py`, or `make proto`.

The service and the client are installed apart, so each carries its own copy inside its own package: protoc's imports of
`lexiseg.v1` and `inference` are turned into the package's own name. The descriptors inside are the same, byte for byte,
so that both may live in one process.

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
PUBLIC = ("lexiseg/v1/segmentation",)
INTERNAL = ("lexiseg/v1/worker",)
FOREIGN = ("inference/open_inference",)  # an adapter's; loaded with it alone
NOTE = '"""Generated from proto/{sources} by proto/generate.py; changes are lost."""\n'
IMPORT = re.compile(r"\b(?:lexiseg\.v1|inference)(?= import\b|\.\w+_pb2')")


def packages(root: Path) -> dict[Path, tuple[str, tuple[str, ...]]]:
    """Folder of each copy to its dotted name and its files."""
    return {
        root / "service/lexiseg_service/stubs": ("lexiseg_service.stubs", (*PUBLIC, *INTERNAL, *FOREIGN)),
        root / "clients/python/lexiseg_client/stubs": ("lexiseg_client.stubs", PUBLIC),
    }


def generate(root: Path) -> None:
    """Writes all copies below a folder, removing what is no longer generated.

    Raises:
        CalledProcessError: protoc refuses a file; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder_of_stubs = Path(folder)
        _protoc(folder_of_stubs)
        for target, (package, names) in packages(root).items():
            target.mkdir(parents=True, exist_ok=True)
            for old in (*target.glob("*.py"), *target.glob("*.pyi")):
                old.unlink()
            (target / "__init__.py").write_text(
                NOTE.format(sources=", proto/".join(sorted({str(Path(name).parent) for name in names}))),
                encoding="utf-8",
            )
            for name in names:
                for path in sorted((folder_of_stubs / name).parent.glob(f"{Path(name).name}_pb2*")):
                    text = IMPORT.sub(package, path.read_text(encoding="utf-8"))
                    (target / path.name).write_text(text, encoding="utf-8")


def _protoc(target: Path) -> None:
    # The plug-ins lie beside the interpreter, which need not be on the path.
    beside = Path(sys.executable).parent
    plugins = [f"--plugin={name}={beside / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    files = [f"{name}.proto" for name in (*PUBLIC, *INTERNAL, *FOREIGN)]
    typed = [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins, *outputs, *typed, *files]
    if not GENERATOR.is_dir():
        raise SystemExit(f"{GENERATOR} holds no generator: `make proto` sets it up from requirements/generator.txt")
    path = os.pathsep.join(filter(None, [str(GENERATOR), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path})


if __name__ == "__main__":
    generate(PROTO.parent)
