"""`unpair-seg` as a Segmenter, on a small network with random weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import catalogue, tasks
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.methods.unpair_seg import proposals
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, require_weights, settings_of
from lexiseg_model.types import ClassEntry, InputSize, Point, Prompt, Task, Vocabulary
from tests.model.methods.unpair_seg import small

CARD = catalogue.read_card(catalogue.bundled()["unpair-seg"])
CLASSES = (ClassEntry("cat", ("kitten",)), ClassEntry("grass"), ClassEntry("sky"))
CLICK, BOX = Prompt(points=(Point(60, 30),)), Prompt(box=(10, 8, 90, 50))
PAIR = Prompt(points=(Point(60, 30), Point(5, 5, positive=False)))


def photograph(height: int = 60, width: int = 100) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@cache
def model() -> UnpairSegSegmenter:
    return small.segmenter()


def seen(segmenter: UnpairSegSegmenter, rgb: NDArray[np.uint8], options: InferenceOptions | None = None) -> Features:
    plan = segmenter.plan(rgb, options or InferenceOptions())
    return segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))


@cache
def features() -> Features:
    return seen(model(), photograph())


# images


def test_an_image_is_one_square_tile() -> None:
    plan = model().plan(photograph())

    assert plan.tiles.shape == (1, 3, 128, 128)
    assert plan.bucket in model().buckets
    assert plan.size == (60, 100)


def test_max_side_caps_the_input() -> None:
    assert model().plan(photograph(), InferenceOptions(max_side=100)).bucket == (96, 96)
    assert model().plan(photograph(), InferenceOptions(max_side=1)).bucket == (32, 32)
    assert model().plan(photograph(), InferenceOptions(max_side=5000)).bucket == (128, 128)


@pytest.mark.parametrize(("precision", "dtype"), [("exact", torch.float32), ("fast", torch.float16)])
def test_what_is_kept_of_an_image_is_said_by_its_bytes(precision: Any, dtype: torch.dtype) -> None:
    kept = seen(small.segmenter(precision), photograph())

    assert {part.dtype for name, part in kept.tensors.items() if name != "guide"} == {dtype}
    assert kept.nbytes == sum(part.nbytes for part in kept.tensors.values())
    assert kept.tensors["guide"].shape == (3, 38, 64)


def test_fast_answers_are_close_to_exact_ones() -> None:
    fast = small.segmenter("fast")
    found, exact = (each.prompt(seen(each, photograph()), [CLICK])[0] for each in (fast, model()))

    torch.testing.assert_close(found.quality, exact.quality, atol=0.03, rtol=0)


# masks


def test_proposals_span_the_image_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = seen(model(), photograph())
    before = fresh.nbytes

    found = model().propose(fresh)

    assert found.masks.shape[1:] == (19, 32)  # of 76 x 128 pixels
    assert len(found.masks) == len(found.embeddings) == len(found.quality) > 0
    assert found.quality.tolist() == sorted(found.quality.tolist(), reverse=True)
    assert fresh.nbytes > before
    monkeypatch.setattr(proposals, "propose", None)
    assert torch.equal(model().propose(fresh).masks, found.masks)


@pytest.mark.parametrize("padding", ["square", "multiple"])
@pytest.mark.parametrize("size", [(60, 100), (100, 60), (30, 100), (7, 5)])
def test_masks_of_every_kind_span_the_image(padding: str, size: tuple[int, int]) -> None:
    segmenter = small.segmenter(padding=padding)
    kept = seen(segmenter, photograph(*size))

    proposed = segmenter.propose(kept).masks
    prompted = [answer.masks for answer in segmenter.prompt(kept, [CLICK, BOX, PAIR])]

    assert {tuple(masks.shape[1:]) for masks in (proposed, *prompted)} == {tuple(proposed.shape[1:])}
    height, width = proposed.shape[1:]
    assert max(height, width) == 32
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)


def test_prompts_are_answered_in_order_each_best_first() -> None:
    answers = model().prompt(features(), [PAIR, CLICK, BOX])

    assert [len(answer.quality) for answer in answers] == [1, 4, 1]
    assert answers[1].quality.tolist() == sorted(answers[1].quality.tolist(), reverse=True)


def test_unstable_proposals_go() -> None:
    strict = small.segmenter(cleaning={"stability": 1.0, "specks": 0})

    assert len(strict.propose(seen(strict, photograph())).masks) < len(model().propose(features()).masks)


def test_where_nothing_is_proposed_every_question_has_an_answer() -> None:
    nothing = small.segmenter(proposals={"grid": 2, "quality": 1.0})
    kept = seen(nothing, photograph())
    bank = nothing.text_bank(CLASSES, nothing.encode_texts(nothing.texts(CLASSES)))

    assert nothing.propose(kept).masks.shape == (0, 19, 32)
    assert nothing.region_scores(kept, nothing.propose(kept).embeddings, bank).shape == (3, 0)
    everything = nothing.class_scores(kept, bank)
    assert everything.isfinite().all()
    assert (nothing.nobody_score(everything, None, "none") > everything.amax(0)).all()


# names


def test_stage_twos_adapter_has_a_word_where_the_weights_hold_it() -> None:
    adapted = small.segmenter(adapted=True)
    kept = seen(adapted, photograph())
    everywhere = torch.ones(1, 19, 32)

    assert "adapted" in kept.tensors
    found = adapted.embed_masks(kept, everywhere)
    assert not torch.allclose(found, model().embed_masks(features(), everywhere), atol=1e-3)


def test_a_small_mask_is_corrected_by_what_lies_under_it_and_not_by_the_cell_around_it() -> None:
    segmenter = small.segmenter(adapted=True)
    kept = seen(segmenter, photograph(128, 128))
    corners = torch.full((2, 32, 32), -9.0)
    corners[0, :2, :2] = corners[1, 6:8, 6:8] = 9.0  # 8 pixels each, in one cell at stride 32

    first, second = segmenter.embed_masks(kept, corners)
    plain = model().embed_masks(seen(model(), photograph(128, 128)), corners)

    assert torch.equal(plain[0], plain[1])
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_region_is_each_class_with_the_probability_of_its_best_text() -> None:
    rows = model().encode_texts(model().texts(CLASSES))
    bank = model().text_bank(CLASSES, rows)
    embeddings = model().propose(features()).embeddings

    found = model().region_scores(features(), embeddings, bank)

    unit = torch.nn.functional.normalize(embeddings, dim=1)
    cosines = unit @ torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1).T
    by_class = torch.stack([each.amax(1) for each in torch.split(cosines, [28, 14, 14], 1)])
    scale = min(100.0, float(small.state()["clip.logit_scale"].exp()))
    assert len(bank.vectors) == 14 * 4
    torch.testing.assert_close(found, (scale * by_class).log_softmax(0), atol=1e-4, rtol=1e-4)


def test_a_pixel_is_of_a_class_as_the_masks_over_it_are() -> None:
    fast = small.segmenter("fast")
    kept = seen(fast, photograph())
    bank = fast.text_bank(CLASSES, fast.encode_texts(fast.texts(CLASSES)))
    found = fast.propose(kept)
    probabilities = fast.region_scores(kept, found.embeddings, bank).exp()

    scores = fast.class_scores(kept, bank)

    expected = torch.einsum("kn,nhw->khw", probabilities, found.masks.float().sigmoid())
    torch.testing.assert_close(scores.exp(), expected)
    torch.testing.assert_close(scores.softmax(0), expected / expected.sum(0))


@pytest.mark.parametrize("size", [(60, 100), (100, 61), (300, 173)])
@pytest.mark.parametrize("padding", ["square", "multiple"])
def test_loaded_as_exact_every_label_is_that_of_masks_enlarged_before_they_are_added_up(
    padding: str, size: tuple[int, int]
) -> None:
    exact = small.segmenter(padding=padding)
    kept = seen(exact, photograph(*size))

    answer = tasks.segment("semantic", exact, kept, Vocabulary(CLASSES, None))

    bank = exact.text_bank(CLASSES, exact.encode_texts(exact.texts(CLASSES)))
    np.testing.assert_array_equal(small.labels_of(answer), small.published_labels(exact, kept, bank))


def test_a_pixel_that_no_mask_covers_or_no_class_explains_is_nobodys() -> None:
    covered = torch.tensor([0.9, 0.2, 0.9])  # by masks; the second hardly
    share = torch.tensor([[0.8, 0.8, 0.25], [0.1, 0.1, 0.25], [0.05, 0.05, 0.25], [0.05, 0.05, 0.25]])
    logits = (covered * share).log()[:, None]

    nobody = model().nobody_score(logits, None, "none")
    with_threshold = model().nobody_score(logits, 0.2, "none")

    assert (nobody > logits.amax(0)).tolist() == [[False, True, True]]
    assert (with_threshold > logits.amax(0)).tolist() == [[False, True, False]]


def test_words_mean_the_same_whatever_templates_say() -> None:
    entries = (ClassEntry("cat"), ClassEntry("sky"))
    rows = model().encode_texts(model().texts(entries))

    meant = model().meaning(entries, rows)

    assert meant.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(meant, axis=1), 1, rtol=1e-5)


# tasks and the card


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic", "prompt"])
def test_all_four_tasks_are_done(task: Task) -> None:
    rule = model().card.panoptic.model_copy(update={"score": 0.0, "overlap": 0.0})
    segmenter = small.segmenter(probability=0.0)
    segmenter.card = segmenter.card.model_copy(update={"panoptic": rule})
    options = tasks.Options(prompts=(CLICK, BOX) if task == "prompt" else ())

    found = tasks.segment(task, segmenter, seen(segmenter, photograph()), Vocabulary(CLASSES, None), options)

    assert found.segments
    assert found.size == (60, 100)
    if task == "prompt":
        assert [segment.prompt_index for segment in found.segments] == [0, 0, 0, 0, 1]


def test_masks_can_be_refined_by_colours() -> None:
    found = tasks.segment("semantic", model(), features(), Vocabulary(CLASSES, None), tasks.Options(refine="pamr"))

    assert sum(segment.area for segment in found.segments) == 60 * 100


def test_the_bundled_card_is_published_inference_and_has_no_weights() -> None:
    settings = settings_of(CARD)

    assert (settings.proposals.grid, settings.proposals.quality, settings.templates) == (20, 0.619, "vild14")
    assert (CARD.panoptic.source, CARD.panoptic.score, CARD.panoptic.overlap) == ("proposals", 0.7, 0.4)
    assert set(CARD.tasks) == {"semantic", "instance", "panoptic", "prompt", "everything"}
    with pytest.raises(WeightsError, match=r"models import --method unpair-seg .* own training"):
        require_weights(CARD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"grid": 20}}, "unpair-seg: the card's settings are not those of unpair_seg"),
        (
            {"settings": {"compatibility": "released", "padding": "multiple"}},
            "compatibility: released goes with padding: square alone, got padding: multiple",
        ),
        ({"input": InputSize(short_side=1000, long_side=1000, multiple=8)}, "expected a multiple of 32"),
    ],
)
def test_a_card_that_cannot_be_served_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        settings_of(CARD.model_copy(update=changes))
