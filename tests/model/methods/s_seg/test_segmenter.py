"""`s-seg` as a Segmenter: scores of pixels and regions by known masks, proposals, the background, windows."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.features import Features, Layout
from lexiseg_model.methods.s_seg.segmenter import MIN_SCORE, SSegSegmenter
from lexiseg_model.methods.s_seg.settings import Combination
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import Background, ClassEntry, Precision, Vocabulary
from tests.model.methods.s_seg.small import SMALL, small_segmenter
from tests.once import kept

SURE = 12.0
SIZE = (16, 32)  # four by eight cells of masks


@kept
def segmenter(precision: Precision = "exact") -> SSegSegmenter:
    return small_segmenter(precision=precision)


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def bank(*vectors: Tensor) -> TextBank:
    return TextBank(torch.stack(vectors), np.arange(len(vectors)), len(vectors))


def axis(index: int) -> Tensor:
    return torch.eye(SMALL.embedding)[index]


def features(*, third: float = -SURE) -> Features:
    """An image whose left half is axis 0, whose right half axis 1; a third mask shows axis 2, if it is anywhere."""
    masks = torch.full((1, 3, 4, 8), -SURE)
    masks[0, 0, :, :4] = masks[0, 1, :, 4:] = SURE
    masks[0, 2, 0, 0] = third
    vectors = torch.stack([axis(0), axis(1), axis(2)])[None]
    guide = torch.zeros(3, *SIZE, dtype=torch.uint8)
    image = torch.nn.functional.normalize(vectors[0].sum(0), dim=0)[None]
    tensors = {"masks": masks, "queries": torch.zeros(1, 3, 256), "embeddings": vectors, "image": image, "guide": guide}
    return Features(SIZE, tensors, Layout(SIZE, SIZE))


def test_pixel_scores_are_log_sums_of_mask_times_class_probability() -> None:
    model = segmenter("fast")
    scale = 1 / 0.07  # of a fresh network

    scores = model.class_scores(features(), bank(axis(0), axis(1)))

    share = torch.tensor([scale, 0.0]).softmax(0)
    torch.testing.assert_close(scores[:, 1, 1].exp(), share, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(scores[:, 1, 6].exp(), share.flip(0), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(scores.softmax(0).sum(0), torch.ones(4, 8))


@pytest.mark.parametrize("combination", ["mean", "sum"])
def test_exact_scores_use_masks_upsampled_to_the_canvas(combination: Combination) -> None:
    model = small_segmenter(SMALL.model_copy(update={"combination": combination}))

    found = model.pixel_scores(features(), bank(axis(0), axis(1)))

    masks = torch.nn.functional.interpolate(features().tensors["masks"], size=SIZE, mode="bilinear")[0]
    shares = torch.tensor([[1.0, 0], [0, 1.0], [0, 0]]).div(0.07).softmax(1)
    summed = torch.einsum("nk,nhw->khw", shares, masks.sigmoid())
    torch.testing.assert_close(found, summed if combination == "sum" else summed / masks.sigmoid().sum(0))


def test_only_the_likeliest_classes_compete_if_the_card_says_so() -> None:
    model = small_segmenter(SMALL.model_copy(update={"candidates": 1}), "fast")
    found = features()
    found.tensors["image"][0] = axis(1)

    assert (model.class_scores(found, bank(axis(0), axis(1))).argmax(0) == 1).all()
    assert model.region_scores(found, torch.stack([axis(0)]), bank(axis(0), axis(1)))[0] == pytest.approx(
        math.log(MIN_SCORE)
    )


def test_an_uncovered_pixel_is_background_with_summed_masks() -> None:
    model = small_segmenter(SMALL.model_copy(update={"combination": "sum"}), "fast")
    found = features()
    found.tensors["masks"][0, 1] = -SURE  # nothing over the right half
    scores = model.class_scores(found, bank(axis(0), axis(1)))

    owned = scores.amax(0) >= model.background_score(scores, None, "none")

    assert owned.tolist() == [[True] * 4 + [False] * 4] * 4


def test_scores_of_windows_are_averaged() -> None:
    model = small_segmenter(SMALL.model_copy(update={"window": 64, "stride": 32}))
    found = model.encode(photograph(64, 96))
    vectors = bank(axis(0), axis(1))

    scores = model.pixel_scores(found, vectors)

    assert len(found.tensors["masks"]) == 2
    alone = []
    for index in range(2):
        part = {name: tensor[index : index + 1] for name, tensor in found.tensors.items() if name != "guide"}
        alone.append(model.pixel_scores(Features((64, 64), part, Layout((64, 64), (64, 64))), vectors))
    torch.testing.assert_close(scores[:, :, :32], alone[0][:, :, :32])
    torch.testing.assert_close(scores[:, :, 32:64], (alone[0][:, :, 32:] + alone[1][:, :, :32]) / 2)
    torch.testing.assert_close(scores[:, :, 64:], alone[1][:, :, 32:])


def test_proposals_are_nonempty_masks_best_first() -> None:
    masks, embeddings, quality = segmenter().propose(features(third=1.0))

    assert masks.shape == (3, 4, 8)
    assert quality.tolist() == sorted(quality.tolist(), reverse=True)
    assert quality[2] == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert torch.equal(embeddings[2], axis(2))
    assert len(segmenter().propose(features()).masks) == 2


def test_a_foreign_mask_is_embedded_by_the_own_masks_under_it() -> None:
    given = torch.full((4, 8, 16), -1.0)  # twice as fine as the own masks
    given[0, :, :8] = 1.0  # the left half
    given[1] = 1.0  # all of it
    given[2, :, 4:12] = 1.0  # half of each

    vectors = segmenter().embed_masks(features(), given)

    torch.testing.assert_close(vectors[0], axis(0))
    torch.testing.assert_close(vectors[1], (axis(0) + axis(1)) / math.sqrt(2))
    torch.testing.assert_close(vectors[2], (axis(0) + axis(1)) / math.sqrt(2))
    assert torch.equal(vectors[3], torch.zeros(16))
    assert segmenter().embed_masks(features(), given[:0]).shape == (0, 16)


def rows_of(texts: list[str]) -> NDArray[np.float32]:
    """The axis of which a text names the number."""
    return np.stack([axis(next(int(letter) for letter in text if letter.isdigit())).numpy() for text in texts])


@pytest.mark.parametrize(("background", "score"), [(None, 1.0), (Background(words=()), 1 / 1.95)])
def test_a_panoptic_answer_is_made_of_its_masks(background: Background | None, score: float) -> None:
    classes = (ClassEntry("thing 0", thing=True), ClassEntry("stuff 1", thing=False), ClassEntry("absent 3"))

    answer = tasks.segment("panoptic", segmenter(), features(), Vocabulary(classes, background), rows_of=rows_of)

    found = [(segment.label, segment.is_thing, segment.bbox) for segment in answer.segments]
    assert found == [("thing 0", True, (0, 0, 16, 16)), ("stuff 1", False, (16, 0, 16, 16))]
    assert [segment.score for segment in answer.segments] == pytest.approx([score, score], abs=1e-3)
