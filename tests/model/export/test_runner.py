"""Running an export: what is refused when the model loads, and how errors look to the worker."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest, onnx_runtime, runner
from lexiseg_model.export.choose import use_runtime
from lexiseg_model.export.manifest import MANIFEST, Manifest, Numbers
from lexiseg_model.export.onnx_runtime import TENSORRT
from lexiseg_model.export.runner import Engine, OnnxRunner
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision
from tests.model.export.small import BUCKET, edges, noise

CPU = torch.device("cpu")


@pytest.fixture
def written(small_export: Path) -> Manifest:
    """The small export, its graph for tiles of one shape alone."""
    whole = manifest.read(small_export)
    return whole.model_copy(update={"graphs": [whole.graphs[0].model_copy(update={"size": BUCKET})]})


def test_a_damaged_file_is_found_when_the_model_loads(small_export: Path, written: Manifest) -> None:
    path = small_export / written.graphs[0].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(ExportError, match="Export the model again"):
        OnnxRunner(small_export, written, "float32", CPU)


def test_tiles_of_an_unknown_shape_are_not_taken(small_export: Path, written: Manifest) -> None:
    run = OnnxRunner(small_export, written, "float32", CPU)

    assert run.encode(noise(1, BUCKET)) is not None
    assert run.encode(noise(1, (32, 32))) is None


def test_passes_side_by_side_have_the_bits_of_one_by_itself(
    small_export: Path, written: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run, tiles = OnnxRunner(small_export, written, "float32", CPU), noise(1, BUCKET)
    by_itself = run.encode(tiles)

    with ThreadPoolExecutor(4) as threads:
        side_by_side = [*threads.map(run.encode, [tiles] * 32)]

    assert by_itself is not None
    for outputs in side_by_side:
        torch.testing.assert_close(outputs, by_itself, rtol=0, atol=0)


def test_a_manifest_that_is_damaged_is_an_error_of_ours(small_export: Path, written: Manifest) -> None:
    (small_export / MANIFEST).write_text("{}")

    with pytest.raises(ExportError, match="not a valid manifest"):
        manifest.read(small_export)


class Full:
    """A session whose device has no memory left, in ONNX Runtime's words."""

    def run(self, outputs: None, inputs: dict[str, NDArray[np.uint8]]) -> list[Any]:
        raise RuntimeError("Non-zero status code: BFCArena Failed to allocate memory for requested buffer of size 1")


def test_no_memory_is_the_error_for_which_the_worker_splits_a_batch() -> None:
    with pytest.raises(MemoryError):
        runner.run(Full(), {runner.TILES: noise(1, BUCKET)})


def versions(*packages: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in packages:
            raise PackageNotFoundError(name)
        return "1.0"

    return version


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


CUDA = "CUDAExecutionProvider"


class TensorRtBuild:
    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, "CPUExecutionProvider"]


def test_products_are_full_float32_when_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "require", TensorRtBuild)

    (name, options), cpu = onnx_runtime.providers(torch.device("cuda:1"), exact=True)

    assert (name, cpu[0]) == (CUDA, "CPUExecutionProvider")
    assert (options["device_id"], options["use_tf32"]) == (1, 0)


class Session:
    def __init__(self, *providers: str) -> None:
        self._providers = providers

    def get_providers(self) -> list[str]:
        return list(self._providers)


@pytest.mark.parametrize("lost", [CUDA, TENSORRT])
def test_a_session_that_fell_back_to_another_provider_is_refused(lost: str) -> None:
    with pytest.raises(ExportError, match=f"{lost} could not start there, ONNX Runtime would use CPUExecutionProvider"):
        onnx_runtime.require_provider(Session("CPUExecutionProvider"), torch.device("cuda"), lost)

    onnx_runtime.require_provider(Session(lost, "CPUExecutionProvider"), torch.device("cuda"), lost)
    onnx_runtime.require_provider(Session("CPUExecutionProvider"), torch.device("cpu"), "CPUExecutionProvider")


@pytest.mark.parametrize(("exact", "halves"), [(False, True), (True, False)])
def test_tensorrt_keeps_what_it_compiled_and_computes_in_halves_unless_exact(
    exact: bool, halves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "require", TensorRtBuild)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    name, options = onnx_runtime.tensorrt(torch.device("cuda:1"), exact=exact)

    assert (name, options["device_id"], options["trt_fp16_enable"]) == (TENSORRT, 1, halves)
    assert options["trt_engine_cache_enable"]
    assert Path(options["trt_engine_cache_path"]).is_relative_to(tmp_path)


