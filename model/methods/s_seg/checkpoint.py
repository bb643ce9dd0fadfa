"""A mask head from a checkpoint in MaskFormer's names; sizes are read off the weights."""

from __future__ import annotations

import re

from torch import Tensor

from model.errors import WeightsError
from model.methods.s_seg.mask_head import MaskHead

HEAD = "sem_seg_head."
CLASS_HEAD = f"{HEAD}predictor.class_embed."  # what MaskFormer has and S-Seg has not
LAYER = re.compile(re.escape(f"{HEAD}predictor.transformer.decoder.layers.") + r"(\d+)\.")


def head_from_maskformer(state: dict[str, Tensor], dropout: float = 0.0) -> MaskHead:
    """The pixel decoder and transformer of a checkpoint; its class head, backbone and criterion are left out.

    Args:
        state: tensors of the whole checkpoint.
        dropout: of the decoder, for training that goes on.

    Raises:
        WeightsError: weights of the head are missing, of odd shapes, or more than it has.
    """
    own = {
        name.removeprefix(HEAD): value
        for name, value in state.items()
        if name.startswith(HEAD) and not name.startswith(CLASS_HEAD)
    }
    try:
        adapters = [own[f"pixel_decoder.adapter_{level}.weight"] for level in (1, 2, 3)]
        coarsest, queries = own["pixel_decoder.layer_4.weight"], own["predictor.query_embed.weight"]
        first = own["predictor.transformer.decoder.layers.0.linear1.weight"]
    except KeyError as error:
        raise WeightsError(f"not a MaskFormer checkpoint: no {HEAD}{error.args[0]}") from None
    head = MaskHead(
        [weight.shape[1] for weight in (*adapters, coarsest)],
        n_queries=len(queries),
        depth=1 + max(int(found[1]) for found in map(LAYER.match, state) if found),
        dropout=dropout,
        width=queries.shape[1],
        hidden=len(first),
    )
    try:
        head.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(f"not a MaskFormer head: {str(error).splitlines()[-1].strip()}") from None
    return head
