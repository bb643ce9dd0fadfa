"""Words fused with examples in one picture."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.fusion import ABSENT_LOGIT, fuse
from lexiseg_model.segmenter import Support
from tests.golden import fusion as golden

WIDTH, SCALE = 24, 40.0


def units(n: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=1)


def near(centres: Tensor, n: int, seed: int) -> Tensor:
    """n unit vectors around each centre."""
    return F.normalize(centres.repeat_interleave(n, 0) + 0.6 * units(len(centres) * n, seed), dim=1)


@pytest.mark.parametrize("text_owner", [[0, 1, 1, 2, 3, 4], [0, 2, 3, 3, 4, 4]], ids=["all have words", "one has none"])
def test_the_head_equals_the_formulas(text_owner: list[int]) -> None:
    """Some classes with examples, some with synonyms, one that nothing shows."""
    centres = units(6, 1)
    cells = near(centres[:4], 6, 11)
    texts = F.normalize(centres + 0.5 * units(6, 21), dim=1)
    examples, example_owner = near(centres[[0, 1, 1]], 2, 31), [0, 0, 1, 1, 1, 1]

    bank = fuse(cells, Support(texts, torch.tensor(text_owner), examples, torch.tensor(example_owner)), 5, SCALE)

    assert bank.levels is not None
    ours = cells @ bank.vectors.T * SCALE + bank.levels
    theirs = golden.logits(
        cells.double().numpy(), texts.double().numpy(), text_owner, examples.double().numpy(), example_owner, 5
    )
    there = np.isfinite(theirs)
    assert (ours[~torch.from_numpy(there)] < ABSENT_LOGIT / 2).all()
    assert np.abs(ours.numpy() - theirs)[there].max() < 1e-3
