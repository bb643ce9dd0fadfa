"""How an image pass is held to what a CUDA graph can hold, without a GPU.

It runs on torch's `meta` device, which has shapes and no numbers: whatever looks at a number fails, and what comes from
the host is seen to come from another device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lexiseg_model.export.recordable import Watch
from lexiseg_model.features import TileFeatures

META = torch.device("meta")


def assert_recordable(image_pass: Callable[[Tensor], TileFeatures], shape: tuple[int, ...]) -> TileFeatures:
    """A pass over tiles [N, 3, s, t] of what is on the device already; raises NotRecordable where it is none.

    The first pass makes what is kept for a shape. All later ones must read the same tensors: another one was brought.
    """
    there = torch.empty(shape, dtype=torch.uint8, device=META)
    image_pass(there)
    reads: list[tuple[Tensor, ...]] = []
    for _ in range(2):
        with Watch() as watch:
            made = image_pass(there)
        reads.append(watch.reads)
    assert {part.device for part in (*made, *reads[0])} == {META}
    assert set(map(id, reads[0])) == set(map(id, reads[1])), "a pass brings tensors of its own from outside"
    return made
