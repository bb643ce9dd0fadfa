"""The gateway's image installs requirements/gateway.txt: enough for what it imports, and nothing that computes."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from tests.requirements.package_names import canonical

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = """
import json, sys
import lexiseg_service.commands.serving.gateway
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
# What those use where it is installed, and do without elsewhere.
OPTIONAL = {"attrs", "brotli", "cryptography", "greenlet", "grpcio-tools", "psutil", "setuptools"}


def listed() -> set[str]:
    lines = (ROOT / "requirements" / "gateway.txt").read_text().splitlines()
    return {canonical(line) for line in lines if line and not line.startswith("#")}


def closure(names: set[str]) -> set[str]:
    """The distributions and everything that they need, extras apart."""
    reached: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        waiting |= {canonical(line) for line in needed if "extra ==" not in line} - reached
    return reached


def test_every_line_is_a_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    wanted = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    assert listed() <= {canonical(line) for line in wanted}


def test_what_the_gateway_imports_is_installed() -> None:
    answer = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, cwd=ROOT)
    by_module = metadata.packages_distributions()
    imported = {canonical(name) for module in json.loads(answer.stdout) for name in by_module.get(module, [])}

    assert imported <= closure(listed()) | OPTIONAL | {"lexiseg", "lexiseg-client"}


def test_nothing_that_computes_is_installed() -> None:
    assert closure(listed()).isdisjoint({"torch", "onnxruntime", "open-clip-torch", "timm", "opencv-python-headless"})
