"""The trunk of `tiny`: timm's EfficientNet-Lite2. The rest of the network is this project's own."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.released.differences import difference, picture
from lexiseg_model.methods.tiny.trunk import Trunk, normalised


@torch.inference_mode()
def compare(seed: int, size: tuple[int, int]) -> float:
    """The largest relative difference of the last maps. Sides are multiples of 32."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs: Any = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
        for norm in theirs.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.get_buffer("running_mean").normal_(0, 0.1)
                norm.get_buffer("running_var").uniform_(0.5, 1.5)
    ours = Trunk().eval()
    tensors = [value for name, value in theirs.state_dict().items() if not name.startswith("classifier")]
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    images = normalised(torch.from_numpy(picture(seed, size).transpose(2, 0, 1).copy())[None])
    return difference([(ours(images)[1], theirs.forward_features(images))])
