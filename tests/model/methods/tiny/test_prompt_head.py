"""The prompt head with random weights: shapes, independence of prompts, what an image shares."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.prompt_head import MASKS, MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts

HEIGHT, WIDTH = 64, 96  # pixels of the input


@pytest.fixture(scope="module")
def head() -> PromptHead:
    torch.manual_seed(0)
    return PromptHead().eval().requires_grad_(False)


def images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings and colours of made-up images."""
    random = torch.Generator().manual_seed(seed)
    pixels = F.normalize(torch.randn(count, EMBEDDING, HEIGHT // 4, WIDTH // 4, generator=random), dim=1)
    return pixels, torch.randn(count, 3, HEIGHT // 2, WIDTH // 2, generator=random)


@pytest.fixture(scope="module")
def shared(head: PromptHead) -> SharedMaps:
    return head.maps(*images(1))


def boxes(*corners: tuple[float, float, float, float]) -> Prompts:
    n = len(corners)
    return Prompts(torch.zeros(1, n, 1, 2), torch.zeros(1, n, 1), torch.tensor([corners]), torch.ones(1, n))


def points(*places: tuple[float, float]) -> Prompts:
    n = len(places)
    return Prompts(torch.tensor([places])[:, :, None], torch.ones(1, n, 1), torch.zeros(1, n, 4), torch.zeros(1, n))


def assert_same(found: MaskAnswers, expected: MaskAnswers) -> None:
    torch.testing.assert_close(found.masks, expected.masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.quality, expected.quality, atol=1e-4, rtol=1e-4)


def test_a_lone_point_has_four_masks_at_stride_4(head: PromptHead, shared: SharedMaps) -> None:
    answers = head.lone(shared, points((10.0, 10.0), (50.0, 40.0), (90.0, 60.0)))

    assert answers.masks.shape == (1, 3, MASKS, HEIGHT // 4, WIDTH // 4)
    assert answers.quality.shape == (1, 3, MASKS)


def test_a_lone_point_is_answered_as_in_training(head: PromptHead, shared: SharedMaps) -> None:
    places = points((10.0, 10.0), (50.0, 40.0))

    with torch.no_grad():
        answers = head.lone(shared, places)

    assert_same(answers, head.lone(shared, places))


def test_an_answer_does_not_depend_on_the_other_prompts(head: PromptHead, shared: SharedMaps) -> None:
    corners = [(10.0, 10.0, 50.0, 40.0), (0.0, 0.0, 96.0, 64.0), (60.0, 30.0, 70.0, 44.0)]

    together = head.sure(shared, boxes(*corners))

    for index, box in enumerate(corners):
        alone = head.sure(shared, boxes(box))
        assert_same(MaskAnswers(together.masks[:, index : index + 1], together.quality[:, index : index + 1]), alone)


def test_masks_learn_from_every_weight_but_that_of_their_quality(head: PromptHead) -> None:
    torch.manual_seed(1)
    fresh = PromptHead()
    shared = fresh.maps(*images(1))

    answers = fresh.sure(shared, boxes((10.0, 10.0, 50.0, 40.0)))
    answers.masks.sum().backward()  # type: ignore[no-untyped-call]

    untaught = {name for name, weight in fresh.named_parameters() if weight.grad is None}
    assert untaught == {
        name
        for name, _ in fresh.named_parameters()
        if name.startswith("of_lone.") or name.startswith(("of_sure.seen", "of_sure.which", "of_sure.quality"))
    }
