"""Which runtime does the image pass, for every value of LEXISEG_RUNTIME."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import ExportError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.choose import use_runtime
from lexiseg_model.export.exportable import TorchPass, require_compiler
from lexiseg_model.export.manifest import MANIFEST, RANGES, read
from lexiseg_model.features import TileFeatures
from lexiseg_model.resources import device
from lexiseg_model.resources.device import Execution
from lexiseg_model.runtimes import Runtime
from lexiseg_model.types import Precision
from tests.model.export.small import BUCKET, Edges, SmallSegmenter, edges, noise
from tests.model.export.test_runner import versions
from tests.model.stand_in import ColourSegmenter

FAST = Execution(torch.device("cpu"), "fast")


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
        (True, "auto", "fast", False), (False, "auto", "fast", True), (False, "auto", "exact", False),
        (False, "torch", "fast", False), (True, "onnx", "fast", True), (True, "onnx", "exact", True),
    ],
    indirect=["bfloat16"],
)  # fmt: skip
def test_auto_takes_the_faster_runtime_and_the_others_are_obeyed(
    bfloat16: None, runtime: Runtime, precision: Precision, expected: bool, small_export: Path
) -> None:
    segmenter = edges()

    use_runtime(segmenter, runtime, Execution(torch.device("cpu"), precision), [small_export], edges)

    assert runs_onnx(segmenter) is expected


def test_an_export_of_other_weights_is_replaced(small_export: Path) -> None:
    segmenter = edges("new")

    use_runtime(segmenter, "onnx", FAST, [small_export], lambda: edges("new"))

    assert runs_onnx(segmenter)
    assert read(small_export).digest == "new"


def test_8_bits_without_ranges_have_to_be_exported_first(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="lexiseg export --model colours --int8"):
        use_runtime(edges(), "onnx-int8", FAST, [tmp_path / "onnx"], edges, tmp_path / RANGES)

    assert list(tmp_path.iterdir()) == []


def test_a_model_that_comes_with_its_ranges_goes_to_8_bits_when_told_to(small_int8: Path, tmp_path: Path) -> None:
    segmenter = edges()

    use_runtime(segmenter, "onnx-int8", FAST, [tmp_path / "own"], edges, small_int8 / RANGES)

    assert runs_onnx(segmenter)
    written = read(tmp_path / "own")
    assert written.image_pass("int8")[0].sha256 == read(small_int8).image_pass("int8")[0].sha256
    assert "ranges kept with the model" in str(written.int8)


@pytest.mark.parametrize("change", [lambda ranges: ranges.replace("relu", "rectified"), lambda _: "no JSON"])
def test_ranges_of_another_graph_are_refused(
    change: Callable[[str], str], small_int8: Path, small_original: Path, tmp_path: Path
) -> None:
    kept, own = small_int8 / RANGES, shutil.copytree(small_original, tmp_path / "own")
    kept.write_text(change(kept.read_text()))

    with pytest.raises(ExportError, match="does not fit the graph"):
        use_runtime(edges(), "onnx-int8", FAST, [own], edges, kept)

    assert {path.name for path in own.iterdir()} == {"image.onnx", MANIFEST}


@pytest.mark.parametrize("bfloat16", [False, True], indirect=True)
@pytest.mark.parametrize(("precision", "expected"), [("fast", True), ("exact", False)])
def test_auto_prefers_8_bits_that_are_there_and_logs_it(
    bfloat16: None, precision: Precision, expected: bool, small_int8: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        use_runtime(edges(), "auto", Execution(torch.device("cpu"), precision), [small_int8], edges)

    assert ("int8, CPUExecutionProvider" in caplog.text) is expected


@pytest.mark.parametrize("bfloat16", [False], indirect=True)
def test_without_the_package_auto_stays_with_torch_and_says_so(
    bfloat16: None, small_export: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_runtime, "version", versions())
    segmenter = edges()

    with caplog.at_level(logging.INFO):
        use_runtime(segmenter, "auto", FAST, [small_export], edges)
    with pytest.raises(ExportError, match="pip install onnxruntime`"):
        use_runtime(segmenter, "onnx", FAST, [small_export], edges)

    assert not runs_onnx(segmenter)
    assert "stays with torch" in caplog.text


def test_tensorrt_is_refused_before_an_export_is_written_for_it(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="device cpu with runtime tensorrt"):
        use_runtime(edges(), "tensorrt", FAST, [tmp_path / "onnx"], edges)

    assert not (tmp_path / "onnx").exists()


CPU = Execution(torch.device("cpu"), "exact")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """What torch.compile has taken over, which a backend of this test runs as it is."""
    taken: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> object:
        taken.append(graph)
        return graph.forward

    monkeypatch.setattr(TorchPass.compile_image_pass, "__defaults__", (keep,))
    monkeypatch.setattr(require_compiler.__wrapped__, "__defaults__", (keep,))
    yield taken
    require_compiler.cache_clear()
    torch.compiler.reset()


class ByTorch(TorchPass, ColourSegmenter):
    """The two convolutions of `Edges` by torch."""

    def __init__(self) -> None:
        super().__init__()
        self._execution, self._network = CPU, Edges()

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        return tuple(self._network(tiles))


def test_a_compiled_image_pass_gives_the_same_maps(graphs: list[torch.fx.GraphModule]) -> None:
    segmenter, tiles = ByTorch(), noise(1, BUCKET)
    before = segmenter.encode_tiles(tiles)

    use_runtime(segmenter, "torch-compile", CPU, [], lambda: segmenter)
    graphs.clear()
    after = segmenter.encode_tiles(tiles)

    assert graphs
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_where_nothing_can_be_compiled_the_start_says_so_in_one_sentence() -> None:
    with pytest.raises(ExportError, match=r"^runtime torch-compile: torch cannot translate for cpu: .*no-such-backend"):
        require_compiler(torch.device("cpu"), "no-such-backend")


def test_a_method_without_such_a_pass_is_refused() -> None:
    with pytest.raises(ExportError, match="use runtime torch"):
        use_runtime(edges(), "torch-compile", CPU, [], edges)
