"""The MaskFormer head, matching, losses and gradients against the reference; its masks through the interface."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lexiseg_model.features import Features, Plan
from lexiseg_model.methods.s_seg.segmenter import MIN_SCORE, SSegSegmenter
from lexiseg_model.methods.s_seg.settings import SSegSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from tests.model.methods.s_seg import golden
from tests.model.methods.s_seg.small import CARD, small_network
from tests.once import kept

# Absolute and relative tolerances of the fixtures' README; magnitudes above 5 have 1e-4 of them in addition.
LOSS = (1e-5, 0.0)
EXACT = (0.0, 0.0)
TOLERANCES = {
    "mask_features": (2e-5, 0.0),
    "pred_masks": (2e-4, 1e-4),
    "aux0_masks": (2e-4, 1e-4),
    "queries": (3e-5, 0.0),
    "queries_first": (3e-5, 0.0),
    "match_query": EXACT,
    "match_target": EXACT,
    **{f"train_loss_{kind}{layer}": LOSS for kind in ("mask", "dice") for layer in ("", "_0", "_1", "_2", "_3", "_4")},
    "train_total": (0.0, 1e-5),
    "train_grad_query_embed": (1e-5, 1e-4),
    "train_grad_mask_features_bias": (1e-5, 1e-4),
    "train_grad_layer4": (1e-5, 1e-4),
    "plain_cost": (1e-5, 1e-5),
    "plain_query": EXACT,
    "plain_target": EXACT,
    "plain_focal": LOSS,
    "plain_dice": LOSS,
}


def test_every_array_of_the_fixture_is_compared() -> None:
    assert set(golden.reference()) == set(golden.ours()) == set(TOLERANCES)


@pytest.mark.parametrize("name", TOLERANCES)
def test_an_array_equals_the_reference(name: str) -> None:
    absolute, relative = TOLERANCES[name]

    found = golden.ours()[name].detach().numpy()

    assert found.shape == golden.reference()[name].shape
    np.testing.assert_allclose(found, golden.reference()[name], atol=absolute, rtol=relative)


EMBEDDING = 16
SETTINGS = SSegSettings(
    backbone="test_resnet",
    drop_path=None,
    text_layers=1,
    text_width=64,
    embedding=EMBEDDING,
    projector_hidden=32,
    combination="sum",  # MaskFormer's
)


class Given(nn.Module):
    """In place of a backbone: the fixture's own levels, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(level, requires_grad=False) for level in golden.features())

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.levels)


@kept
def segmenter() -> SSegSegmenter:
    network = small_network(SETTINGS)
    network.sem_seg_head = golden.head()
    network.backbone = Given()  # type: ignore[assignment]
    execution = Execution(torch.device("cpu"), "exact")
    return SSegSegmenter(network.requires_grad_(False), SETTINGS, CARD, "golden", execution)


@kept
def features() -> Features:
    plan = Plan(golden.SIZE, np.zeros((1, 3, *golden.SIZE), np.uint8))
    return segmenter().assemble(plan, segmenter().encode_tiles(plan.tiles))


def bank() -> TextBank:
    vectors = torch.randn(5, EMBEDDING, generator=torch.Generator().manual_seed(0))
    return TextBank(nn.functional.normalize(vectors, dim=1), np.array([0, 1, 1, 2, 3]), 4)


def test_pixel_scores_are_maskformers_sum_over_masks() -> None:
    """In float64 and by a loop, from the reference's queries; its masks were compared above."""
    scores = segmenter().class_scores(features(), bank()).numpy()

    network, kept = segmenter().image_network().network, features().tensors
    embeddings = network.embed_masks(torch.from_numpy(golden.reference()["queries"])).numpy().astype(np.float64)
    cosines = embeddings @ bank().vectors.numpy().T
    by_class = np.stack([cosines[:, bank().owner == index].max(1) for index in range(4)], 1) / 0.07
    shares = np.exp(by_class) / np.exp(by_class).sum(1, keepdims=True)
    fine = nn.functional.interpolate(kept["masks"], size=golden.SIZE, mode="bilinear")[0].numpy().astype(np.float64)
    expected = sum(share[:, None, None] / (1 + np.exp(-mask)) for share, mask in zip(shares, fine, strict=True))
    np.testing.assert_allclose(scores, np.log(np.maximum(expected, MIN_SCORE)), atol=1e-4)
