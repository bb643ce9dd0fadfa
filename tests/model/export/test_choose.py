"""Which runtime does the image pass, for every value of LEXISEG_RUNTIME."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

from lexiseg_model import device
from lexiseg_model.catalogue import bundled
from lexiseg_model.device import Execution
from lexiseg_model.errors import ExportError
from lexiseg_model.export import choose, int8, onnx_runtime
from lexiseg_model.export.choose import use_runtime
from lexiseg_model.export.int8 import FULL_RANGE, HALF_RANGE
from lexiseg_model.export.manifest import MANIFEST, RANGES, read
from lexiseg_model.export.write import add_int8
from lexiseg_model.types import Precision, Quality, Runtime
from tests.model.export.conftest import Export
from tests.model.export.small import BUCKET, Edges, SmallSegmenter, noise
from tests.model.export.test_onnx_runtime import versions
from tests.model.stand_in import ColourSegmenter

FAST = Execution(torch.device("cpu"), "fast")


def small(digest: str = "small") -> SmallSegmenter:
    return SmallSegmenter(Edges(), (BUCKET,), any_size=True, digest=digest)


def measured(losses: list[float | None]) -> SmallSegmenter:
    """With a card that tells of so many data sets."""
    segmenter = small()
    quality = {
        str(place): Quality(miou=50, pixel_accuracy=80, images=9, int8_loss=loss) for place, loss in enumerate(losses)
    }
    segmenter.card = segmenter.card.model_copy(update={"quality": quality})
    return segmenter


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
    bfloat16: None, runtime: Runtime, precision: Precision, expected: bool, small_export: Path
) -> None:
    segmenter = small()

    use_runtime(segmenter, runtime, Execution(torch.device("cpu"), precision), small_export, small)

    assert runs_onnx(segmenter) is expected


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_auto_writes_a_small_export_that_is_missing(bfloat16: None, tmp_path: Path) -> None:
    segmenter = small()

    use_runtime(segmenter, "auto", FAST, tmp_path / "onnx", small)

    assert runs_onnx(segmenter)
    assert (tmp_path / "onnx" / MANIFEST).is_file()


def test_an_export_that_is_there_is_not_written_again(small_export: Path) -> None:
    segmenter = small()

    use_runtime(segmenter, "onnx", FAST, small_export, lambda: pytest.fail("loaded once more"))

    assert runs_onnx(segmenter)


def test_an_export_of_other_weights_is_replaced(small_export: Path) -> None:
    segmenter = small("new")

    use_runtime(segmenter, "onnx", FAST, small_export, lambda: small("new"))

    assert runs_onnx(segmenter)
    assert read(small_export).digest == "new"


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_auto_writes_no_large_export_and_takes_one_that_is_there(
    bfloat16: None, tmp_path: Path, small_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SMALL", 100)
    without, after = small(), small()

    use_runtime(without, "auto", FAST, tmp_path / "elsewhere", small)
    use_runtime(after, "auto", FAST, small_export, small)

    assert not runs_onnx(without)
    assert runs_onnx(after)


def test_8_bits_without_ranges_have_to_be_exported_first(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="lexiseg export --model colours --int8"):
        use_runtime(small(), "onnx-int8", FAST, tmp_path / "onnx", small, tmp_path / RANGES)

    assert list(tmp_path.iterdir()) == []


def ranges_of(small_export: Path, tmp_path: Path) -> Path:
    """As somebody keeps them who has measured them on photographs."""
    add_int8(small_export, read(small_export), [noise(1, BUCKET, seed) for seed in range(4)])
    return (small_export / RANGES).rename(tmp_path / RANGES)


def test_a_model_that_comes_with_its_ranges_goes_to_8_bits_when_told_to(small_export: Path, tmp_path: Path) -> None:
    kept = ranges_of(small_export, tmp_path)
    segmenter = small()

    use_runtime(segmenter, "onnx-int8", FAST, tmp_path / "own", small, kept)

    assert runs_onnx(segmenter)
    written = read(tmp_path / "own")
    assert written.of("int8")[0].sha256 == read(small_export).of("int8")[0].sha256
    assert "ranges kept with the model" in str(written.int8)


@pytest.mark.parametrize("content", ["{}", "no JSON", None])
def test_ranges_of_another_graph_are_refused(content: str | None, small_export: Path, tmp_path: Path) -> None:
    kept = ranges_of(small_export, tmp_path)
    kept.write_text(kept.read_text().replace("relu", "rectified") if content is None else content)

    with pytest.raises(ExportError, match="does not fit the graph"):
        use_runtime(small(), "onnx-int8", FAST, tmp_path / "own", small, kept)

    assert {path.name for path in (tmp_path / "own").iterdir()} == {"image.onnx", MANIFEST}


@pytest.mark.parametrize("bfloat16", [False, True], indirect=True)
def test_auto_makes_no_8_bit_export_though_the_model_comes_with_its_ranges(
    bfloat16: None, small_export: Path, tmp_path: Path
) -> None:
    kept = ranges_of(small_export, tmp_path)

    use_runtime(measured([0.0]), "auto", FAST, tmp_path / "own", small, kept)

    assert not (tmp_path / "own").exists() or not read(tmp_path / "own").of("int8")


def test_the_ranges_of_the_bundled_model_fit_its_graph(exported: Export, tmp_path: Path) -> None:
    copy = shutil.copytree(exported.folder, tmp_path / "onnx")
    torch_alone = exported.manifest.model_copy(update={"graphs": exported.manifest.of("float32")})

    written = add_int8(copy, torch_alone, (), bundled()["tiny"] / RANGES)

    assert written.int8 in {f"static, {weights}, ranges kept with the model" for weights in (FULL_RANGE, HALF_RANGE)}


@pytest.mark.parametrize("bfloat16", [False, True], indirect=True)
@pytest.mark.parametrize(
    ("losses", "precision", "vnni", "expected"),
    [
        ([0.2, -0.1], "fast", True, True),
        ([0.2, 0.21], "fast", True, False),
        ([0.0, None], "fast", True, False),
        ([], "fast", True, False),
        ([0.0], "exact", True, False),
        ([0.0], "fast", False, False),
    ],
)
def test_auto_takes_8_bits_where_the_card_says_that_they_cost_nothing_and_tells(
    bfloat16: None,
    losses: list[float | None],
    precision: Precision,
    vnni: bool,
    expected: bool,
    small_export: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_int8(small_export, read(small_export), [noise(1, BUCKET, seed) for seed in range(4)])
    monkeypatch.setattr(choose, "multiplies_int8", lambda: vnni)

    with caplog.at_level(logging.INFO):
        use_runtime(measured(losses), "auto", Execution(torch.device("cpu"), precision), small_export, small)

    assert ("served in 8 bits: its card tells of a loss of" in caplog.text) is expected
    assert ("int8, CPUExecutionProvider" in caplog.text) is expected


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_auto_makes_no_8_bit_export_without_ranges_whatever_the_card_says(
    bfloat16: None, small_export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        use_runtime(measured([0.0]), "auto", FAST, small_export, small)

    assert "float32, CPUExecutionProvider" in caplog.text
    assert not read(small_export).of("int8")


@pytest.mark.parametrize(("vnni", "warns"), [(True, False), (False, True)])
def test_8_bit_weights_on_a_processor_that_cannot_multiply_them_are_warned_of(
    vnni: bool, warns: bool, small_export: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(int8, "multiplies_int8", lambda: True)
    add_int8(small_export, read(small_export), [noise(1, BUCKET, seed) for seed in range(4)])
    monkeypatch.setattr(choose, "multiplies_int8", lambda: vnni)
    segmenter = small()

    use_runtime(segmenter, "onnx-int8", FAST, small_export, small)

    assert runs_onnx(segmenter)
    assert ("no VNNI" in caplog.text) is warns


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_without_the_package_auto_stays_with_torch_and_says_so(
    bfloat16: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_runtime, "version", versions())
    segmenter = small()

    with caplog.at_level(logging.INFO):
        use_runtime(segmenter, "auto", FAST, tmp_path, small)
    with pytest.raises(ExportError, match="pip install onnxruntime`"):
        use_runtime(segmenter, "onnx", FAST, tmp_path, small)

    assert not runs_onnx(segmenter)
    assert "stays with torch" in caplog.text


def test_a_method_without_a_graph_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be written as ONNX"):
        use_runtime(ColourSegmenter(), "onnx", FAST, tmp_path, ColourSegmenter)
