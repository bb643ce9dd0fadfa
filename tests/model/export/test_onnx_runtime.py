"""Which ONNX Runtime is there, and what it runs on."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from lexiseg_model.errors import ExportError
from lexiseg_model.export import onnx_runtime


def versions(*packages: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in packages:
            raise PackageNotFoundError(name)
        return "1.0"

    return version


def test_without_the_package_the_error_names_both_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "version", versions())

    with pytest.raises(ExportError, match=r"pip install onnxruntime`.*pip install onnxruntime-gpu`"):
        onnx_runtime.require()


def test_both_packages_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "version", versions("onnxruntime", "onnxruntime-gpu"))

    with pytest.raises(ExportError, match="pip uninstall onnxruntime onnxruntime-gpu"):
        onnx_runtime.require()


@pytest.mark.parametrize(("said", "then"), [(None, "1"), ("0", "0")])
def test_it_reports_to_nobody_unless_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, said: str | None, then: str
) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", said or "")
    if said is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY")

    onnx_runtime.require()

    assert os.environ["ORT_DISABLE_TELEMETRY"] == then


class GpuBuild:
    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnx_runtime.require().get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_a_gpu_needs_the_other_package() -> None:
    with pytest.raises(ExportError, match="needs onnxruntime-gpu in place of onnxruntime"):
        onnx_runtime.providers(torch.device("cuda"), exact=False)


def test_products_are_full_float32_when_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "require", GpuBuild)

    (name, options), cpu = onnx_runtime.providers(torch.device("cuda:1"), exact=True)

    assert (name, cpu[0]) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (options["device_id"], options["use_tf32"]) == (1, 0)


class Session:
    def __init__(self, *providers: str) -> None:
        self._providers = providers

    def get_providers(self) -> list[str]:
        return list(self._providers)


def test_a_session_that_fell_back_to_the_cpu_is_refused() -> None:
    with pytest.raises(ExportError, match="could not begin there and would use CPUExecutionProvider"):
        onnx_runtime.require_provider(Session("CPUExecutionProvider"), torch.device("cuda"))

    onnx_runtime.require_provider(Session("CUDAExecutionProvider", "CPUExecutionProvider"), torch.device("cuda"))
    onnx_runtime.require_provider(Session("CPUExecutionProvider"), torch.device("cpu"))
