"""Vectors of classes by example, from mean pixel embeddings."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.abilities import ExampleVectors, examples_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import OptionError
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.methods.tiny.by_example import VECTORS, cell_groups, region_rows, vectors
from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.settings import ExampleRule
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.examples import MAX_NEGATIVE_SCORE
from tests import pictures
from tests.once import kept

RULE = ExampleRule(length=0.5, level=0.5, own=0.5, apart=0.3, words=0.5)
NONE: NDArray[np.float16] = np.empty((0, 0), np.float16)
NO_WORDS = torch.zeros(0, EMBEDDING)


def rows(*directions: int, length: float = 1.0) -> NDArray[np.float16]:
    """One of each axis."""
    made = np.zeros((len(directions), VECTORS * EMBEDDING), np.float16)
    made[np.arange(len(directions)), directions] = length
    return made


def of(
    positive: NDArray[np.float16],
    negative: NDArray[np.float16] = NONE,
    rule: ExampleRule = RULE,
    known: torch.Tensor = NO_WORDS,
) -> ExampleVectors:
    return vectors(positive, negative, rule, known)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_vectors_of_varied_examples_are_scaled_up(level: float) -> None:
    made = of(rows(2, length=0.64), rule=RULE.model_copy(update={"level": level}))

    assert float(made.vectors.norm()) == pytest.approx(RULE.length / 0.64**level, rel=1e-3)


def test_a_negative_example_lowers_the_score_only_where_it_matches() -> None:
    negative = (rows(0) + rows(2)) / np.sqrt(2).astype(np.float16)
    alone, turned = of(rows(0, 1)), of(rows(0, 1), negative)
    unlike = torch.from_numpy(negative[0, :EMBEDDING].astype(np.float32))

    own = turned.vectors @ turned.means[0]
    assert torch.allclose(own, alone.vectors @ alone.means[0], atol=1e-3)
    assert bool((alone.vectors @ unlike > MAX_NEGATIVE_SCORE * own).any())
    assert bool((turned.vectors @ unlike <= MAX_NEGATIVE_SCORE * own + 1e-3).all())


def test_a_class_by_example_is_drawn_towards_the_nearest_known_word() -> None:
    example = rows(0)
    example[0, 1] = 0.5
    near, far = torch.eye(EMBEDDING)[[1, 2]]

    made = of(example, known=torch.stack([near, far]))

    plain = of(example).vectors[0]
    assert float(made.vectors[0, 1]) > float(plain[1]) + 0.1
    assert float(made.vectors[0, 2]) == pytest.approx(0, abs=1e-4)
    assert float(made.vectors.norm()) == pytest.approx(float(plain.norm()))


def test_an_example_row_is_contrasted_with_the_rest_of_its_image() -> None:
    pixels = torch.zeros(EMBEDDING, 4, 4)
    pixels[0] = 1.0
    pixels[:, :2, :2] = 0.0
    pixels[0, :2, :2], pixels[1, :2, :2] = 0.6, 0.8
    corner = Region(Prompt(box=(0, 0, 2, 2)))

    plain, turned = (region_rows(pixels, (4, 4), [corner], {}, apart)[0].astype(np.float32) for apart in (0.0, 0.3))

    assert plain[:2] == pytest.approx([0.6, 0.8], abs=1e-3)
    assert turned[1] > plain[1]
    assert np.linalg.norm(turned[:EMBEDDING]) == pytest.approx(1.0, abs=1e-3)


def test_an_example_that_its_negative_points_remove_is_refused() -> None:
    features = tiny().encode(np.asarray(pictures.small("china", 320)))
    at_one_place = Prompt((Point(40.0, 30.0, True), Point(40.0, 30.0, False)))

    with pytest.raises(OptionError, match="negative points of an example remove all of it"):
        examples_of(tiny()).example_rows(features, [Region(at_one_place)])


def test_most_cells_of_a_varied_region_are_like_its_groups() -> None:
    random = torch.Generator().manual_seed(0)
    centres = torch.eye(EMBEDDING)[:5].repeat_interleave(40, 0)
    cells = torch.nn.functional.normalize(centres + 0.05 * torch.randn(200, EMBEDDING, generator=random), dim=1)

    groups = cell_groups(cells)

    assert (cells @ groups.T >= 1).any(1).float().mean() == pytest.approx(0.9, abs=0.02)
    assert not (torch.eye(EMBEDDING)[5:] @ groups.T >= 1).any()


@kept
def tiny() -> Segmenter:
    return catalogue.load("tiny", device="cpu")


@pytest.mark.parametrize(
    ("photograph", "box"),
    [
        ("astronaut", (0.35, 0.05, 0.6, 0.4)), ("chelsea", (0.3, 0.1, 0.7, 0.7)), ("china", (0.05, 0.4, 0.3, 0.8)),
        ("china", (0.6, 0.55, 0.95, 0.95)), ("coffee", (0.3, 0.2, 0.7, 0.7)), ("flower", (0.4, 0.3, 0.7, 0.7)),
        ("rocket", (0.45, 0.1, 0.6, 0.7)),
    ],
)  # fmt: skip
def test_a_negative_example_removes_most_of_its_own_region_in_a_photograph(
    photograph: str, box: tuple[float, float, float, float]
) -> None:
    """The class is a box; the negative is the largest part beyond the box that the class alone paints."""
    rgb = np.asarray(pictures.small(photograph, 320))
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (int(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    features = tiny().encode(rgb)

    def painted(*negatives: Region) -> NDArray[np.bool_]:
        shown, *others = examples_of(tiny()).example_rows(
            features, [Region(Prompt(box=(float(x0), float(y0), float(x1), float(y1)))), *negatives]
        )
        examples = Shown((shown.tobytes(),), tuple(row.tobytes() for row in others))
        vocabulary = Vocabulary((ClassEntry("it", shown=examples, named=False),), Background())
        return segment("semantic", tiny(), features, vocabulary).label_map > 0

    alone = painted()
    beyond = alone.astype(np.uint8)
    beyond[y0:y1, x0:x1] = 0
    _, parts, stats, _ = cv2.connectedComponentsWithStats(beyond)
    false = parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    after = painted(Region(mask=encode_mask(false)))

    assert false.mean() > 0.005
    assert after[false].mean() <= 0.2
    assert after[y0:y1, x0:x1].sum() >= 0.5 * alone[y0:y1, x0:x1].sum()
