from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lexiseg_model.methods.unpair_seg.training.alignment import (
    AlignmentSettings,
    adapter_share,
    match_entities,
    mixed_embedding,
)

PROBABILITIES = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.3, 0.6], [0.4, 0.3, 0.3]])


def test_regions_and_entities_are_matched_one_to_one_the_surest_first() -> None:
    pairs = match_entities(PROBABILITIES)

    assert list(zip(pairs.region.tolist(), pairs.entity.tolist(), strict=True)) == [(0, 0), (2, 2), (3, 1)]
    torch.testing.assert_close(pairs.probability, torch.tensor([0.9, 0.6, 0.3]))


def test_matching_starts_from_clip_and_ends_half_way_to_the_adapter() -> None:
    clip, adapted = F.normalize(torch.randn(3, 8), dim=1), F.normalize(torch.randn(3, 8), dim=1)

    assert adapter_share(0, 100) == pytest.approx(0.005)
    assert adapter_share(99, 100) == 0.5
    assert adapter_share(49, 100, AlignmentSettings(adapter_share=1.0)) == 0.5
    torch.testing.assert_close(mixed_embedding(clip, adapted, 0.0), clip)
    torch.testing.assert_close(mixed_embedding(clip, adapted, 0.5), F.normalize(clip + adapted, dim=1))
