"""The image pass of S-Seg written down as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import export
from tests.model.export.small import noise
from tests.model.methods.s_seg.small import SMALL, small_segmenter

SWIN = "swin_tiny_patch4_window7_224"
# Of Swin, for tracing it takes as long as it has blocks: one of each kind is enough.
LESS: dict[str, Any] = {"depths": (2, 2, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 4, 8)}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_resnet", SWIN])
def test_a_graph_gives_masks_queries_and_vectors_as_the_network_does(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = timm.create_model

    def create(name: str, **options: Any) -> Any:
        return made(name, **options, **(LESS if name == SWIN else {}))

    monkeypatch.setattr(timm, "create_model", create)
    segmenter = small_segmenter(SMALL.model_copy(update={"backbone": backbone}))
    tiles = noise(2, segmenter.buckets[0])
    expected = segmenter.encode_tiles(tiles)

    manifest = export(segmenter, tmp_path / "onnx")
    segmenter.use_image_runner(OnnxRunner(tmp_path / "onnx", manifest, "float32", torch.device("cpu")))

    assert [graph.size for graph in manifest.graphs] == [(64, 64)]
    for ours, theirs in zip(segmenter.encode_tiles(tiles), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
