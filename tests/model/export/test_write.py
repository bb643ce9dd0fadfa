"""Writing graphs of small networks: what is written, what is refused, what stays on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model.errors import ExportError, OptionError
from model.export import manifest, write
from model.export.runner import OnnxRunner
from model.export.write import add_int8, export
from model.methods.dense_clip.image_pass import ImagePass as DensePass
from model.methods.dense_clip.network import DenseNetwork
from model.methods.dense_clip.settings import published_policy
from model.methods.tcl.image_pass import ImagePass as TclPass
from tests.model.export.small import Edges, SmallSegmenter, noise
from tests.model.methods.tcl.small import small_network

CPU = torch.device("cpu")
WINDOWS = ((32, 48), (64, 64))


def transformer(method: str) -> nn.Module:
    """A small CLIP tower under TCL, or under NACLIP, whose neighbourhood depends on the grid."""
    network = small_network()
    if method == "tcl":
        return TclPass(network)
    return DensePass(DenseNetwork(network.visual, published_policy("naclip").settings))


def edges() -> SmallSegmenter:
    return SmallSegmenter(Edges(), ((16, 24),), any_size=True)


@pytest.mark.parametrize("method", ["tcl", "dense-clip"])
def test_a_transformer_gets_a_graph_for_each_bucket(method: str, tmp_path: Path) -> None:
    segmenter = SmallSegmenter(transformer(method), WINDOWS, any_size=False)
    tiles = [noise(3, bucket) for bucket in WINDOWS]
    expected = [segmenter.encode_tiles(each) for each in tiles]

    written = export(segmenter, tmp_path)
    segmenter.use_image_runner(OnnxRunner(tmp_path, written, "float32", CPU))
    segmenter.own = 0

    assert [graph.size for graph in written.graphs] == list(WINDOWS)
    for each, wanted in zip(tiles, expected, strict=True):
        torch.testing.assert_close(segmenter.encode_tiles(each), wanted, atol=1e-4, rtol=1e-3)
    assert segmenter.own == 0


def test_tiles_of_another_shape_stay_with_the_method(tmp_path: Path) -> None:
    segmenter = SmallSegmenter(transformer("tcl"), WINDOWS[:1], any_size=False)
    segmenter.use_image_runner(OnnxRunner(tmp_path, export(segmenter, tmp_path), "float32", CPU))

    segmenter.encode_tiles(noise(2, WINDOWS[1]))

    assert segmenter.own == 2


def test_a_transformer_goes_to_8_bits_without_photographs(tmp_path: Path) -> None:
    segmenter = SmallSegmenter(transformer("dense-clip"), WINDOWS[:1], any_size=False)
    tiles = noise(2, WINDOWS[0])
    (expected,) = segmenter.encode_tiles(tiles)

    written = add_int8(tmp_path, export(segmenter, tmp_path), [])
    (found,) = OnnxRunner(tmp_path, written, "int8", CPU)(tiles)

    small, large = (written.of(numbers)[0].bytes for numbers in ("int8", "float32"))
    assert small < large
    assert written.int8 is not None
    assert written.int8.startswith("dynamic")
    assert 0.99 < (found * expected).sum(1).min() < 0.999999  # cosines: near, and not the same numbers


@pytest.mark.parametrize(("count", "message"), [(0, "with --photos FOLDER"), (3, "at least 4 photographs")])
def test_convolutions_go_to_8_bits_only_by_photographs(count: int, message: str, tmp_path: Path) -> None:
    written = export(edges(), tmp_path)

    with pytest.raises(OptionError, match=message):
        add_int8(tmp_path, written, [noise(1, (16, 24))] * count)

    assert manifest.read(tmp_path) == written


def test_a_new_export_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    export(SmallSegmenter(transformer("tcl"), WINDOWS[:1], any_size=False, digest="old"), folder)

    export(edges(), folder)

    assert manifest.read(folder).digest == "small"
    assert sorted(path.name for path in folder.iterdir()) == ["image.onnx", "onnx.json"]
    assert list(tmp_path.iterdir()) == [folder]


class Moody(nn.Module):
    """Depends on values that tracing does not know."""

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        return (tiles.float() if tiles.float().mean() > 100 else -tiles.float(),)


class Noisy(nn.Module):
    """Never gives the same answer."""

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        return (tiles.float() + 100 * torch.rand_like(tiles.float()),)


class Tall(nn.Module):
    """Knows the shape it was traced with."""

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        return (tiles.float().view(-1, 3, 16, 24).mean(3),)


@pytest.mark.parametrize(
    ("network", "message"), [(Moody(), "cannot be written"), (Noisy(), "off by"), (Tall(), "cannot be written")]
)
def test_a_graph_that_would_not_do_is_refused_and_the_old_export_stays(
    network: nn.Module, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "onnx"
    before = export(edges(), folder)

    with pytest.raises(ExportError, match=message):
        export(SmallSegmenter(network, ((16, 24), (32, 24)), any_size=True), folder)

    assert manifest.read(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_network_beyond_what_a_file_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LARGEST", 100)

    with pytest.raises(ExportError, match="holds 2 GiB"):
        export(edges(), tmp_path)


def test_whole_images_of_any_shape_have_no_graph_of_one_shape(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="needs one shape"):
        export(SmallSegmenter(transformer("tcl"), (), any_size=False), tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ExportError, match="cannot write to"):
        export(edges(), tmp_path / "file" / "onnx")
