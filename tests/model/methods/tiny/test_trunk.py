"""The trunk against timm's EfficientNet-Lite2, and with sides that the stride divides."""

from typing import Any

import timm
import torch

from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk, normalised


def same_weights() -> tuple[Trunk, Any]:
    """Both networks with the random tensors of timm's, one by one in order."""
    torch.manual_seed(0)
    reference = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    with torch.no_grad():
        for norm in reference.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.get_buffer("running_mean").normal_(0, 0.1)
                norm.get_buffer("running_var").uniform_(0.5, 1.5)
    tensors = [value for name, value in reference.state_dict().items() if not name.startswith("classifier")]
    trunk = Trunk()
    trunk.load_state_dict(dict(zip(trunk.state_dict(), tensors, strict=True)))
    return trunk.eval(), reference.eval()


def test_the_trunk_equals_timms_network_tensor_by_tensor() -> None:
    trunk, reference = same_weights()
    images = normalised(torch.randint(0, 256, (2, 3, 96, 160), dtype=torch.uint8))

    with torch.no_grad():
        pyramid, head = trunk(images)
        expected = reference.forward_features(images)

    torch.testing.assert_close(head, expected, atol=1e-5, rtol=1e-5)
    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (width, 96 // stride, 160 // stride) for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]
    assert head.shape == (2, HEAD, 3, 5)
