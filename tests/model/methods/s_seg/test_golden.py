"""The MaskFormer head, matching, losses and gradients against the reference; its masks through the interface."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lexiseg_model.features import Features, Plan
from lexiseg_model.methods.s_seg.decoder import MaskHead
from lexiseg_model.methods.s_seg.segmenter import MIN_SCORE, SSegSegmenter
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_train.training.losses import (
    assign,
    matched_mask_losses,
    matching_costs,
    mean_over_targets,
)
from lexiseg_train.training.recipe import MaskLossSettings
from tests.golden import golden_inputs, golden_weights, weights
from tests.golden.weights import SEED
from tests.model.methods.s_seg.small import CARD, SMALL, small_network
from tests.once import kept

reference = partial(weights.reference, "maskformer")  # every array of the fixture
PREFIX = "sem_seg_head."
SIZE = (160, 192)
CHANNELS = (96, 192, 384, 768)
LOSSES = MaskLossSettings()


def head() -> MaskHead:
    """The head with the fixture's weights, every one of them used."""
    state: dict[str, Tensor] = golden_weights.build(golden_weights.maskformer_head(), SEED)
    made = MaskHead(CHANNELS, n_queries=64, depth=6, dropout=0.1)
    made.load_state_dict({name.removeprefix(PREFIX): weight for name, weight in state.items()})
    return made.eval()


def levels() -> list[Tensor]:
    """res2..res5."""
    shapes = [(1, channels, SIZE[0] >> level, SIZE[1] >> level) for level, channels in enumerate(CHANNELS, start=2)]
    return [
        torch.from_numpy(golden_inputs.normal(SEED, f"mf/res{level}", shape))
        for level, shape in enumerate(shapes, start=2)
    ]


def targets() -> Tensor:
    """Eight masks that divide the image, [1, 8, 160, 192]."""
    labels = golden_inputs.integers(SEED, "mf/labels", (10, 12), 0, 8).repeat(16, 0).repeat(16, 1)
    return torch.from_numpy(labels[None] == np.arange(8)[:, None, None])[None].float()


def trained() -> dict[str, Tensor]:
    """One pass with its losses and gradients."""
    # oneDNN sums in another order on every kind of processor: of the gradient's norm 2.4e-4 on one without AVX-512,
    # where torch's own kernels are 3e-5 from the reference.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about a flag for other devices
        with torch.backends.mkldnn.flags(enabled=False):
            module = head()
            queries, mask_features = module(levels())  # [6, 1, 64, 256], [1, 256, 40, 48]
            masks = module.masks(queries, mask_features)  # [6, 1, 64, 40, 48]
            losses = matched_mask_losses(masks, targets(), LOSSES)
            total = mean_over_targets(losses.weighted(LOSSES), losses.targets).sum()
            total.backward()  # type: ignore[no-untyped-call]
    pairs = assign(matching_costs(masks[-1], targets(), LOSSES))
    arrays = {
        "mask_features": mask_features[0, ::8, ::2, ::2],
        "pred_masks": masks[-1, 0, ::4, ::2, ::2],
        "aux0_masks": masks[0, 0, ::8, ::3, ::3],
        "queries": queries[-1, 0],
        "queries_first": queries[0, 0, ::4],
        "match_query": pairs.prediction,
        "match_target": pairs.target,
        "train_total": total,
        "train_grad_query_embed": gradient(module.predictor.query_embed.weight)[::4, ::8],
        "train_grad_mask_features_bias": gradient(module.pixel_decoder.mask_features.bias),
        "train_grad_layer4": gradient(module.pixel_decoder.get_parameter("layer_4.weight")).norm(),
    }
    each_layer = zip(losses.focal / losses.targets, losses.dice / losses.targets, strict=True)
    for layer, (focal, dice) in enumerate(each_layer):
        suffix = "" if layer == len(masks) - 1 else f"_{layer}"
        arrays |= {f"train_loss_mask{suffix}": focal, f"train_loss_dice{suffix}": dice}
    return arrays


@kept
def ours() -> dict[str, Tensor]:
    """What this code gives for every array of the fixture, by its name."""
    logits = torch.from_numpy(2 * golden_inputs.normal(SEED, "mf/plain_logits", (1, 10, 40, 40)))
    masks = torch.from_numpy(golden_inputs.blob_masks(SEED, "mf/plain_masks", 6, 160, 160))[None].float()
    costs = matching_costs(logits, masks, LOSSES)
    alone = matched_mask_losses(logits[None], masks, LOSSES)
    pairs = assign(costs)
    return trained() | {
        "plain_cost": costs[0], "plain_query": pairs.prediction, "plain_target": pairs.target,
        "plain_focal": alone.focal[0] / alone.targets, "plain_dice": alone.dice[0] / alone.targets,
    }  # fmt: skip


def gradient(weight: Tensor | None) -> Tensor:
    assert weight is not None
    assert weight.grad is not None
    return weight.grad


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
    assert set(reference()) == set(ours()) == set(TOLERANCES)


@pytest.mark.parametrize("name", TOLERANCES)
def test_an_array_equals_the_reference(name: str) -> None:
    absolute, relative = TOLERANCES[name]

    found = ours()[name].detach().numpy()

    assert found.shape == reference()[name].shape
    np.testing.assert_allclose(found, reference()[name], atol=absolute, rtol=relative)


# 64 queries and six layers, as the fixture has; MaskFormer's sum.
SETTINGS = SMALL.model_copy(update={"n_queries": 64, "decoder_layers": 6, "dropout": 0.1, "combination": "sum"})


class Given(nn.Module):
    """In place of a backbone: the fixture's own levels, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(level, requires_grad=False) for level in levels())

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.levels)


@kept
def segmenter() -> SSegSegmenter:
    network = small_network(SETTINGS)
    network.sem_seg_head = head()
    network.backbone = Given()  # type: ignore[assignment]
    execution = Execution(torch.device("cpu"), "exact")
    return SSegSegmenter(network.requires_grad_(False), SETTINGS, CARD, "golden", execution)


@kept
def features() -> Features:
    plan = Plan(SIZE, np.zeros((1, 3, *SIZE), np.uint8))
    return segmenter().assemble(plan, segmenter().encode_tiles(plan.tiles))


def bank() -> TextBank:
    vectors = torch.randn(5, SMALL.embedding, generator=torch.Generator().manual_seed(0))
    return TextBank(nn.functional.normalize(vectors, dim=1), np.array([0, 1, 1, 2, 3]), 4)


def test_pixel_scores_are_maskformers_sum_over_masks() -> None:
    """In float64 and by a loop, from the reference's queries; its masks were compared above."""
    scores = segmenter().class_scores(features(), bank()).numpy()

    network, kept = segmenter().image_network().network, features().tensors
    embeddings = network.embed_masks(torch.from_numpy(reference()["queries"])).numpy().astype(np.float64)
    cosines = embeddings @ bank().vectors.numpy().T
    by_class = np.stack([cosines[:, bank().owner == index].max(1) for index in range(4)], 1) / 0.07
    shares = np.exp(by_class) / np.exp(by_class).sum(1, keepdims=True)
    fine = nn.functional.interpolate(kept["masks"], size=SIZE, mode="bilinear")[0].numpy().astype(np.float64)
    expected = sum(share[:, None, None] / (1 + np.exp(-mask)) for share, mask in zip(shares, fine, strict=True))
    np.testing.assert_allclose(scores, np.log(np.maximum(expected, MIN_SCORE)), atol=1e-4)
