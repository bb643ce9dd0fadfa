"""The examples of methods of one's own pass the suite of methods, and need only the promised interface."""

from copy import deepcopy
from pathlib import Path

import lexiseg_stitcher
import pytest
import torch
from lexiseg_maskclip.segmenter import MaskClipTower
from lexiseg_stitcher.segmenter import Settings, StitcherTower
from test_maskclip import TestMaskClip as TestMaskClip
from test_palette import TestPalette as TestPalette

from lexiseg_model import Execution, PatchTextSegmenter, Segmenter, TextTower, read_card
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.testing import SegmenterTests
from tests.model.clip import small
from tests.model.methods.dense_clip.small import dino
from tests.once import kept
from tests.test_architecture import ROOT, imported_by

PROMISED = ("lexiseg_model", "lexiseg_model.testing")


@pytest.mark.parametrize(("example", "lines"), [("maskclip", 60), ("palette", 120), ("stitcher", 150)])
def test_an_example_is_short_and_imports_only_the_promised_interface(example: str, lines: int) -> None:
    folder = ROOT / "examples" / example

    origins = {origin for path in folder.rglob("*.py") for origin in imported_by(path)}

    assert {origin for origin in origins if origin.startswith("lexiseg_model")} <= set(PROMISED)
    assert len((folder / f"lexiseg_{example}" / "segmenter.py").read_text().splitlines()) <= lines


def pictures(*size: int) -> torch.Tensor:
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_sixty_lines_are_our_maskclip() -> None:
    ours = DenseNetwork(small.visual(), DenseClipSettings(policy="maskclip", normalisation="clip"))
    tiles = pictures(2, 3, 40, 56)

    assert torch.equal(MaskClipTower(small.visual())(tiles)[0], ours(tiles)[0])


def tower(step: int) -> StitcherTower:
    return StitcherTower(small.visual(), deepcopy(dino()).float(), crop=32, step=step)  # a copy: models change its type


@kept
def stitcher() -> PatchTextSegmenter:
    own = read_card(Path(lexiseg_stitcher.__file__).parent / "bundled")
    towers, settings = small.towers(), Settings(templates="tcl9")
    sides = own.input.model_copy(update={"short_side": 48, "long_side": 96, "multiple": small.PATCH})
    card = own.model_copy(update={"embedding": 16, "input": sides, "settings": settings.model_dump()})
    return PatchTextSegmenter(
        tower(step=16), TextTower(towers), settings, card, "random", Execution(torch.device("cpu"))
    )


class TestStitcher(SegmenterTests):
    @pytest.fixture
    def segmenter(self) -> Segmenter:
        return stitcher()


def test_a_patch_sees_what_is_in_no_window_of_its_own() -> None:
    picture = pictures(1, 3, 32, 64)
    changed = picture.clone()
    changed[..., 32:] = 0

    with torch.inference_mode():
        before, after = (tower(step=32)(each)[0][..., :8] for each in (picture, changed))

    assert not torch.allclose(before, after, atol=1e-3)
