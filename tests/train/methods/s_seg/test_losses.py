"""Which parts of S-Seg each of its losses trains."""

import torch

from lexiseg_model.clip.text import tokenize
from lexiseg_train.methods.s_seg.trainer import Inputs, PseudoMasks, SSegLosses
from lexiseg_train.methods.s_seg.trainings import LossSettings
from lexiseg_train.training.run import total
from tests.model.methods.s_seg.small import small_network


def parts_trained(settings: LossSettings) -> set[str]:
    """The parts of the network that have a gradient, by images [4, 3, 64, 64] of a square each and their captions."""
    images, masks = torch.zeros(4, 3, 64, 64), torch.zeros(4, 2, 16, 16)
    for index in range(4):
        top, left = 16 * (index // 2), 16 * (index % 2)
        masks[index, 0, top // 4 : top // 4 + 8, left // 4 : left // 4 + 8] = 1
        images[index, index % 3, top : top + 32, left : left + 32] = 2.0
    masks[:, 1] = 1 - masks[:, 0]
    present = torch.ones(4, 2, dtype=torch.bool)
    criterion = SSegLosses(small_network(), settings)
    tokens = tokenize([f"a {colour} square" for colour in ("red", "green", "blue", "small")])
    rows = criterion.rows(Inputs(images, tokens, PseudoMasks(masks, present)))
    total(criterion.of_rows(rows)).backward()  # type: ignore[no-untyped-call]
    moved = [
        name for name, weight in criterion.network.named_parameters() if weight.grad is not None and weight.grad.any()
    ]
    return {".".join(name.split(".")[: 3 if name.startswith("sem_seg_head.predictor") else 2]) for name in moved}


def test_the_caption_loss_trains_queries_and_backbone_but_not_the_mask_head() -> None:
    moved = parts_trained(LossSettings(masks=0))

    assert {"backbone.body", "sem_seg_head.predictor.transformer", "text.transformer", "contrast.log_scale"} <= moved
    assert not moved & {"sem_seg_head.predictor.mask_embed", "sem_seg_head.pixel_decoder"}


def test_the_mask_loss_trains_queries_and_backbone_but_not_the_text_tower() -> None:
    moved = parts_trained(LossSettings(contrast=0))

    assert {"backbone.body", "sem_seg_head.predictor.transformer", "sem_seg_head.predictor.mask_embed"} <= moved
    assert "sem_seg_head.pixel_decoder" in moved
    assert not [name for name in moved if name.startswith(("text", "image_projector", "contrast"))]
