"""CLIP-DINOiser's heads, against the formulas written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip.dinoiser import DinoiserHeads, heads_from_state

SHAPES = {
    "obj_proj.weight": (256, 8, 3, 3),
    "obj_proj.bias": (256,),
    "bkg_decoder.weight": (1, 8, 1, 1),
    "bkg_decoder.bias": (1,),
}


def state() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(4)
    return {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}


def inputs(count: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.randn(count, 8, 3, 5, generator=random), torch.randn(count, 4, 3, 5, generator=random)


@torch.inference_mode()
def test_vectors_are_pooled_by_correlation() -> None:
    inner, vectors = inputs(1)
    weights = state()
    projected = F.conv2d(F.pad(inner, (1,) * 4, mode="replicate"), weights["obj_proj.weight"], weights["obj_proj.bias"])
    units = projected[0].flatten(1) / projected[0].flatten(1).norm(dim=0)
    expected = torch.empty(4, 15)
    for patch in range(15):
        likeness = torch.tensor([units[:, patch] @ units[:, other] for other in range(15)])
        likeness[likeness < 0.2] = 0
        expected[:, patch] = (vectors[0].flatten(1) * likeness).sum(1) / (likeness.sum() + 1e-6)

    found = heads_from_state(weights)(inner, vectors).vectors

    torch.testing.assert_close(found[0].flatten(1), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_objectness_head_reads_unit_tokens() -> None:
    inner, vectors = inputs(1)
    weights = state()
    units = inner[0] / inner[0].norm(dim=0)
    logits = torch.einsum("chw,c->hw", units, weights["bkg_decoder.weight"][0, :, 0, 0]) + weights["bkg_decoder.bias"]

    found = heads_from_state(weights)(inner, vectors).objectness

    torch.testing.assert_close(found[0], logits.sigmoid())


def test_the_state_dict_has_the_documented_layout() -> None:
    heads = DinoiserHeads()

    assert {name: tuple(value.shape) for name, value in heads.state_dict().items()} == {
        "obj_proj.weight": (256, 768, 3, 3),
        "obj_proj.bias": (256,),
        "bkg_decoder.weight": (1, 768, 1, 1),
        "bkg_decoder.bias": (1,),
    }


def test_missing_or_misshapen_heads_are_refused() -> None:
    lacking = {name: value for name, value in state().items() if name != "bkg_decoder.bias"}

    with pytest.raises(WeightsError, match=r"bkg_decoder\.bias is missing"):
        heads_from_state(lacking)
    with pytest.raises(WeightsError, match=r"bkg_decoder\.bias"):
        heads_from_state(state() | {"bkg_decoder.bias": torch.zeros(2)})
    with pytest.raises(WeightsError, match=r"obj_proj\.weight is \[2\]"):
        heads_from_state(state() | {"obj_proj.weight": torch.zeros(2)})
