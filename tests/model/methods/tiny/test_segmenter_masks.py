"""Prompts, proposals and regions of `tiny`, with the bundled weights on real photographs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.errors import OptionError, TaskError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import RegionVote
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import ClassEntry, Point, Prompt, Refinement, Vocabulary

Photographs = dict[str, NDArray[np.uint8]]
CLASSES = (ClassEntry("sky"), ClassEntry("building"), ClassEntry("tree"))
SKY = Point(320, 30)  # in china.jpg
CUP = (140.0, 20.0, 360.0, 240.0)  # a box around the cup in coffee.png, of its 600 x 400


def features_of(tiny: TinySegmenter, rgb: NDArray[np.uint8]) -> Features:
    plan = tiny.plan(rgb)
    return tiny.assemble(plan, tiny.encode_tiles(plan.tiles))


@pytest.fixture(scope="module")
def china(tiny: TinySegmenter, photographs: Photographs) -> Features:
    return features_of(tiny, photographs["china"])


@pytest.fixture(scope="module")
def coffee(tiny: TinySegmenter, photographs: Photographs) -> Features:
    return features_of(tiny, photographs["coffee"])


def inside(masks: Tensor, features: Features) -> NDArray[np.bool_]:
    """[M, H, W] of the image as sent."""
    sized = F.interpolate(masks[None], size=features.size, mode="bilinear")[0]
    return np.asarray(sized > 0)


# prompts


def test_no_mask_of_a_click_or_a_box_has_a_small_island(tiny: TinySegmenter, coffee: Features) -> None:
    answers = tiny.prompt(coffee, [Prompt((Point(250, 130),)), Prompt((Point(40, 380),)), Prompt(box=CUP)])

    for mask in torch.cat([answer.masks for answer in answers]).numpy() > 0:
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        area = stats[1:, cv2.CC_STAT_AREA]
        assert area.min() >= tiny.settings.crumbs.island * area.max()


def test_a_click_on_the_sky_finds_the_sky(tiny: TinySegmenter, china: Features) -> None:
    [answer] = tiny.prompt(china, [Prompt((SKY,))])

    best = inside(answer.masks, china)[0]
    assert best[:60].mean() > 0.8
    assert best[300:].mean() < 0.2


def test_a_box_holds_its_mask_and_the_mask_fills_it(tiny: TinySegmenter, coffee: Features) -> None:
    [answer] = tiny.prompt(coffee, [Prompt(box=CUP)])

    [mask] = inside(answer.masks, coffee)
    x0, y0, x1, y1 = map(int, CUP)
    assert mask[y0:y1, x0:x1].mean() > 0.4
    assert mask[y0:y1, x0:x1].sum() > 0.9 * mask.sum()


def test_the_clicked_pixel_is_in_the_best_answer(tiny: TinySegmenter, china: Features, coffee: Features) -> None:
    for features, point in ((china, SKY), (china, Point(200, 350)), (coffee, Point(240, 120))):
        [answer] = tiny.prompt(features, [Prompt((point,))])
        assert inside(answer.masks, features)[0, int(point.y), int(point.x)]


def test_coordinates_are_those_of_the_image_as_sent(tiny: TinySegmenter, photographs: Photographs) -> None:
    large = cv2.resize(photographs["coffee"], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    once, twice = features_of(tiny, photographs["coffee"]), features_of(tiny, large.astype(np.uint8))

    [answer] = tiny.prompt(once, [Prompt(box=CUP)])
    [same] = tiny.prompt(twice, [Prompt(box=tuple(2 * side for side in CUP))])  # type: ignore[arg-type]

    ours, theirs = answer.masks > 0, same.masks > 0
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


def test_a_negative_point_takes_something_away(tiny: TinySegmenter, coffee: Features) -> None:
    whole, saucer = (120.0, 20.0, 480.0, 395.0), Point(400, 330, positive=False)

    [before] = tiny.prompt(coffee, [Prompt(box=whole)])
    [after] = tiny.prompt(coffee, [Prompt((saucer,), whole)])

    assert inside(after.masks, coffee)[0].sum() < inside(before.masks, coffee)[0].sum()


def test_the_second_prompt_about_an_image_keeps_nothing_more(tiny: TinySegmenter, photographs: Photographs) -> None:
    features = features_of(tiny, photographs["coffee"])
    before = features.nbytes

    tiny.prompt(features, [Prompt(box=CUP)])
    between = features.nbytes
    tiny.prompt(features, [Prompt((Point(10, 10),))])

    assert before < between == features.nbytes


# proposals


def test_a_photograph_has_proposals_with_what_they_show(tiny: TinySegmenter, china: Features) -> None:
    found = tiny.propose(china)

    assert 2 <= len(found.masks) < 400
    assert found.embeddings.shape == (len(found.masks), EMBEDDING)
    assert found.quality.tolist() == sorted(found.quality.tolist(), reverse=True)


# regions


def test_regions_are_the_proposals_and_vote_by_quality_and_alikeness(tiny: TinySegmenter, china: Features) -> None:
    proposals = tiny.propose(china)

    regions = tiny.regions(china)

    assert regions.share.shape == proposals.masks.shape
    assert ((regions.share >= 0) & (regions.share <= 1)).all()
    most = RegionVote().weight * proposals.quality
    assert ((regions.weight > 0) & (regions.weight < most)).all()


def test_a_vote_of_regions_changes_some_pixels_and_keeps_the_rest(tiny: TinySegmenter, china: Features) -> None:
    asked = Vocabulary(CLASSES)

    def labels(refine: Refinement) -> NDArray[np.unsignedinteger]:
        return segment("semantic", tiny, china, asked, Options(refine=refine)).label_map

    plain, voted = labels("none"), labels("regions")

    assert 0 < (plain != voted).mean() < 0.2


def test_a_region_shows_what_its_pixels_show_on_average(tiny: TinySegmenter, china: Features) -> None:
    bank = tiny.text_bank(CLASSES, tiny.encode_texts(tiny.texts(CLASSES)))
    scores = tiny.class_scores(china, bank)
    masks = torch.full((2, *scores.shape[1:]), -1.0)
    masks[0, :10] = 1
    masks[1, 40:60, 20:70] = 1

    found = tiny.region_scores(china, tiny.embed_masks(china, masks), bank)

    expected = torch.stack([scores[:, mask > 0].mean(1) for mask in masks], 1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert found[:, 0].argmax() == 0  # sky


def test_masks_of_another_resolution_show_the_same(tiny: TinySegmenter, china: Features) -> None:
    [answer] = tiny.prompt(china, [Prompt((SKY,))])
    large = F.interpolate(answer.masks[None], scale_factor=4, mode="bilinear")[0]

    cosine = F.cosine_similarity(tiny.embed_masks(china, answer.masks), tiny.embed_masks(china, large))

    assert (cosine > 0.99).all()


def test_a_mask_without_pixels_shows_its_likeliest_one(tiny: TinySegmenter, china: Features) -> None:
    pixels = china.tensors["pixels"].float()
    masks = torch.full((1, *pixels.shape[1:]), -5.0)
    masks[0, 3, 7] = -1

    torch.testing.assert_close(tiny.embed_masks(china, masks)[0], pixels[:, 3, 7])


# models of this method without a head


def without_head(folder: Path, *tasks: str) -> Path:
    """A model directory whose weights are the network alone, and whose card names `tasks`."""
    folder.mkdir()
    save_file(TinyState.of(load_file(BUNDLED)).network, folder / "tiny.safetensors")
    card = yaml.safe_load((BUNDLED.parent / catalogue.CARD).read_text())
    digest = hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest()
    card |= {"name": folder.name, "tasks": list(tasks), "weights_sha256": digest}
    (folder / catalogue.CARD).write_text(yaml.safe_dump(card))
    return folder


def test_without_a_head_there_are_neither_prompts_nor_proposals(tmp_path: Path, china: Features) -> None:
    segmenter = catalogue.load_folder(without_head(tmp_path / "mine", "semantic"), "cpu")
    fresh = Features(china.size, china.tensors)

    with pytest.raises(TaskError, match="mine has no prompt head"):
        segmenter.prompt(fresh, [Prompt(box=CUP)])
    with pytest.raises(TaskError, match="mine has no prompt head"):
        segmenter.propose(fresh)


def test_without_a_head_there_are_no_regions(tmp_path: Path, china: Features) -> None:
    segmenter = catalogue.load_folder(without_head(tmp_path / "mine", "semantic"), "cpu")

    with pytest.raises(OptionError, match="has no prompt head, and so no regions"):
        segmenter.regions(china)


def test_a_card_cannot_promise_prompts_without_a_head(tmp_path: Path) -> None:
    folder = without_head(tmp_path / "mine", "semantic", "prompt")

    with pytest.raises(WeightsError, match="the card names the task prompt, and the weights hold no prompt head"):
        catalogue.load_folder(folder, "cpu")


def test_settings_of_another_method_are_refused(tmp_path: Path) -> None:
    folder = without_head(tmp_path / "mine", "semantic")
    card = yaml.safe_load((folder / catalogue.CARD).read_text())
    (folder / catalogue.CARD).write_text(yaml.safe_dump(card | {"settings": {"proposals": {"grid": 0}}}))

    with pytest.raises(WeightsError, match=r"not those of tiny: (?s:.*)proposals\.grid"):
        catalogue.load_folder(folder, "cpu")
