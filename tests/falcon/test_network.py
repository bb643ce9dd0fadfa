"""The network is the released one: answers of TII's package on random weights (`benchmarks released --store`)."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.released import falcon
from benchmarks.released.differences import difference, picture
from lexiseg_falcon.decoding import find
from lexiseg_falcon.network import ControlTokens
from lexiseg_falcon.segmenter import tokens_of


@torch.inference_mode()
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixel_features_masks_and_scores_equal_the_released_codes(seed: int) -> None:
    with np.load(falcon.ARRAYS) as arrays:
        theirs = falcon.Output(*(torch.from_numpy(arrays[f"{name}_{seed}"]) for name in falcon.Output._fields))
    model = falcon.segmenter(seed, len(theirs.tokens))

    tensors = model.encode(picture(seed, falcon.SIZES[seed % 2])).tensors
    prompt = tokens_of(torch.from_numpy(model.encode_texts([falcon.PHRASE])[0]))
    image = tensors["keys"], tensors["values"]
    ours = find(model.network, model.settings, image, prompt, lambda: None, torch.float32)

    assert len(theirs.masks) >= 2
    masks = torch.einsum("dhw,nd->nhw", tensors["pixels"], ours.queries[: falcon.N_STORED])
    step = slice(None, None, falcon.STRIDE)
    pairs = [
        (ours.queries, theirs.queries),
        (masks, theirs.masks),
        (tensors["pixels"][step, step, step], theirs.features),
        (ours.scores, scores_of(theirs, model.settings.tokens)),
    ]
    assert difference(pairs) <= 1e-4


def scores_of(theirs: falcon.Output, ids: ControlTokens) -> Tensor:
    """The probabilities of each object's tokens, times those of the tokens before the first."""
    chance, presence, scores = 1.0, None, []
    for token, probability in zip(theirs.tokens.tolist(), theirs.chances.tolist(), strict=True):
        if token in (ids.coord, ids.seg) and presence is None:
            presence, chance = chance, 1.0
        chance *= probability
        if token == ids.seg:
            scores.append((presence or 1.0) * chance)
            chance = 1.0
    return torch.tensor(scores)