@pytest.mark.parametrize(("engine", "first"), [("ONNX Runtime", CUDA), ("TensorRT", TENSORRT)])
def test_what_tensorrt_lacks_is_left_to_cuda(
    engine: Engine, first: str, small_export: Path, written: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "require", TensorRtBuild)
    monkeypatch.setattr(onnx_runtime, "preload", lambda: None)
    monkeypatch.setattr(
        runner, "open_session", lambda folder, graph, chosen, threads: Session(*(name for name, _ in chosen))
    )

    opened = OnnxRunner(small_export, written, "float32", torch.device("cuda"), engine=engine)

    assert opened.providers[0] == first
    assert opened.providers[-2:] == [CUDA, "CPUExecutionProvider"]


@pytest.mark.skipif(CUDA in onnx_runtime.require().get_available_providers(), reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize(
    ("provider", "device", "expected"),
    [
        (onnx_runtime.providers, "cuda", "needs onnxruntime-gpu in place of onnxruntime"),
        (onnx_runtime.tensorrt, "cuda", "needs onnxruntime-gpu in place of onnxruntime"),
        (onnx_runtime.tensorrt, "cpu", "runs graphs on cuda; set LEXISEG_DEVICE=cuda"),
    ],
)
def test_a_gpu_needs_the_other_package(provider: Callable[..., object], device: str, expected: str) -> None:
    with pytest.raises(ExportError, match=expected):
        provider(torch.device(device), exact=False)


needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")


@needs_openvino
@pytest.mark.parametrize(
    ("precision", "how", "numbers"),
    [("fast", "static", "int8"), ("exact", "static", "float32"), ("fast", "dynamic", "float32")],
)
def test_it_prefers_static_8_bits_unless_exact(
    precision: Precision, how: str, numbers: Numbers, small_int8: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = manifest.read(small_int8)
    (small_int8 / MANIFEST).write_text(written.model_copy(update={"int8": how}).model_dump_json())

    with caplog.at_level(logging.INFO):
        use_runtime(edges(), "openvino", Execution(CPU, precision), [small_int8], edges)

    assert f"by OpenVINO: {numbers}, OpenVINO" in caplog.text


@needs_openvino
def test_a_missing_export_is_written_in_float32(tmp_path: Path) -> None:
    segmenter, tiles = edges(), noise(2, BUCKET)
    expected = edges().encode_tiles(tiles)

    use_runtime(segmenter, "openvino", Execution(CPU), [tmp_path / "onnx"], edges)

    for ours, theirs in zip(segmenter.encode_tiles(tiles), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert segmenter.own == 0


@needs_openvino
def test_another_device_is_refused(small_export: Path) -> None:
    with pytest.raises(ExportError, match="device cuda with runtime openvino: it runs graphs on cpu"):
        use_runtime(edges(), "openvino", Execution(torch.device("cuda")), [small_export], edges)


@needs_openvino
def test_a_file_that_is_no_graph_is_refused(small_export: Path) -> None:
    whole = manifest.read(small_export)
    (small_export / "image.onnx").write_bytes(b"no graph")
    graph = whole.graphs[0].model_copy(update={"sha256": hashlib.sha256(b"no graph").hexdigest()})

    with pytest.raises(ExportError, match=r"OpenVINO cannot load .*image\.onnx"):
        OnnxRunner(small_export, whole.model_copy(update={"graphs": [graph]}), "float32", CPU, engine="OpenVINO")


@needs_openvino
def test_its_telemetry_cannot_be_imported() -> None:
    onnx_runtime.require_openvino()

    assert "openvino-telemetry" in " ".join(requires("openvino") or [])  # still under this name
    assert sys.modules[onnx_runtime.TELEMETRY] is None
    assert not any(name.startswith(f"{onnx_runtime.TELEMETRY}.") for name in sys.modules)


def test_without_the_package_the_error_says_how_to_install_it(
    small_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(ExportError, match="not installed: `pip install openvino`"):
        use_runtime(edges(), "openvino", Execution(CPU), [small_export], edges)
