"""Graphs in OpenVINO: the same labels as torch, which graph is chosen, and what is refused when a model loads."""

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest
from lexiseg_model.export.choose import use_runtime
from lexiseg_model.export.manifest import MANIFEST, Numbers
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import add_int8
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision
from tests.model.export.small import BUCKET, edges, noise

CPU = torch.device("cpu")
pytest.importorskip("openvino", reason="the extra openvino is not installed")


@pytest.mark.parametrize(
    ("precision", "how", "numbers"),
    [("fast", "static", "int8"), ("exact", "static", "float32"), ("fast", "dynamic", "float32")],
)
def test_it_prefers_static_8_bits_unless_exact(
    precision: Precision, how: str, numbers: Numbers, small_export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = add_int8(small_export, manifest.read(small_export), [noise(1, BUCKET, seed) for seed in range(4)])
    (small_export / MANIFEST).write_text(written.model_copy(update={"int8": how}).model_dump_json())

    with caplog.at_level(logging.INFO):
        use_runtime(edges(), "openvino", Execution(CPU, precision), [small_export], edges)

    assert f"by OpenVINO: {numbers}, OpenVINO" in caplog.text


def test_a_missing_export_is_written_in_float32(tmp_path: Path) -> None:
    segmenter, tiles = edges(), noise(2, BUCKET)
    expected = edges().encode_tiles(tiles)

    use_runtime(segmenter, "openvino", Execution(CPU), [tmp_path / "onnx"], edges)

    for ours, theirs in zip(segmenter.encode_tiles(tiles), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert segmenter.own == 0


def test_another_device_is_refused(small_export: Path) -> None:
    with pytest.raises(ExportError, match="device cuda with runtime openvino: it runs graphs on cpu"):
        use_runtime(edges(), "openvino", Execution(torch.device("cuda")), [small_export], edges)


def test_a_file_that_is_no_graph_is_refused(small_export: Path) -> None:
    whole = manifest.read(small_export)
    (small_export / "image.onnx").write_bytes(b"no graph")
    graph = whole.graphs[0].model_copy(update={"sha256": hashlib.sha256(b"no graph").hexdigest()})

    with pytest.raises(ExportError, match=r"OpenVINO cannot load .*image\.onnx"):
        OnnxRunner(small_export, whole.model_copy(update={"graphs": [graph]}), "float32", CPU, engine="OpenVINO")


def test_it_reports_to_nobody(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    script = "import sys; from lexiseg_model.export.onnx_runtime import require_openvino; require_openvino(); "
    script += "print(any(name.startswith('openvino_telemetry.') for name in sys.modules))"

    command, environment = [sys.executable, "-c", script], {**os.environ, "HOME": str(home)}
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert printed == "False\n"
    assert list(home.iterdir()) == []


def test_without_the_package_the_error_says_how_to_install_it(
    small_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(ExportError, match="not installed: `pip install openvino`"):
        use_runtime(edges(), "openvino", Execution(CPU), [small_export], edges)
