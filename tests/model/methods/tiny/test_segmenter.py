"""`tiny` as a Segmenter, with the bundled weights: its network, and what it finds in photographs."""

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

from benchmarks.released import trunk
from lexiseg_model.abilities import prompts_of, proposing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import TaskError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.picture import halved
from lexiseg_model.methods.tiny.prompt_head import PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import CHANNELS, HEADS, POINT_CHANNELS, Prompts, point_maps, prompt_maps
from lexiseg_model.methods.tiny.prompting import MAX_BATCH, predict_masks
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState
from lexiseg_model.tasks import segment
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Segmentation, Vocabulary

Photographs = dict[str, NDArray[np.uint8]]


def blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def test_a_tile_shows_the_whole_image(tiny: TinySegmenter) -> None:
    rgb = blank(600, 900)
    rgb[:300] = 200

    tile = tiny.plan(rgb).tiles[0]

    half = tile.shape[1] // 2
    assert (tile[:, : half - 2] == 200).all()
    assert (tile[:, half + 2 :] == 0).all()


def test_every_ordinary_photograph_has_a_bucket_that_is_warmed_up(tiny: TinySegmenter) -> None:
    sides = [(300, long) for long in range(300, 670, 3)]

    seen = {tiny.plan(blank(*size)).bucket for short, long in sides for size in ((short, long), (long, short))}

    assert seen <= set(tiny.buckets)


def test_presence_of_a_class_falls_beside_one_that_wins_its_pixels(tiny: TinySegmenter, coffee: Features) -> None:
    def presence(*names: str) -> list[float]:
        found: list[float] = tiny.presence(coffee, bank_of(tiny, tuple(map(ClassEntry, names)))).tolist()
        return found

    [alone] = presence("cup")
    beside, twin = presence("cup", "coffee cup")
    assert beside < alone
    assert presence("coffee cup", "cup") == pytest.approx([twin, beside], abs=1e-4)


SKY = Point(320, 30)  # in china.jpg
CUP = (140.0, 20.0, 360.0, 240.0)  # a box around the cup in coffee.png, of its 600 x 400


@pytest.fixture(scope="module")
def china(tiny: TinySegmenter, photographs: Photographs) -> Features:
    return tiny.encode(photographs["china"])


def inside(masks: Tensor, features: Features) -> NDArray[np.bool_]:
    """[M, H, W] of the image as sent."""
    sized = F.interpolate(masks[None], size=features.size, mode="bilinear")[0]
    return np.asarray(sized > 0)


def test_prompt_masks_have_no_small_islands(tiny: TinySegmenter, coffee: Features) -> None:
    answers = tiny.prompt(coffee, [Prompt((Point(250, 130),)), Prompt((Point(40, 380),)), Prompt(box=CUP)])

    for mask in torch.cat([answer.masks for answer in answers]).numpy() > 0:
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        area = stats[1:, cv2.CC_STAT_AREA]
        small = area[area < tiny.settings.crumbs.island * area.max()]
        assert small.sum() <= 0.01 * area.sum()  # islands in holes: both change sides in the same pass


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


def without_head(folder: Path, *tasks: str) -> Path:
    """A model directory whose weights are the network alone, and whose card names `tasks`."""
    folder.mkdir()
    save_file(TinyState.from_tensors(load_file(BUNDLED)).network, folder / "tiny.safetensors")
    card = yaml.safe_load((BUNDLED.parent / catalogue.CARD).read_text())
    digest = hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest()
    card |= {"name": folder.name, "tasks": list(tasks), "weights_sha256": digest}
    (folder / catalogue.CARD).write_text(yaml.safe_dump(card))
    return folder


def test_a_model_without_a_prompt_head_refuses_prompts_and_proposals(tmp_path: Path, china: Features) -> None:
    segmenter = catalogue.load_folder(without_head(tmp_path / "mine", "semantic"), "cpu")
    fresh = Features(china.size, china.tensors)

    with pytest.raises(TaskError, match="mine has no prompt head"):
        prompts_of(segmenter).prompt(fresh, [Prompt(box=CUP)])
    with pytest.raises(TaskError, match="mine has no prompt head"):
        proposing(segmenter).propose(fresh)


def test_a_card_cannot_promise_prompts_without_a_head(tmp_path: Path) -> None:
    folder = without_head(tmp_path / "mine", "semantic", "prompt")

    with pytest.raises(WeightsError, match="the card names the task prompt, but the weights have no prompt head"):
        catalogue.load_folder(folder, "cpu")


