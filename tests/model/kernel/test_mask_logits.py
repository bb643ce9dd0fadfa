"""Logits of prompts' masks, compiled and by torch: alike but for the last digits."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.methods.tiny.prompt_head import FINE, MID, MaskOutput, SharedMaps
from tests.kernel import both_ways


# Masks of a prompt; rows and columns of the shared maps: what the kernel's loops come out even with, and what not.
@pytest.mark.parametrize(("n_masks", "height", "width"), [(4, 72, 96), (1, 72, 96), (4, 26, 38), (6, 6, 10), (1, 2, 4)])
def test_masks_of_prompts(n_masks: int, height: int, width: int) -> None:
    torch.manual_seed(n_masks * height)
    head = MaskOutput(n_masks).eval()
    maps = torch.randn(3, MID, height // 2, width // 2)
    fine, pixels = torch.randn(1, FINE, height, width), torch.randn(1, 96, height // 2, width // 2)
    shared = SharedMaps(fine, fine, fine, pixels, pixels)

    with torch.inference_mode():
        compiled, plain = both_ways(lambda: head(maps, shared))

    assert compiled.masks.shape == (1, 3, n_masks, height, width)
    torch.testing.assert_close(compiled.masks, plain.masks, rtol=0, atol=1e-5)
    torch.testing.assert_close(compiled.quality, plain.quality, rtol=0, atol=1e-5)


def test_what_learns_is_answered_by_torch() -> None:
    head = MaskOutput(4)
    fine, pixels = torch.randn(1, FINE, 8, 8), torch.randn(1, 96, 4, 4)

    answer = head(torch.randn(2, MID, 4, 4), SharedMaps(fine, fine, fine, pixels, pixels))

    assert answer.masks.requires_grad
