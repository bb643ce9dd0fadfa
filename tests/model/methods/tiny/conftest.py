"""Features of a photograph of a cup, and the maps that prompts about it share."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.methods.tiny.prompt_head import PromptHead, SharedMaps
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, load_tensors
from tests.model.methods.tiny.small import HEIGHT, WIDTH


@pytest.fixture(scope="session")
def coffee(tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]) -> Features:
    """Of a cup on a saucer, 400 x 600. Shared: never change its tensors."""
    return tiny.encode(photographs["coffee"])


@pytest.fixture(scope="module")
def head() -> PromptHead:
    tensors = TinyState.from_tensors(read_weights(BUNDLED, None)).prompts
    return load_tensors(PromptHead.for_weights(tensors), tensors, BUNDLED)


@pytest.fixture(scope="module")
def shared(head: PromptHead, tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]) -> SharedMaps:
    """Of a cup on a saucer, small."""
    plan = tiny.plan(photographs["coffee"], InferenceOptions(max_side=WIDTH))
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    assert plan.bucket == (HEIGHT, WIDTH)
    maps: SharedMaps = head.shared(features.tensors["pixels"][None].float(), tiny.guide(features)[None])
    return maps
