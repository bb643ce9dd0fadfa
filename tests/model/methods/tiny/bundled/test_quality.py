"""What the bundled weights must see on photographs they were never shown."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, ClassEntry, Segmentation, Vocabulary

Photographs = dict[str, NDArray[np.uint8]]
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
def test_sky_owns_the_top_of_a_landscape(
    tiny: TinySegmenter, photographs: Photographs, background: Background | None
) -> None:
    answer = ask(tiny, photographs["china"], "sky", "building", "trees", background=background)

    assert owned(answer, "sky")[:SKY_ROWS].mean() > 0.9


def test_buildings_and_trees_are_both_found_in_a_landscape(tiny: TinySegmenter, photographs: Photographs) -> None:
    answer = ask(tiny, photographs["china"], "sky", "building", "trees", background=None)

    assert owned(answer, "building").mean() > 0.05
    assert owned(answer, "trees").mean() > 0.05


@pytest.mark.parametrize("word", ["kitten", "feline"])
def test_a_cats_face_is_a_cat_by_another_name(tiny: TinySegmenter, photographs: Photographs, word: str) -> None:
    assert owned(ask(tiny, photographs["chelsea"], word), word).mean() > 0.3


def test_a_cats_face_is_rather_a_cat_than_anything_else(tiny: TinySegmenter, photographs: Photographs) -> None:
    answer = ask(tiny, photographs["chelsea"], "car", "cat", "boat", "bottle", background=None)

    assert owned(answer, "cat").mean() > 0.7


def test_an_absent_class_does_not_paint_the_photographs(tiny: TinySegmenter, photographs: Photographs) -> None:
    painted = {name: owned(ask(tiny, rgb, "zebra"), "zebra").mean() for name, rgb in photographs.items()}

    assert np.mean(list(painted.values())) < 0.05, painted


def test_a_cats_face_is_no_sheep(tiny: TinySegmenter, photographs: Photographs) -> None:
    assert owned(ask(tiny, photographs["chelsea"], "sheep"), "sheep").mean() < 0.01


def test_a_half_sized_image_pass_answers_much_the_same(tiny: TinySegmenter, photographs: Photographs) -> None:
    rgb = photographs["china"]
    full = owned(ask(tiny, rgb, "sky"), "sky")

    small = owned(ask(tiny, rgb[::2, ::2], "sky"), "sky").repeat(2, 0).repeat(2, 1)[: rgb.shape[0], : rgb.shape[1]]

    assert (full & small).sum() / (full | small).sum() > 0.85
