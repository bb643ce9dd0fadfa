"""The authors' outputs: predictions between layers, suppression, answers through the interface, CLIP's own tower."""

from functools import partialmethod

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features, Layout, Plan, TileFeatures
from lexiseg_model.masks.nms import OverlapRule, suppress
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.unpair_seg import compatibility
from lexiseg_model.methods.unpair_seg.canvas import Canvas, lay_out
from lexiseg_model.methods.unpair_seg.layers.trunk import PADDING, RegionAdapter
from lexiseg_model.methods.unpair_seg.network import ADAPTER, CLIP, Restored, UnpairSegNetwork, restore
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, settings_of
from lexiseg_model.methods.unpair_seg.settings import Compatibility
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import Point, Prompt
from tests.golden import golden_inputs, golden_weights
from tests.golden.weights import SEED
from tests.model.methods.unpair_seg import golden, small
from tests.model.methods.unpair_seg.golden import assert_close
from tests.once import kept


@kept
def logits() -> Tensor:
    """Forty overlapping masks [40, 96, 128]."""
    blobs = golden.blobs("uni/nms_blobs", 24, 96, 128).numpy()
    blobs = np.concatenate([blobs, np.roll(blobs[:8], 3, 2), blobs[8:16] * np.roll(blobs[8:16], 9, 1)])
    noise = golden_inputs.normal(SEED, "uni/nms_noise", blobs.shape)
    return torch.from_numpy((2 * blobs.astype(np.float32) - 1) * 4 + 0.5 * noise)


@pytest.mark.parametrize("layer", [0, 4])
@torch.inference_mode()
def test_layers_in_between_predict_as_the_reference_s(layer: int) -> None:
    network, features = golden.masks(), golden.features()
    tokens = network.predictor.prompt_encoder.points(golden.prompt("points"), features.masks, golden.SIZE)

    between = network.predictor.every_layer(features, tokens)[layer]

    assert_close(between.masks[0, :, :, ::4, ::4], f"point_aux{layer}_masks", golden.MASKS)
    assert_close(between.quality[0].sigmoid(), f"point_aux{layer}_ious", golden.QUALITY)


def test_masks_suppress_each_other_as_in_the_reference() -> None:
    scores = golden.uniform("uni/nms_scores", (40,))
    np.testing.assert_array_equal(scores.numpy(), golden.reference()["nms_scores"])

    inner = suppress(compatibility.halved(logits()), scores)
    plain = suppress(logits().sigmoid() >= 0.5, scores, OverlapRule(overlap=0.7, inside=None))

    assert inner.tolist() == golden.reference()["nms_keep"].tolist()
    assert plain.tolist() == golden.reference()["nms_keep_plain"].tolist()


CARD = catalogue.read_card(catalogue.bundled()["unpair-seg"])
IMAGE = (300, 400)  # of the grid's case; fills 192 x 256 of the input


@kept
def segmenter(
    mode: Compatibility = "released", stability: float = 0, logit_scale: float | None = None, per_pass: int = 36
) -> UnpairSegSegmenter:
    """The published learned part, behind a small tower of which nothing is asked."""
    other = restore(small.state(), small.ARCHITECTURE)
    network = UnpairSegNetwork(other.network.trunk, golden.masks())
    # The grid and the qualities of the fixture; its demo's filter comes after what it stores.
    chosen = {
        "architecture": small.ARCHITECTURE, "compatibility": mode,
        "proposals": {"grid": 6, "points_per_pass": per_pass},
        "cleaning": {"stability": stability, "specks": 0}, "logit_scale": logit_scale,
    }  # fmt: skip
    size = InputSize(short_side=256, long_side=256, multiple=32)
    card = CARD.model_copy(update={"input": size, "settings": chosen})
    return UnpairSegSegmenter(
        Restored(other.towers, network), settings_of(card), card, "golden", Execution(torch.device("cpu"), "exact")
    )


def features(
    model: UnpairSegSegmenter, size: tuple[int, int], inside: tuple[int, int], dense: Tensor | None = None
) -> Features:
    """What the image pass would have given of an image of a size that fills a part of the input; CLIP saw `dense`."""
    plan = Plan(size, np.zeros((1, 3, *golden.SIZE), np.uint8), Layout(inside, golden.SIZE))
    maps = golden.features()
    return model.assemble(plan, (maps.masks, *maps.levels, torch.zeros(1, 64, 8, 8) if dense is None else dense))


