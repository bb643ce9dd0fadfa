"""CLIP's ConvNeXt-L, from a checkpoint of the authors' layout to proposals from pixels; a minute, two gigabytes."""

from functools import partialmethod

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Layout, Plan
from lexiseg_model.methods.unpair_seg.canvas import Canvas, lay_out
from lexiseg_model.methods.unpair_seg.layers.trunk import PADDING, RegionAdapter
from lexiseg_model.methods.unpair_seg.network import ADAPTER, CLIP, Restored, restore
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, settings_of
from lexiseg_model.resources.device import Execution
from tests.golden import golden_inputs, golden_weights
from tests.golden.weights import SEED
from tests.model.methods.unpair_seg import golden, small
from tests.model.methods.unpair_seg.golden import assert_close

pytestmark = pytest.mark.slow

IMAGE = (150, 200)  # fills the upper three quarters of the input


@pytest.fixture(scope="module")
def restored() -> Restored:
    """By way of the importer; let go after these tests."""
    table = golden_weights.openclip_convnext_large_d_320()
    state = golden.official() | golden_weights.build(table, SEED, prefix=CLIP)
    adapter = RegionAdapter(golden.CHANNELS, 256, width=256, blocks=2)  # a new one changes nothing
    with pytest.MonkeyPatch.context() as patch:  # the weights themselves, of which a copy is 1.4 GB
        patch.setattr(nn.Module, "load_state_dict", partialmethod(nn.Module.load_state_dict, assign=True))
        return restore(state | {ADAPTER + name: value for name, value in adapter.state_dict().items()})


@torch.inference_mode()
def test_the_text_tower_has_exact_gelu_as_the_reference(restored: Restored) -> None:
    tokens = torch.from_numpy(golden.reference()["clip_tokens"]).long()

    rows: Tensor = restored.towers.model.encode_text(tokens)  # type: ignore[operator]  # open_clip is untyped

    assert_close(rows, "clip_text_features", golden.FEATURES)


@pytest.fixture(scope="module")
def segmenter(restored: Restored) -> UnpairSegSegmenter:
    """As released, with the grid of the fixture; its demo's filter comes after what it stores."""
    card = catalogue.read_card(catalogue.bundled()["unpair-seg"])
    changes = {"compatibility": "released", "proposals": {"grid": 5}, "cleaning": {"stability": 0, "specks": 0}}
    size = InputSize(short_side=256, long_side=256, multiple=32)
    card = card.model_copy(update={"input": size, "settings": card.settings | changes})
    execution = Execution(torch.device("cpu"), "exact")
    return UnpairSegSegmenter(restored, settings_of(card), card, "golden", execution)


def tile() -> NDArray[np.uint8]:
    """The fixture's image in the input's upper three quarters, grey below: uint8 [1, 3, 256, 256]."""
    pixels = golden_inputs.image(SEED, "uni/image", *golden.SIZE)
    pixels[golden.SIZE[0] * IMAGE[0] // IMAGE[1] :] = PADDING
    assert golden_inputs.digest(pixels) == golden.ABOUT["images"]["uni/image"][2]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]


def test_the_interface_gives_the_reference_s_proposals(segmenter: UnpairSegSegmenter) -> None:
    assert lay_out(IMAGE, 256, mode="released") == Canvas(golden.SIZE, (192, 256))
    features = segmenter.assemble(Plan(IMAGE, tile(), Layout((192, 256), golden.SIZE)), segmenter.encode_tiles(tile()))

    masks = small.released_masks(segmenter, features)
    quality = segmenter.propose(features).quality

    reference = golden.reference()
    assert_close(masks[:, 3::6, 3::6], "e2e_proposal", golden.UPSAMPLED)
    np.testing.assert_allclose((masks > 0).flatten(1).sum(1).numpy(), reference["e2e_proposal_area"], rtol=1e-3)
    kept = torch.from_numpy(reference["e2e_ious_all"])[torch.from_numpy(reference["e2e_keep"]).long()]
    torch.testing.assert_close(quality, kept.sigmoid(), atol=golden.QUALITY, rtol=0)


def test_the_interface_names_regions_as_the_reference(segmenter: UnpairSegSegmenter) -> None:
    # Masks over the whole input, which the image fills.
    features = segmenter.assemble(Plan(golden.SIZE, tile()), segmenter.encode_tiles(tile()))

    found = segmenter.embed_masks(features, golden.normal("uni/pool_logits", (1, 4, 32, 32))[0])

    assert_close(found, "clip_region_embedding", golden.FEATURES)
