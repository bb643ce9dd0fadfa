"""The network is the released one: the same numbers on random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_falcon.decoding import find
from lexiseg_falcon.segmenter import tokens_of
from lexiseg_falcon.settings import ControlTokens
from tests.falcon import reference, small

SEEDS = (0, 1, 2)
SIZES = {0: (96, 64), 1: (48, 112), 2: (128, 128)}  # pixels, of each seed
STEPS = 24
NEAR = 0.2  # so that centres are often repetitions
PHRASE = "red car left of the bus"


class Case:
    """What the released code says of a picture and a phrase, and what ours does."""

    def __init__(self, seed: int) -> None:
        self.bos = small.has_bos(seed)
        self.model = small.segmenter(seed=seed)
        self.settings = self.model.settings.model_copy(update={"max_tokens": STEPS, "repeat_distance": NEAR})
        self.state = small.drawn(seed)
        self.rgb = np.random.default_rng(seed).integers(0, 256, (1, 3, *SIZES[seed]), dtype=np.uint8)
        self.ids = self.settings.tokens

    def theirs(self) -> reference.Output:
        text = f"Segment these expressions in the image:<|start_of_query|>{PHRASE}<|REF_SEG|>"
        prompt = small.tokenizer(self.bos).encode(text).ids
        pixels = torch.from_numpy(self.rgb[0]).float() / 255 * 2 - 1
        around = prompt[: self.bos], prompt[self.bos :]
        return reference.generate(self.state, small.CONFIG, self.ids, pixels, around, STEPS, NEAR)


@pytest.fixture(params=SEEDS)
def case(request: pytest.FixtureRequest) -> Any:
    return Case(request.param)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-4 * max(1.0, float(theirs.abs().max()))


@torch.inference_mode()
def test_pixel_features_masks_and_scores_equal_the_released_codes(case: Case) -> None:
    theirs = case.theirs()

    keys, values, features = (part[0] for part in case.model.encode_tiles(case.rgb))
    prompt = tokens_of(torch.from_numpy(case.model.encode_texts([PHRASE])[0]))
    ours = find(case.model.network, case.settings, (keys, values), prompt, lambda: None, torch.float32)

    close(features, theirs.features)
    assert len(theirs.masks) >= 2
    close(torch.einsum("dhw,nd->nhw", features, ours.queries), theirs.masks)
    close(ours.scores, torch.tensor(scores_of(theirs, case.ids)))


def scores_of(theirs: reference.Output, ids: ControlTokens) -> list[float]:
    """The probabilities of each object's tokens, times those of the tokens before the first."""
    chance, presence, scores = 1.0, None, []
    for token, logits in zip(theirs.tokens, theirs.logits, strict=True):
        if token in (ids.coord, ids.seg) and presence is None:
            presence, chance = chance, 1.0
        chance *= float(logits.softmax(0)[token])
        if token == ids.seg:
            scores.append((presence or 1.0) * chance)
            chance = 1.0
    return scores
