"""Prompts that are drawn: points lie where they say they do, boxes hold their object, targets are its share."""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.scenes import Objects
from lexiseg_model.methods.tiny.training.prompt_draw import CELL_LABELS, JITTER, LABEL_STRIDE, Drawn, PromptCrops, draw
from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet, read_samples
from tests.model.methods.tiny.training.shapes import write_shapes

SIDE = 48  # labels
LONE, SURE = 40, 80


def scene() -> Objects:
    """A square and a long bar; a strip that counts nowhere."""
    ids = np.zeros((SIDE, SIDE), np.int32)
    ids[4:20, 6:22] = 1
    ids[30:34, 2:46] = 2
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[40:] = True
    return Objects(ids, (1, 2), ignored)


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(scene(), LONE, SURE, np.random.default_rng(0))


def whose(drawn: Drawn) -> NDArray[np.int64]:
    """The object that each prompt is about, by its target."""
    first = scene().ids.reshape(SIDE // 2, 2, SIDE // 2, 2)
    cells = [(first == index).sum((1, 3)) for index in (1, 2)]
    return np.array([1 if np.array_equal(target, cells[0]) else 2 for target in drawn.targets])


def labels_at(drawn: Drawn, sign: int) -> list[tuple[int, int]]:
    """(object of the prompt, object under the point) for every point of one sign."""
    found = []
    for prompt, index in enumerate(whose(drawn)):
        for (x, y), own in zip(drawn.points[prompt], drawn.signs[prompt], strict=True):
            if own == sign:
                found.append((int(index), int(scene().ids[int(y) // LABEL_STRIDE, int(x) // LABEL_STRIDE])))
    return found


def test_lone_prompts_are_one_positive_point_each(drawn: Drawn) -> None:
    assert drawn.signs[:LONE].tolist() == [[1, 0, 0, 0]] * LONE
    assert not drawn.has_box[:LONE].any()


def test_the_others_have_a_box_or_several_points(drawn: Drawn) -> None:
    several = (drawn.signs[LONE:] != 0).sum(1) > 1

    assert (several | (drawn.has_box[LONE:] == 1)).all()
    assert several.any()
    assert (drawn.has_box[LONE:] == 1).any()


def test_positive_points_are_on_their_object(drawn: Drawn) -> None:
    found = labels_at(drawn, 1)

    assert len(found) > LONE
    assert all(own == under for own, under in found)


def test_negative_points_are_beside_their_object(drawn: Drawn) -> None:
    found = labels_at(drawn, -1)

    assert found
    assert all(own != under for own, under in found)


def test_a_prompt_that_will_be_corrected_is_one_point_to_begin_with() -> None:
    drawn = draw(scene(), 2, 6, np.random.default_rng(0), corrected=3)

    assert drawn.signs[-3:].tolist() == [[1, 0, 0, 0]] * 3
    assert not drawn.has_box[-3:].any()


def test_every_object_is_asked_for_as_often_as_the_others(drawn: Drawn) -> None:
    assert (whose(drawn) == 1).sum() == (LONE + SURE) // 2


def test_boxes_are_tight_or_off_by_little(drawn: Drawn) -> None:
    tight = {1: np.array([12, 8, 44, 40]), 2: np.array([4, 60, 92, 68])}
    exact = 0
    for prompt in np.flatnonzero(drawn.has_box):
        box = tight[int(whose(drawn)[prompt])]
        sides = np.tile(box[2:] - box[:2], 2)
        assert (np.abs(drawn.boxes[prompt] - box) <= 2 * JITTER * sides + 1e-4).all()
        exact += np.array_equal(drawn.boxes[prompt], box)
    assert 0 < exact < drawn.has_box.sum()


def test_targets_are_shares_of_cells_and_ignored_cells_do_not_count(drawn: Drawn) -> None:
    assert drawn.targets.shape == (LONE + SURE, SIDE // 2, SIDE // 2)
    assert drawn.targets.max() == CELL_LABELS
    assert not drawn.valid[20:].any()
    assert drawn.valid[:20].all()


def test_an_object_that_fills_the_crop_has_no_negative_points() -> None:
    everything = Objects(np.ones((SIDE, SIDE), np.int32), (1,), np.zeros((SIDE, SIDE), bool))

    drawn = draw(everything, 4, 40, np.random.default_rng(1))

    assert (drawn.signs >= 0).all()


def test_a_crop_and_its_prompts_fit_together(tmp_path: Path) -> None:
    source = MaskSet(share=1.0, nothing=0)
    samples = read_samples(write_shapes(tmp_path), "shapes", source)

    ((crop, drawn),) = next(iter(PromptCrops([(source, samples)], 64, 3, 2, 0, batch=1, seed=0)))

    assert crop.shape == (64, 64, 3)
    assert drawn.targets.shape == (5, 16, 16)
    assert drawn.targets.any((1, 2)).all()
    assert drawn.points.min() >= 0
    assert drawn.points.max() <= 64


def test_crops_of_one_seed_are_the_same(tmp_path: Path) -> None:
    source = MaskSet(share=1.0, nothing=0)
    sources = [(source, read_samples(write_shapes(tmp_path), "shapes", source))]
    first, second = (chain.from_iterable(PromptCrops(sources, 64, 3, 2, 1, batch=2, seed=4)) for _ in range(2))

    for _ in range(3):
        (one, drawn), (other, again) = next(first), next(second)
        np.testing.assert_array_equal(one, other)
        for part, same in zip(drawn, again, strict=True):
            np.testing.assert_array_equal(part, same)


def test_sets_are_drawn_from_by_their_shares(tmp_path: Path) -> None:
    often, seldom = MaskSet(share=3.0, nothing=0), MaskSet(share=1.0, nothing=0)
    samples = read_samples(write_shapes(tmp_path), "shapes", often)
    black = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "black").mkdir()
    Image.fromarray(black).save(tmp_path / "black" / "000.png")
    dark = [dataclasses.replace(sample, image=tmp_path / "black" / "000.png") for sample in samples]
    batches = PromptCrops([(often, samples), (seldom, tuple(dark))], 64, 1, 1, 0, batch=4, seed=0)
    crops = chain.from_iterable(batches)

    # Beyond the edge of a photograph a crop is gray, not black.
    of_seldom = sum(np.median(next(crops)[0]) == 0 for _ in range(200))

    assert 0.15 < of_seldom / 200 < 0.35
