"""The criterion and the alignment loss against the authors' own, gradients included."""

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.settings import Compatibility
from lexiseg_train.methods.unpair_seg import align_trainer
from lexiseg_train.methods.unpair_seg.masks_trainer import (
    FORBIDDEN,
    Matches,
    PromptLosses,
    match_paired,
    match_points,
    point_costs,
    prompt_losses,
)
from lexiseg_train.methods.unpair_seg.trainings import AlignmentSettings, PointSettings
from tests.golden import golden_inputs
from tests.golden.weights import SEED
from tests.model.methods.unpair_seg import golden
from tests.model.methods.unpair_seg.golden import assert_close

FEW = PointSettings(points=2000)
ON_A_GRID = (2, 16, 4, 64, 64)
PAIRED = (2, 3, 1, 64, 64)


class Case(NamedTuple):
    """What a case of the reference was computed from; gradients go to `masks` and `quality`."""

    masks: Tensor
    quality: Tensor  # 0..1
    matches: Matches
    losses: list[PromptLosses]


def objects() -> list[Tensor]:
    return [golden.blobs("uni/gt0", 6, 256, 256), golden.blobs("uni/gt1", 3, 256, 256)]


def points() -> Tensor:
    return torch.from_numpy(golden_inputs.integers(SEED, "uni/crit_points", (2, 16, 2), 32, 224))


def predicted(tag: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    masks = (3 * golden.normal(f"uni/{tag}/masks", shape)).requires_grad_()
    return masks, golden.uniform(f"uni/{tag}/ious", shape[:3]).requires_grad_()


def case(tag: str, shape: tuple[int, ...], targets: list[Tensor], match: Callable[[Tensor], Matches]) -> Case:
    masks, quality = predicted(tag, shape)
    layers = [Prediction(masks, torch.logit(quality))]
    if tag == "crit":
        aux_masks, aux_quality = predicted("crit_aux", shape)
        layers.append(Prediction(aux_masks, torch.logit(aux_quality)))
    calls = count()
    matches = match(masks)
    losses = prompt_losses(
        layers, targets, matches, lambda wanted: golden.uniform(f"uni/{tag}/{next(calls)}", wanted), FEW
    )
    return Case(masks, quality, matches, losses)


def assert_matched(tag: str, matches: Matches) -> None:
    for image in (0, 1):
        mine = matches.image == image
        pairs = torch.stack([matches.prediction[mine], matches.target[mine]])
        np.testing.assert_array_equal(pairs.numpy(), golden.reference()[f"{tag}_match{image}"])
        assert_close(1 - matches.dice[mine], f"{tag}_match{image}_dice_cost", golden.LOSSES)


def assert_losses(tag: str, case: Case) -> None:
    for index, losses in enumerate(case.losses):
        suffix = f"_{index - 1}" if index else ""
        for name, loss in zip(("mask", "dice", "iou"), losses, strict=True):
            assert_close(loss, f"{tag}_loss_{name}{suffix}", golden.LOSSES)
    total = torch.stack([losses.weighted for losses in case.losses]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert_close(total, f"{tag}_total", golden.LOSSES)
    assert case.quality.grad is not None
    assert case.masks.grad is not None
    assert_close(case.quality.grad, f"{tag}_grad_ious", golden.LOSSES)
    assert_close(case.masks.grad.norm(), f"{tag}_grad_masks_norm", golden.LOSSES)


def test_a_grid_is_matched_and_punished_as_released() -> None:
    found = case("crit", ON_A_GRID, objects(), lambda masks: match_points(masks, objects(), points(), "released"))

    assert_matched("crit", found.matches)
    assert_losses("crit", found)


def test_costs_are_the_released_ones_with_the_forbidden_added_in_float32() -> None:
    masks = predicted("crit", ON_A_GRID)[0].detach()

    for image, targets in enumerate(objects()):
        x, y = points()[image].unbind(-1)
        allowed = (targets[:, y, x].T > 0)[:, None].expand(-1, 4, -1).numpy()
        costs = point_costs(masks[image], targets)[0]
        hindered = (costs + FORBIDDEN * torch.from_numpy(~allowed).float()).numpy()

        expected = golden.reference()[f"crit_cost{image}"]
        np.testing.assert_allclose(hindered[allowed], expected[allowed], atol=golden.LOSSES)
        # Next to 1e6, float32 goes in steps of 1/16.
        np.testing.assert_allclose(hindered[~allowed], expected[~allowed], rtol=0, atol=1 / 16)


@pytest.mark.parametrize("compatibility", ["none", "released"])
def test_with_one_object_an_image_both_rules_give_the_reference(compatibility: Compatibility) -> None:
    first = [each[:1] for each in objects()]

    found = case("crit_single", ON_A_GRID, first, lambda masks: match_points(masks, first, points(), compatibility))

    assert_matched("crit_single", found.matches)
    assert_losses("crit_single", found)


def test_boxes_are_punished_as_in_the_reference() -> None:
    of_boxes = [objects()[0][:3], objects()[1]]

    found = case("crit_box", PAIRED, of_boxes, lambda masks: match_paired(masks, of_boxes))

    assert_losses("crit_box", found)


def vectors(kind: str, counts: tuple[int, ...]) -> list[Tensor]:
    return [
        torch.from_numpy(golden_inputs.unit_vectors(SEED, f"uni/align/{kind}{image}", n, 32))
        for image, n in enumerate(counts)
    ]


def test_regions_find_their_entities_and_are_drawn_to_them_as_in_the_reference() -> None:
    share = align_trainer.adapter_share(55_000, 110_000, AlignmentSettings())
    texts = vectors("text", (4, 5))
    views = zip(vectors("clip", (6, 4)), vectors("target", (6, 4)), texts, strict=True)

    pairs = [
        align_trainer.match_entities(
            align_trainer.entity_probabilities([align_trainer.mixed_embedding(clip, target, share)], entities, 20.0)
        )
        for clip, target, entities in views
    ]

    assert share == pytest.approx(0.25, abs=1e-5)
    assert_close(align_trainer.alignment_loss(vectors("adapter", (6, 4)), texts, pairs), "align_loss", golden.LOSSES)


@pytest.mark.parametrize(("step", "share"), [(0, 0.05), (4, 0.25), (9, 0.5)])
def test_the_adapters_share_in_matching_grows_from_the_first_step_to_the_last(step: int, share: float) -> None:
    assert align_trainer.adapter_share(step, 10, AlignmentSettings()) == pytest.approx(share)


def test_an_entitys_probability_is_the_mean_of_the_softmaxes_at_each_size() -> None:
    sizes, [texts] = [each * 3 for size in ("clip", "target") for each in vectors(size, (6,))], vectors("text", (4,))

    found = align_trainer.entity_probabilities(sizes, 2 * texts, 20.0)

    units = [size.double().numpy() / np.linalg.norm(size, axis=1, keepdims=True) for size in sizes]
    raised = [np.exp(20 * unit @ texts.double().numpy().T) for unit in units]
    expected = sum(each / each.sum(1, keepdims=True) for each in raised) / 2
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
