"""The examples of methods of one's own pass the suite of methods, and need only the promised interface."""

import pytest
import torch
from lexiseg_maskclip.segmenter import MaskClipTower
from test_maskclip import TestMaskClip as TestMaskClip
from test_palette import TestPalette as TestPalette

from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from tests.model.clip import small
from tests.test_architecture import ROOT, imported_by

PROMISED = ("lexiseg_model", "lexiseg_model.testing")


@pytest.mark.parametrize("example", ["maskclip", "palette"])
def test_an_example_imports_only_the_promised_interface(example: str) -> None:
    sources = sorted((ROOT / "examples" / example).rglob("*.py"))

    origins = {origin for path in sources for origin in imported_by(path) if origin.startswith("lexiseg_model")}

    assert len(sources) >= 3
    assert origins <= set(PROMISED)


def test_a_method_over_clip_takes_sixty_lines() -> None:
    lines = (ROOT / "examples/maskclip/lexiseg_maskclip/segmenter.py").read_text().splitlines()

    assert len(lines) <= 60


def test_the_sixty_lines_are_our_maskclip() -> None:
    ours = DenseNetwork(small.visual(), DenseClipSettings(policy="maskclip", normalisation="clip"))
    tiles = torch.randint(0, 256, (2, 3, 40, 56), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    assert torch.equal(MaskClipTower(small.visual())(tiles)[0], ours(tiles)[0])
