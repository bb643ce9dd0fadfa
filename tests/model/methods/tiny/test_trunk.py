"""The trunk against timm's EfficientNet-Lite2, and with sides that the stride divides."""

import torch

from benchmarks.released import trunk
from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk


def test_the_trunk_equals_timms_network() -> None:
    assert trunk.compare(0, (96, 160)) <= 1e-5


@torch.inference_mode()
def test_each_level_has_the_size_of_its_stride() -> None:
    pyramid, head = Trunk().eval()(torch.zeros(2, 3, 96, 160))

    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (width, 96 // stride, 160 // stride) for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]
    assert head.shape == (2, HEAD, 3, 5)
