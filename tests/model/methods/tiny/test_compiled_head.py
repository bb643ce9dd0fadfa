"""The prompt head by the kernel and by torch: alike but for the last digits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lexiseg_model.kernel import library, prompts
from lexiseg_model.methods.tiny.compiled_head import answering, as_read
from lexiseg_model.methods.tiny.fast import fused, in_type
from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import MAP_STRIDE, Prompts, lone_maps
from lexiseg_model.methods.tiny.proposals.windows import Windows
from tests.kernel import both_ways, require_kernel


@pytest.fixture(scope="module")
def head() -> PromptHead:
    """Of batch norms that have seen something."""
    torch.manual_seed(0)
    made = PromptHead().eval().requires_grad_(False)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return fused(made)


@pytest.fixture(scope="module")
def compiled(head: PromptHead) -> PromptHead:
    require_kernel()
    if not prompts.fit():
        pytest.skip("no vectors of eight on this processor")
    return answering(copy.deepcopy(head))


def shared_of(head: PromptHead, height: int, width: int) -> SharedMaps:
    """Of an image of so many cells at stride 4."""
    torch.manual_seed(height)
    pixels, guide = (
        F.normalize(torch.randn(1, EMBEDDING, height, width), dim=1),
        torch.randn(1, 3, 2 * height, 2 * width),
    )
    with torch.inference_mode():
        return as_read(head.maps(pixels, guide))


def clicks(n: int, shared: SharedMaps) -> Prompts:
    height, width = (4 * side for side in shared.fine.shape[-2:])
    torch.manual_seed(n)
    points = torch.rand(1, n, 1, 2) * torch.tensor([width, height])
    return Prompts(points, torch.ones(1, n, 1), torch.zeros(1, n, 4), torch.zeros(1, n))


def boxes(n: int, shared: SharedMaps) -> Prompts:
    """Some with a point that is not meant."""
    prompts = clicks(n, shared)
    boxes = torch.cat([prompts.points[:, :, 0] - 9, prompts.points[:, :, 0] + 21], 2)
    return prompts._replace(boxes=boxes, has_box=torch.ones(1, n), signs=-(torch.arange(n) % 2).view(1, n, 1).float())


def assert_alike(some: MaskAnswers, others: MaskAnswers) -> None:
    torch.testing.assert_close(some.masks, others.masks, rtol=0, atol=1e-4)
    torch.testing.assert_close(some.quality, others.quality, rtol=0, atol=1e-4)


# Cells at stride 4: rows that come out even with vectors and tiles, and not; fewer prompts than go together, and more.
@pytest.mark.parametrize(("height", "width", "n"), [(72, 96, 2), (56, 40, 9), (8, 8, 1), (8, 104, 4)])
def test_masks_and_their_quality_stay(head: PromptHead, compiled: PromptHead, height: int, width: int, n: int) -> None:
    shared = shared_of(head, height, width)
    points, marked = clicks(n, shared), boxes(n, shared)

    with torch.inference_mode():
        assert_alike(compiled.lone(shared, points), head.lone(shared, points))
        assert_alike(compiled.sure(shared, marked), head.sure(shared, marked))


def test_an_answer_is_the_same_in_company_and_alone(head: PromptHead, compiled: PromptHead) -> None:
    shared = shared_of(head, 32, 40)
    answers = compiled.compiled
    assert answers is not None
    said = lone_maps(clicks(11, shared), shared.grouping, shared.pixels)

    together = answers.lone(said, shared)
    alone = [answers.lone(of_one, shared) for of_one in torch.split(said, 1, dim=1)]

    assert torch.equal(together.masks, torch.cat([answer.masks for answer in alone], 1))
    assert torch.equal(together.quality, torch.cat([answer.quality for answer in alone], 1))


# Rows of windows that come out even with vectors, and not; those narrower than a vector.
@pytest.mark.parametrize("size", [(8, 16), (16, 20), (12, 8)])
def test_windows_are_answered_as_images_of_their_own(
    head: PromptHead, compiled: PromptHead, size: tuple[int, int]
) -> None:
    shared = shared_of(head, 48, 64)
    corners = np.array([[0, 0], [2, 6], [24 - size[0], 32 - size[1]], [4, 10], [0, 12]])
    where = Windows(corners, size)
    inside = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(size)
    points = MAP_STRIDE * (torch.from_numpy(corners) + inside).flip(1)

    with torch.inference_mode():
        quick, plain = compiled.lone_within(shared, points, where), head.lone_within(shared, points, where)

    assert quick.masks.shape == (1, 5, 4, 2 * size[0], 2 * size[1])
    assert_alike(quick, plain)


def test_a_window_of_the_whole_image_changes_nothing(head: PromptHead, compiled: PromptHead) -> None:
    shared = shared_of(head, 32, 40)
    asked, everywhere = clicks(3, shared), Windows(np.zeros((3, 2), np.int64), (16, 20))

    with torch.inference_mode():
        whole, windows = compiled.lone(shared, asked), compiled.lone_within(shared, asked.points[0, :, 0], everywhere)

    assert torch.equal(windows.masks, whole.masks)
    assert torch.equal(windows.quality, whole.quality)


def test_without_the_kernel_torch_answers(head: PromptHead, compiled: PromptHead) -> None:
    shared = shared_of(head, 16, 24)
    points = clicks(2, shared)

    with torch.inference_mode():
        quick, plain = both_ways(lambda: compiled.lone(shared, points))

    assert library.ready()
    assert not torch.equal(quick.masks, plain.masks)  # in the last digits
    assert_alike(quick, plain)


def test_a_head_in_bfloat16_stays_with_torch(head: PromptHead) -> None:
    assert answering(in_type(copy.deepcopy(head), torch.bfloat16)).compiled is None
