"""A mask head from MaskFormer's names: sizes read off the weights, foreign files refused."""

from __future__ import annotations

import pytest
import torch

from model.errors import WeightsError
from model.methods.s_seg.checkpoint import head_from_maskformer
from model.methods.s_seg.mask_head import MaskHead
from tests.model.methods.s_seg import golden


def test_every_weight_arrives_and_the_class_head_is_left_behind() -> None:
    extra = {
        "sem_seg_head.predictor.class_embed.weight": torch.zeros(2, 256),
        "criterion.empty_weight": torch.ones(2),
        "backbone.norm0.weight": torch.ones(96),
    }

    head = head_from_maskformer(golden.state() | extra)

    for name, weight in head.state_dict().items():
        assert torch.equal(weight, golden.state()[golden.PREFIX + name])


def test_sizes_are_those_of_the_weights() -> None:
    made = MaskHead((8, 16, 24, 32), n_queries=5, depth=2, dropout=0.0, width=64, hidden=96)

    restored = head_from_maskformer({golden.PREFIX + name: weight for name, weight in made.state_dict().items()})

    features = [torch.randn(1, channels, 16 >> level, 16 >> level) for level, channels in enumerate((8, 16, 24, 32))]
    torch.testing.assert_close(restored.eval()(features), made.eval()(features))


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(WeightsError, match="adapter_1"):
        head_from_maskformer({"visual.proj": torch.zeros(2, 2)})


def test_a_checkpoint_with_a_hole_is_refused() -> None:
    state = {name: weight for name, weight in golden.state().items() if not name.endswith("layers.3.norm2.bias")}

    with pytest.raises(WeightsError, match=r"layers\.3\.norm2\.bias"):
        head_from_maskformer(state)
