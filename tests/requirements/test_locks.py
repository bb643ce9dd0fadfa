"""What the images install: every package by hash, in the versions of constraints.txt; the list of what is inside."""

from __future__ import annotations

import re
import runpy
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
