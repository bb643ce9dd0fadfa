"""The fixture `maskformer.npz` and the values that this code computes from its inputs."""

import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.methods.s_seg.decoder import MaskHead
from lexiseg_train.training.losses import (
    MaskLosses,
    Pairs,
    assign,
    matched_mask_losses,
    matching_costs,
    mean_over_targets,
)
from lexiseg_train.training.recipe import MaskLossSettings
from tests.golden import golden_inputs, golden_weights, weights
from tests.golden.weights import META, SEED
from tests.once import kept

reference = partial(weights.reference, "maskformer")  # every array of the fixture
PREFIX = "sem_seg_head."
SIZE = (160, 192)
CHANNELS = (96, 192, 384, 768)
SETTINGS = MaskLossSettings()


class Run(NamedTuple):
    """One pass with its losses and gradients."""

    head: MaskHead
    mask_features: Tensor  # [1, 256, 40, 48]
    queries: Tensor  # [6, 1, 64, 256]
    masks: Tensor  # [6, 1, 64, 40, 48]
    losses: MaskLosses  # [layers] each
    total: Tensor
    pairs: Pairs  # of the last layer


@kept
def state() -> dict[str, Tensor]:
    """Weights in the names of MaskFormer's checkpoints. Shared: never write into them."""
    weights: dict[str, Tensor] = golden_weights.build(golden_weights.maskformer_head(), SEED)
    assert golden_weights.digest(weights) == META["maskformer"]["digest"]
    return weights


def head() -> MaskHead:
    """The head with the fixture's weights, every one of them used."""
    made = MaskHead(CHANNELS, n_queries=64, depth=6, dropout=0.1)
    made.load_state_dict({name.removeprefix(PREFIX): weight for name, weight in state().items()})
    return made.eval()


def features() -> list[Tensor]:
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


@kept
def run() -> Run:
    """Shared: never change it."""
    # oneDNN sums in another order on every kind of processor: of the gradient's norm 2.4e-4 on one without AVX-512,
    # where torch's own kernels are 3e-5 from the reference.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about a flag for other devices
        with torch.backends.mkldnn.flags(enabled=False):
            module = head()
            queries, mask_features = module(features())
            masks = module.masks(queries, mask_features)
            losses = matched_mask_losses(masks, targets(), SETTINGS)
            total = mean_over_targets(losses.weighted(SETTINGS), losses.targets).sum()
            total.backward()  # type: ignore[no-untyped-call]
    return Run(
        module, mask_features, queries, masks, losses, total, assign(matching_costs(masks[-1], targets(), SETTINGS))
    )


@kept
def plain() -> tuple[Tensor, Tensor]:
    """Logits [1, 10, 40, 40] and masks [1, 6, 160, 160] without any network."""
    logits = torch.from_numpy(2 * golden_inputs.normal(SEED, "mf/plain_logits", (1, 10, 40, 40)))
    masks = torch.from_numpy(golden_inputs.blob_masks(SEED, "mf/plain_masks", 6, 160, 160))[None].float()
    return logits, masks


@kept
def ours() -> dict[str, Tensor]:
    """What this code gives for every array of the fixture, by its name."""
    done = run()
    arrays = {
        "mask_features": done.mask_features[0, ::8, ::2, ::2],
        "pred_masks": done.masks[-1, 0, ::4, ::2, ::2],
        "aux0_masks": done.masks[0, 0, ::8, ::3, ::3],
        "queries": done.queries[-1, 0],
        "queries_first": done.queries[0, 0, ::4],
        "match_query": done.pairs.prediction,
        "match_target": done.pairs.target,
        "train_total": done.total,
        "train_grad_query_embed": gradient(done.head.predictor.query_embed.weight)[::4, ::8],
        "train_grad_mask_features_bias": gradient(done.head.pixel_decoder.mask_features.bias),
        "train_grad_layer4": gradient(done.head.pixel_decoder.get_parameter("layer_4.weight")).norm(),
    }
    sums = done.losses
    for layer, (focal, dice) in enumerate(zip(sums.focal / sums.targets, sums.dice / sums.targets, strict=True)):
        suffix = "" if layer == len(done.masks) - 1 else f"_{layer}"
        arrays |= {f"train_loss_mask{suffix}": focal, f"train_loss_dice{suffix}": dice}

    logits, masks = plain()
    costs = matching_costs(logits, masks, SETTINGS)
    alone = matched_mask_losses(logits[None], masks, SETTINGS)
    pairs = assign(costs)
    return arrays | {
        "plain_cost": costs[0], "plain_query": pairs.prediction, "plain_target": pairs.target,
        "plain_focal": alone.focal[0] / alone.targets, "plain_dice": alone.dice[0] / alone.targets,
    }  # fmt: skip


def gradient(weight: Tensor | None) -> Tensor:
    assert weight is not None
    assert weight.grad is not None
    return weight.grad
