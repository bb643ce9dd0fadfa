"""The MaskFormer head, matching, losses and gradients against the reference."""

import numpy as np
import pytest

from tests.model.methods.s_seg import golden

# Absolute and relative tolerances of the fixtures' README; magnitudes above 5 have 1e-4 of them in addition.
LOSS = (1e-5, 0.0)
EXACT = (0.0, 0.0)
TOLERANCES = {
    "mask_features": (2e-5, 0.0),
    "pred_masks": (2e-4, 1e-4),
    "aux0_masks": (2e-4, 1e-4),
    "queries": (3e-5, 0.0),
    "queries_first": (3e-5, 0.0),
    "match_query": EXACT,
    "match_target": EXACT,
    **{f"train_loss_{kind}{layer}": LOSS for kind in ("mask", "dice") for layer in ("", "_0", "_1", "_2", "_3", "_4")},
    "train_total": (0.0, 1e-5),
    "train_grad_query_embed": (1e-5, 1e-4),
    "train_grad_mask_features_bias": (1e-5, 1e-4),
    "train_grad_layer4": (1e-5, 1e-4),
    "plain_cost": (1e-5, 1e-5),
    "plain_query": EXACT,
    "plain_target": EXACT,
    "plain_focal": LOSS,
    "plain_dice": LOSS,
}


def test_every_array_of_the_fixture_is_compared() -> None:
    assert set(golden.reference()) == set(golden.ours()) == set(TOLERANCES)


@pytest.mark.parametrize("name", TOLERANCES)
def test_an_array_equals_the_reference(name: str) -> None:
    absolute, relative = TOLERANCES[name]

    found = golden.ours()[name].detach().numpy()

    assert found.shape == golden.reference()[name].shape
    np.testing.assert_allclose(found, golden.reference()[name], atol=absolute, rtol=relative)
