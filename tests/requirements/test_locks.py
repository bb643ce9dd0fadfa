"""What the images install: every package by hash, in the versions of constraints.txt; the list of what is inside."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.requirements.package_names import canonical

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.lock"))
PINNED = re.compile(
    r"^([a-z0-9.-]+)==(\S+)(?: ; [^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE
)
OF_CUDA = ("cuda-", "nvidia-", "triton")


def locked(name: str) -> dict[str, str]:
    """Versions by package; each of them has hashes."""
    written = (REQUIREMENTS / f"{name}.lock").read_text()
    packages = {package: version for package, version, _ in PINNED.findall(written)}
    assert len(packages) == len(re.findall(r"^[a-z0-9]", written, re.MULTILINE))
    return packages


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


@pytest.mark.parametrize("name", LOCKS)
def test_a_list_has_the_versions_of_the_constraints(name: str) -> None:
    pinned = constraints()

    assert {
        package: version for package, version in locked(name).items() if pinned.get(package, version) != version
    } == {}


def test_each_list_holds_what_its_image_needs_and_torch_is_in_none() -> None:
    lists = {name: locked(name) for name in LOCKS}
    wanted = {
        canonical(line) for line in (REQUIREMENTS / "gateway.txt").read_text().splitlines() if line and line[0] != "#"
    }

    assert set(lists) == {"build", "bulk", "gateway", "load", "worker-cpu", "worker-gpu"}
    assert wanted <= set(lists["gateway"]) <= set(lists["load"])
    assert "locust" in lists["load"]
    assert {"pyarrow", "ray"} <= set(lists["bulk"])
    for traced in ("gateway", "worker-cpu", "worker-gpu"):  # with LEXISEG_OTEL_ENDPOINT
        assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= set(lists[traced])
    assert "s3fs" in lists["worker-cpu"]
    assert "s3fs" in lists["worker-gpu"]
    assert "onnxruntime" in lists["worker-cpu"]
    assert "onnxruntime-gpu" in lists["worker-gpu"]
    assert "onnxruntime" not in lists["worker-gpu"]
    for packages in lists.values():
        assert not {"torch", "torchvision"} & set(packages)
    assert not [package for package in lists["worker-cpu"] if package.startswith(OF_CUDA)]


def test_torch_and_onnx_runtime_are_of_one_cuda() -> None:
    packages = locked("worker-gpu")

    # onnxruntime-gpu 1.31 wants CUDA 13 and cuDNN 9, as torch's index cu130 has.
    assert packages["onnxruntime-gpu"].startswith("1.31.")
    assert packages["nvidia-cuda-runtime"].startswith("13.0.")
    assert packages["nvidia-cudnn-cu13"].startswith("9.")
    assert "TORCH_INDEX/cu130" in (ROOT / "Dockerfile").read_text()


def test_the_bill_of_materials_names_what_is_installed() -> None:
    document = runpy.run_path(str(REQUIREMENTS / "sbom.py"))["document"]("lexiseg-worker", "1.2.3")
    components = {component["name"]: component for component in document["components"]}

    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["version"] == "1.2.3"
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{constraints()['numpy']}"
    assert components["pytest"]["licenses"]


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
