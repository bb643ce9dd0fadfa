"""Generate the Python stubs of the .proto files: `python proto/generate.py`, or `make proto`.

The stubs are part of the client package: imports of `lexiseg.v1` are rewritten to its name.

Stubs need a protobuf at least as new as their generator. So an old generator (requirements/generator.txt) is used,
installed in its own folder because it conflicts with the environment's newer packages.
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
# The public interface, and the one between gateways and workers.
FILES = ("lexiseg/v1/segmentation", "lexiseg/v1/worker")
NOTE = '"""Generated from proto/{sources} by proto/generate.py; changes are lost."""\n'
EXPERIMENTAL = " # This class is part of an EXPERIMENTAL API."  # to the end of a file; calls without a channel
IMPORT = re.compile(r"\blexiseg\.v1(?= import\b|\.\w+_pb2')")


TARGET, PACKAGE = Path("clients/python/lexiseg_client/stubs"), "lexiseg_client.stubs"


def generate(root: Path) -> None:
    """Replace the stubs below a repository root.

    Raises:
        CalledProcessError: protoc rejects a file; its message is on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder)
        _protoc(generated)
        target = root / TARGET
        target.mkdir(parents=True, exist_ok=True)
        for old in (*target.glob("*.py"), *target.glob("*.pyi")):
            old.unlink()
        sources = sorted({str(Path(name).parent) for name in FILES})
        (target / "__init__.py").write_text(NOTE.format(sources=", proto/".join(sources)), encoding="utf-8")
        for name in FILES:
            for path in sorted((generated / name).parent.glob(f"{Path(name).name}_pb2*")):
                stubs = path.read_text(encoding="utf-8").partition(EXPERIMENTAL)[0].rstrip() + "\n"
                (target / path.name).write_text(IMPORT.sub(PACKAGE, stubs), encoding="utf-8")


def _protoc(target: Path) -> None:
    # The plug-ins are next to the interpreter, which may not be on the path.
    scripts = Path(sys.executable).parent
    plugins = [f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    files = [f"{name}.proto" for name in FILES]
    typed = [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins, *outputs, *typed, *files]
    if not GENERATOR.is_dir():
        raise SystemExit(f"no generator at {GENERATOR}: `make proto` installs it from requirements/generator.txt")
    path = os.pathsep.join(filter(None, [str(GENERATOR), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path})


if __name__ == "__main__":
    generate(PROTO.parent)