def answers(mode: Compatibility, prompts: list[Prompt]) -> list[PromptMasks]:
    model = segmenter(mode)
    return model.prompt(features(model, golden.SIZE, golden.SIZE), prompts)


def assert_answers(found: list[PromptMasks], quality: str, masks: str) -> None:
    """Against the reference, whose masks are in the order of their heads."""
    expected = torch.from_numpy(golden.reference()[quality])  # [Q, M]
    order = torch.argsort(expected, dim=1, descending=True, stable=True)
    ours = torch.stack([answer.masks for answer in found])[:, :, 1::2, 1::2]
    by_head = torch.empty_like(ours).scatter_(1, order[:, :, None, None].expand_as(ours), ours)

    assert_close(by_head, masks, golden.MASKS)
    qualities = torch.stack([answer.quality for answer in found])
    torch.testing.assert_close(qualities, expected.gather(1, order), atol=golden.QUALITY, rtol=0)


@pytest.mark.parametrize("mode", ["none", "released"])
def test_a_click_is_answered_by_the_references_four_masks(mode: Compatibility) -> None:
    clicks = [Prompt(points=(Point(*point),)) for point in golden.reference()["points"].tolist()]

    assert_answers(answers(mode, clicks), "point_ious", "point_masks")


@pytest.mark.parametrize("mode", ["none", "released"])
def test_a_box_is_answered_by_the_references_mask(mode: Compatibility) -> None:
    boxes = [Prompt(box=tuple(box)) for box in golden.reference()["boxes"].tolist()]

    assert_answers(answers(mode, boxes), "box_ious", "box_masks")


def several() -> list[Prompt]:
    """Prompts of several points each."""
    places, signs = golden.reference()["multi_points"], golden.reference()["multi_sign"]
    return [
        Prompt(points=tuple(Point(x, y, bool(sign > 0)) for (x, y), sign in zip(each.tolist(), on, strict=True)))
        for each, on in zip(places, signs, strict=True)
    ]


def test_several_points_are_misread_where_the_released_code_is_to_be_repeated() -> None:
    released = torch.stack([answer.masks for answer in answers("released", several())])
    sane = torch.stack([answer.masks for answer in answers("none", several())])

    assert_close(released[:, :, 2::4, 2::4], "multi_masks_quirk", golden.MASKS)
    assert (sane - released).abs().max() > 100 * golden.MASKS


@kept
def grid(mode: Compatibility, per_pass: int = 36) -> tuple[UnpairSegSegmenter, Features]:
    model = segmenter(mode, per_pass=per_pass)
    return model, features(model, IMAGE, (192, 256))