def test_more_prompts_than_one_pass_holds_are_all_answered(head: PromptHead, shared: SharedMaps) -> None:
    prompts = [Prompt(box=(index % 40, 0, 50 + index % 40, 60)) for index in range(MAX_BATCH + 3)]

    answers = predict_masks(head, shared, prompts, (1.0, 1.0))

    [last] = predict_masks(head, shared, prompts[-1:], (1.0, 1.0))
    assert len(answers) == len(prompts)
    torch.testing.assert_close(answers[-1].masks, last.masks, atol=1e-3, rtol=1e-3)


SKY_ROWS = 60  # of china.jpg: nothing but sky, and two tips of roofs


def ask(
    tiny: TinySegmenter, rgb: NDArray[np.uint8], *classes: str, background: Background | None = Background()
) -> Segmentation:
    features = tiny.encode(rgb)
    return segment("semantic", tiny, features, Vocabulary(tuple(ClassEntry(name) for name in classes), background))


def owned(answer: Segmentation, label: str) -> NDArray[np.bool_]:
    """[H, W] the pixels of a label."""
    ids = [segment.id for segment in answer.segments if segment.label == label]
    return np.isin(answer.label_map, ids)


@pytest.mark.parametrize("background", [Background(), None], ids=["with background", "every pixel"])
def test_sky_owns_the_top_of_a_landscape_of_buildings_and_trees(
    tiny: TinySegmenter, photographs: Photographs, background: Background | None
) -> None:
    answer = ask(tiny, photographs["china"], "sky", "building", "trees", background=background)

    assert owned(answer, "sky")[:SKY_ROWS].mean() > 0.9
    assert min(owned(answer, "building").mean(), owned(answer, "trees").mean()) > 0.05


@pytest.mark.parametrize("word", ["kitten", "feline"])
def test_a_cats_face_is_a_cat_by_another_name(tiny: TinySegmenter, photographs: Photographs, word: str) -> None:
    assert owned(ask(tiny, photographs["chelsea"], word), word).mean() > 0.3


def test_a_cats_face_is_rather_a_cat_than_anything_else(tiny: TinySegmenter, photographs: Photographs) -> None:
    answer = ask(tiny, photographs["chelsea"], "car", "cat", "boat", "bottle", background=None)

    assert owned(answer, "cat").mean() > 0.7


def test_an_absent_class_does_not_paint_the_photographs(tiny: TinySegmenter, photographs: Photographs) -> None:
    painted = {name: owned(ask(tiny, rgb, "zebra"), "zebra").mean() for name, rgb in photographs.items()}

    assert np.mean(list(painted.values())) < 0.05, painted


def test_a_half_sized_image_pass_answers_much_the_same(tiny: TinySegmenter, photographs: Photographs) -> None:
    rgb = photographs["china"]
    full = owned(ask(tiny, rgb, "sky"), "sky")

    small = owned(ask(tiny, rgb[::2, ::2], "sky"), "sky").repeat(2, 0).repeat(2, 1)[: rgb.shape[0], : rgb.shape[1]]

    assert (full & small).sum() / (full | small).sum() > 0.85


def test_the_trunk_equals_timms_network() -> None:
    assert trunk.compare(0, (96, 160)) <= 1e-5


@torch.inference_mode()
def test_each_level_has_the_size_of_its_stride() -> None:
    pyramid, head = Trunk().eval()(torch.zeros(2, 3, 96, 160))

    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (width, 96 // stride, 160 // stride) for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]
    assert head.shape == (2, HEAD, 3, 5)


def test_halved_planes_are_the_rounded_means_of_their_pixels() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8)

    means = F.avg_pool2d(torch.from_numpy(planes).float(), 2).round().byte()

    assert np.array_equal(halved(planes), means.numpy())


def test_maps_of_a_lone_point_hold_all_its_channels() -> None:
    nothing = torch.zeros(1, 1, 4)
    point = Prompts(torch.tensor([[[[20.0, 13.0]]]]), torch.ones(1, 1, 1), nothing, nothing[..., 0])
    left = torch.arange(8) < 4
    halves = torch.stack([left, ~left]).float()[None, :, None].expand(1, 2, 6, 8)  # unit vectors in 6 x 8 cells
    grouping = halves.repeat(1, HEADS, 1, 1)

    lone, maps = point_maps(point, grouping, halves), prompt_maps(point, grouping, halves)

    torch.testing.assert_close(lone, maps[:, :, POINT_CHANNELS])
    assert not maps[:, :, [channel for channel in range(CHANNELS) if channel not in POINT_CHANNELS]].any()
