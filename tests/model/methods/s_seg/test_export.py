"""The image pass of S-Seg as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import export
from tests.model.export.small import noise
from tests.model.methods.s_seg.small import small_segmenter


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
