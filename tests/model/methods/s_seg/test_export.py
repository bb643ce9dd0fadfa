"""The image pass of S-Seg written down as a graph."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import export
from lexiseg_model.methods.s_seg.backbone import Pyramid
from tests.model.export.small import SmallSegmenter, noise
from tests.model.methods.s_seg.small import small_segmenter

SWIN = "swin_tiny_patch4_window7_224"


class Levels(nn.Module):
    """A backbone alone: tiles [N, 3, s, t] -> its maps, each [N, C, h, w]."""

    def __init__(self, backbone: Pyramid) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(tiles.float() / 255))


def compare(segmenter: Exportable, folder: Path) -> None:
    """A graph of (64, 64) with its network."""
    tiles = noise(2, (64, 64))
    expected = segmenter.encode_tiles(tiles)

    manifest = export(segmenter, folder)
    segmenter.use_image_runner(OnnxRunner(folder, manifest, "float32", torch.device("cpu")))

    assert [graph.size for graph in manifest.graphs] == [(64, 64)]
    for ours, theirs in zip(segmenter.encode_tiles(tiles), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_a_graph_gives_masks_queries_and_vectors_as_the_network_does(tmp_path: Path) -> None:
    compare(small_segmenter(), tmp_path / "onnx")


@pytest.mark.slow
def test_a_graph_gives_the_levels_of_swin_as_the_network_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tracing takes as long as there are blocks: one of each kind is enough.
    less = partial(timm.create_model, depths=(2, 1, 1, 1), embed_dim=24, num_heads=(1, 2, 4, 8))
    monkeypatch.setattr(timm, "create_model", less)
    segmenter = SmallSegmenter(Levels(Pyramid(SWIN, 0.0)), ((64, 64),), any_size=False)

    compare(segmenter, tmp_path / "onnx")