@pytest.mark.parametrize("per_pass", [36, 7])
def test_a_grid_proposes_what_the_released_code_does_however_it_is_cut(per_pass: int) -> None:
    model, kept = grid("released", per_pass)

    masks = small.released_masks(model, kept)

    assert_close(masks[:: max(1, len(masks) // 12), 3::6, 3::6], "grid_proposal", golden.UPSAMPLED)
    areas = golden.reference()["grid_proposal_area"]
    np.testing.assert_allclose((masks > 0).flatten(1).sum(1).numpy(), areas, rtol=1e-3)


def test_every_label_is_that_of_the_released_order_of_sums() -> None:
    model = segmenter()
    width = model.network.trunk.channels[-1]
    kept = features(model, IMAGE, (192, 256), golden.normal("uni/region", (1, width, 8, 8)))
    # Random weights see much the same everywhere: classes are what sets the first regions apart.
    seen = model.propose(kept).embeddings
    apart = torch.nn.functional.normalize(seen[:4] - seen.mean(0), dim=1)
    bank = TextBank(apart, np.arange(4), 4)

    labels = winners(model.class_scores(kept, bank), IMAGE).labels

    published = small.published_labels(model, kept, bank)
    assert len(np.unique(published)) > 1
    np.testing.assert_array_equal(labels, published)


def test_the_quality_of_proposals_goes_through_two_sigmoids_only_where_released() -> None:
    released, sane = (model.propose(kept).quality for model, kept in (grid("released"), grid("none")))
    every = torch.from_numpy(golden.reference()["grid_ious_all"])
    expected = every[torch.from_numpy(golden.reference()["grid_keep"]).long()]

    torch.testing.assert_close(released, expected.sigmoid(), atol=golden.QUALITY, rtol=0)
    torch.testing.assert_close(sane[0], expected[0], atol=golden.QUALITY, rtol=0)


def test_the_demos_stability_is_counted_at_the_size_of_the_image() -> None:
    stored = golden.reference()["grid_stability"]
    # A threshold in the widest gap between two of them.
    ordered = np.sort(stored)
    widest = int(np.diff(ordered).argmax())
    least = float(ordered[widest : widest + 2].mean())
    model = segmenter(stability=least)

    found = model.propose(features(model, IMAGE, (192, 256)))

    assert len(found.masks) == int((stored >= least).sum()) < len(stored)


def test_regions_are_named_by_the_references_ensemble() -> None:
    model = segmenter(logit_scale=float(np.exp(4.2)))
    texts = torch.from_numpy(golden_inputs.unit_vectors(SEED, "uni/template_text", 7, 64))
    bank = TextBank(texts, np.array([0, 0, 1, 2, 2, 2, 3]), 4)
    regions: Tensor = golden.normal("uni/region", (1, 5, 64))[0]

    found = model.region_scores(features(model, golden.SIZE, golden.SIZE), regions, bank)

    expected = torch.from_numpy(golden.reference()["ensemble_logits"]).log_softmax(1).T
    torch.testing.assert_close(found, expected, atol=golden.FEATURES, rtol=1e-4)


SEEN = (150, 200)  # fills the upper three quarters of the input


@pytest.fixture(scope="module")
def restored() -> Restored:
    """By way of the importer; let go after these tests."""
    table = golden_weights.openclip_convnext_large_d_320()
    state = golden.official() | golden_weights.build(table, SEED, prefix=CLIP)
    adapter = RegionAdapter(golden.CHANNELS, 256, width=256, blocks=2)  # a new one changes nothing
    with pytest.MonkeyPatch.context() as patch:  # the weights themselves, of which a copy is 1.4 GB
        patch.setattr(nn.Module, "load_state_dict", partialmethod(nn.Module.load_state_dict, assign=True))
        return restore(state | {ADAPTER + name: value for name, value in adapter.state_dict().items()})


@pytest.fixture(scope="module")
def whole(restored: Restored) -> UnpairSegSegmenter:
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
    pixels[golden.SIZE[0] * SEEN[0] // SEEN[1] :] = PADDING
    assert golden_inputs.digest(pixels) == golden.ABOUT["images"]["uni/image"][2]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]


@pytest.fixture(scope="module")
def encoded(whole: UnpairSegSegmenter) -> TileFeatures:
    return whole.encode_tiles(tile())


@pytest.mark.slow
@torch.inference_mode()
def test_the_text_tower_has_exact_gelu_as_the_reference(restored: Restored) -> None:
    tokens = torch.from_numpy(golden.reference()["clip_tokens"]).long()

    rows: Tensor = restored.towers.model.encode_text(tokens)  # type: ignore[operator]  # open_clip is untyped

    assert_close(rows, "clip_text_features", golden.FEATURES)


@pytest.mark.slow
def test_the_interface_gives_the_reference_s_proposals(whole: UnpairSegSegmenter, encoded: TileFeatures) -> None:
    assert lay_out(SEEN, 256, mode="released") == Canvas(golden.SIZE, (192, 256))
    features = whole.assemble(Plan(SEEN, tile(), Layout((192, 256), golden.SIZE)), encoded)

    masks = small.released_masks(whole, features)
    quality = whole.propose(features).quality

    reference = golden.reference()
    assert_close(masks[:, 3::6, 3::6], "e2e_proposal", golden.UPSAMPLED)
    np.testing.assert_allclose((masks > 0).flatten(1).sum(1).numpy(), reference["e2e_proposal_area"], rtol=1e-3)
    kept = torch.from_numpy(reference["e2e_ious_all"])[torch.from_numpy(reference["e2e_keep"]).long()]
    torch.testing.assert_close(quality, kept.sigmoid(), atol=golden.QUALITY, rtol=0)


@pytest.mark.slow
def test_the_interface_names_regions_as_the_reference(whole: UnpairSegSegmenter, encoded: TileFeatures) -> None:
    # Masks over the whole input, which the image fills.
    features = whole.assemble(Plan(golden.SIZE, tile()), encoded)

    found = whole.embed_masks(features, golden.normal("uni/pool_logits", (1, 4, 32, 32))[0])

    assert_close(found, "clip_region_embedding", golden.FEATURES)
