"""Which runtime does the image pass, for every value of LEXISEG_RUNTIME."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from model import device
from model.catalog import load
from model.device import Execution
from model.errors import ExportError
from model.export import choose, onnx_runtime
from model.export.choose import use_runtime
from model.export.manifest import MANIFEST, read
from model.export.write import export
from model.types import Runtime
from tests.model.export.small import Edges, SmallSegmenter, noise
from tests.model.export.test_onnx_runtime import versions
from tests.model.stand_in import ColourSegmenter

BUCKET = (16, 24)
FAST = Execution(torch.device("cpu"), "fast")


def small(digest: str = "small") -> SmallSegmenter:
    return SmallSegmenter(Edges(), (BUCKET,), any_size=True, digest=digest)


def runs_onnx(segmenter: SmallSegmenter) -> bool:
    before = segmenter.own
    segmenter.encode_tiles(noise(1, BUCKET))
    return segmenter.own == before


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A processor with native bfloat16, or without."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert (device.inference_dtype(torch.device("cpu")) == torch.bfloat16) == request.param


@pytest.mark.parametrize(
    ("bfloat16", "runtime", "precision", "expected"),
    [
        (True, "auto", "fast", False),
        (False, "auto", "fast", True),
        (False, "auto", "exact", False),
        (False, "torch", "fast", False),
        (True, "onnx", "fast", True),
        (True, "onnx", "exact", True),
    ],
    indirect=["bfloat16"],
)
def test_auto_takes_the_faster_runtime_and_the_others_are_obeyed(
    bfloat16: None, runtime: Runtime, precision: device.Precision, expected: bool, tmp_path: Path
) -> None:
    segmenter = small()

    use_runtime(segmenter, runtime, Execution(torch.device("cpu"), precision), tmp_path, small)

    assert runs_onnx(segmenter) is expected
    assert (tmp_path / MANIFEST).exists() is expected


def test_an_export_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    export(small(), tmp_path)
    segmenter = small()

    use_runtime(segmenter, "onnx", FAST, tmp_path, lambda: pytest.fail("loaded once more"))

    assert runs_onnx(segmenter)


def test_an_export_of_other_weights_is_replaced(tmp_path: Path) -> None:
    export(small("old"), tmp_path)
    segmenter = small()

    use_runtime(segmenter, "onnx", FAST, tmp_path, small)

    assert runs_onnx(segmenter)
    assert read(tmp_path).digest == "small"


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_auto_writes_no_large_export_and_takes_one_that_is_there(
    bfloat16: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SMALL", 100)
    without, after = small(), small()

    use_runtime(without, "auto", FAST, tmp_path, small)
    export(small(), tmp_path)
    use_runtime(after, "auto", FAST, tmp_path, small)

    assert not runs_onnx(without)
    assert runs_onnx(after)


def test_int8_is_never_written_unasked(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="lexiseg export --model tiny --int8"):
        load("tiny", device="cpu", runtime="onnx-int8", cache_dir=tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_without_the_package_auto_stays_with_torch_and_says_so(
    bfloat16: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_runtime, "version", versions())
    segmenter = small()

    with caplog.at_level(logging.INFO):
        use_runtime(segmenter, "auto", FAST, tmp_path, small)
    with pytest.raises(ExportError, match=r"lexiseg\[cpu\]"):
        use_runtime(segmenter, "onnx", FAST, tmp_path, small)

    assert not runs_onnx(segmenter)
    assert "stays with torch" in caplog.text


def test_a_method_without_a_graph_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be written as ONNX"):
        use_runtime(ColourSegmenter(), "onnx", FAST, tmp_path, ColourSegmenter)
