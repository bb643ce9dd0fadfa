"""ProxyCLIP's attention: per image, on any shape, and with nothing to tell patches apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.clip.vision import Tokens, last_block, tokens_before_last_block
from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.dense_clip.proxyclip import proxy_attention, proxy_map
from tests.model.clip import small


def proxies(count: int, height: int = 6, width: int = 10) -> Tensor:
    """Maps that are alike in different degrees: the second image's patches have much in common."""
    noise = torch.randn(count, 8, height, width, generator=torch.Generator().manual_seed(2))
    return noise + torch.arange(count).view(-1, 1, 1, 1)


def test_attention_is_the_published_rule() -> None:
    proxy = proxies(1)[0]
    units = proxy.flatten(1) / proxy.flatten(1).norm(dim=0)
    similarity = units.T @ units
    weights = 3 * (similarity - 1.2 * similarity.mean())
    weights[weights < 0] = -torch.inf

    torch.testing.assert_close(proxy_attention(proxy), weights.softmax(1))


@torch.inference_mode()
def test_the_mean_similarity_is_each_image_s_own() -> None:
    visual = small.visual()
    tokens, grid = tokens_before_last_block(visual, small.images(2, 24, 40), "size")
    together = proxy_map(visual, Tokens(tokens, grid), proxies(2))

    for index in range(2):
        one = slice(index, index + 1)
        alone = proxy_map(visual, Tokens(tokens[one], grid), proxies(2)[one])
        small.assert_alike(together[one], alone)


@torch.inference_mode()
def test_a_picture_of_one_colour_keeps_every_patch_s_own_value() -> None:
    visual = small.visual()
    tokens, grid = tokens_before_last_block(visual, small.images(1, 24, 40), "size")
    flat = torch.ones(1, 8, *grid)
    block = last_block(visual)
    values = block.ln_1(tokens[:, 1:]) @ block.attn.in_proj_weight[-32:].T + block.attn.in_proj_bias[-32:]
    expected = visual.ln_post(block.attn.out_proj(values)) @ visual.proj

    found = proxy_map(visual, Tokens(tokens, grid), flat)

    assert torch.equal(proxy_attention(flat[0]), torch.eye(15))
    small.assert_alike(found.flatten(2).transpose(1, 2), expected)


@torch.inference_mode()
def test_patches_stay_where_they_are_on_a_wide_image() -> None:
    visual = small.visual()
    images = small.images(1, 24, 40)
    tokens, grid = tokens_before_last_block(visual, images, "size")
    # Every patch alike to itself alone, on a grid twice as fine.
    own = torch.eye(60).view(1, 60, 6, 10)
    changed = tokens.clone()
    changed[:, 1 + 2 * 5 + 4] = torch.arange(32.0)  # the last patch of the last row

    difference = proxy_map(visual, Tokens(changed, grid), own) - proxy_map(visual, Tokens(tokens, grid), own)

    moved = difference.abs().amax(1)[0] > 1e-6
    assert moved[3:, 7:].any()
    assert not moved[:3].any()
    assert not moved[:, :7].any()


@torch.inference_mode()
def test_one_proxy_map_is_wanted_for_each_image() -> None:
    visual = small.visual()
    tokens = tokens_before_last_block(visual, small.images(2), "size")

    with pytest.raises(ShapeError, match=r"\[2, C, h, w\], got \[1, 8, 6, 10\]"):
        proxy_map(visual, tokens, proxies(1))
