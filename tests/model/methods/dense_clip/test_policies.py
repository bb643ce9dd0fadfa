"""What the attention policies do in the last block, against the formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from lexiseg_model.clip.vision import Tokens, last_block, tokens_before_last_block
from lexiseg_model.methods.dense_clip.policies import (
    AttentionPolicy,
    ClearClip,
    MaskClip,
    Naclip,
    Sclip,
    dense_map,
)
from tests.model.clip import small

POLICIES: list[AttentionPolicy] = [MaskClip(), MaskClip(keeps_rest=True), Sclip(), ClearClip(), Naclip(2.0)]


def entering(visual: VisionTransformer, count: int = 1) -> Tokens:
    return tokens_before_last_block(visual, small.images(count, 24, 40), "size")


def written_out(visual: VisionTransformer, tokens: Tokens, policy: AttentionPolicy) -> Tensor:
    """[N, D, h, w] in the plainest way."""
    block = last_block(visual)
    x = tokens.tokens
    count, length, width = x.shape
    packed = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    q, k, v = (part.view(count, length, 2, width // 2).transpose(1, 2) for part in packed.split(width, -1))
    scale = (width // 2) ** -0.5

    def attend(a: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        mixed: Tensor = ((a @ a.transpose(2, 3)) * scale + bias).softmax(-1) @ v
        return mixed

    match policy:
        case MaskClip():
            mixed = v
        case Sclip():
            mixed = attend(q) + attend(k)
        case ClearClip():
            mixed = attend(q)
        case Naclip():
            height, wide = tokens.grid
            near = torch.zeros(length, length)
            for i in range(height * wide):
                for j in range(height * wide):
                    distance = (i // wide - j // wide) ** 2 + (i % wide - j % wide) ** 2
                    near[1 + i, 1 + j] = math.exp(-distance / (2 * policy.std**2))
            mixed = attend(k, near)
    out = block.attn.out_proj(mixed.transpose(1, 2).reshape(count, length, width))
    if policy.keeps_rest:
        out = x + out
        out = out + block.mlp(block.ln_2(out))
    projected: Tensor = visual.ln_post(out[:, 1:]) @ visual.proj
    return projected.transpose(1, 2).reshape(count, -1, *tokens.grid)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@torch.inference_mode()
def test_a_policy_is_its_formula(policy: AttentionPolicy) -> None:
    visual = small.visual()
    tokens = entering(visual, 2)

    small.assert_alike(dense_map(visual, tokens, policy), written_out(visual, tokens, policy))
