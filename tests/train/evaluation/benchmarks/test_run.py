"""Benchmark runs of a model with known answers: background rules, mistakes, resumption."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import DatasetError
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip.segmenter import majority_vote, put_first
from lexiseg_model.types import Refinement
from lexiseg_train.data.benchmark import AnnotatedSet, Labels
from lexiseg_train.evaluation.benchmarks.run import (
    BackgroundLogit,
    DatasetRule,
    Reduction,
    benchmark_run,
    reduce_to_labels,
    total_counts,
)
from lexiseg_train.evaluation.counts import Counts, scores
from tests.model.stand_in import ColourSegmenter
from tests.train.evaluation.colours import colours, rule

STRIPES = (["rrgg"], ["0011"])
AMBER = colours(["background", "red", "green"], (["aar"], ["111"]))  # amber is red with a probability of 0.83


class Probable(ColourSegmenter):
    """BackgroundLogit wins where no text is probable enough, as in the CLIP family."""

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        return logits.logsumexp(0) + torch.tensor(0.5 if threshold is None else threshold).log()


class Guided(ColourSegmenter):
    """Keeps a guide, so that its answers can be refined by colours."""

    def guide(self, features: Features) -> Tensor:
        return features.tensors["pixels"][:3].float()


class Regional(Probable):
    """The whole picture is one region, which takes one label."""

    def by_regions(
        self, features: Features, logits: Tensor, total: Tensor | None = None, winner: Tensor | None = None
    ) -> Tensor:
        logits = logits if winner is None else put_first(logits, winner)
        return majority_vote(logits, torch.ones(features.size, dtype=torch.int64), features.size)


def evaluate(
    segmenter: ColourSegmenter, data: AnnotatedSet, rules: DatasetRule, progress: Path, refine: Refinement = "none"
) -> Counts:
    records = benchmark_run(segmenter, data, rules, refine, progress).run()
    return total_counts(records, len(data.benchmark.classes))


def test_mistakes_and_ignored_pixels_are_counted(tmp_path: Path) -> None:
    data = colours(["red", "green", "blue"], (["rrgg", "rgrg"], ["0111", "xxxx"]))

    counts = evaluate(ColourSegmenter(), data, rule(), tmp_path)

    assert counts.tolist() == [[1, 2, 0], [1, 3, 0], [2, 2, 0]]


def test_the_methods_own_rule_answers_for_a_background_without_text(tmp_path: Path) -> None:
    data = colours(["background", "red", "green"], (["r.gb"], ["1020"]))
    segmenter = ColourSegmenter()

    assert scores(evaluate(segmenter, data, rule("own"), tmp_path)).miou == 100
    assert segmenter.asked == ["red", "green"]


def test_a_threshold_of_probability_is_tested_at_the_best_text(tmp_path: Path) -> None:
    data = colours(["background", "red", "green"], (["r.ga"], ["1020"]))

    # Amber is 0.8 red and 0.6 green: red is e^1.6 = 5 times as probable, 0.83. Black is half red, half green.
    strict = evaluate(Probable(), data, rule(0.9), tmp_path)
    lax = evaluate(Probable(), data, rule(0.6), tmp_path)

    assert strict[0].tolist() == [2, 1, 1]
    assert lax[2].tolist() == [1, 2, 1]


@pytest.mark.parametrize(("threshold", "predicted"), [(None, [0, 3, 0]), (0.9, [3, 0, 0])])
def test_regions_are_refined_as_the_method_does(tmp_path: Path, threshold: float | None, predicted: list[int]) -> None:
    data = colours(["background", "red", "green"], (["arr"], ["111"])) if threshold is None else AMBER

    counts = evaluate(Regional(), data, rule(threshold), tmp_path, "regions")

    assert counts[2].tolist() == predicted


def test_background_words_compete_for_the_background(tmp_path: Path) -> None:
    data = colours(["background", "red"], (["rgb"], ["100"]))

    counts = evaluate(ColourSegmenter(), data, rule(None, background=["green", "navy"]), tmp_path)

    assert scores(counts).miou == 100


@pytest.mark.parametrize("with_background", [False, True])
def test_a_method_without_a_refinement_of_its_own_is_refined_by_colours(tmp_path: Path, with_background: bool) -> None:
    rows = ["rrrrgggg"] * 6
    labels = ["11112222"] * 6 if with_background else ["00001111"] * 6
    classes = ["background", "red", "green"] if with_background else ["red", "green"]
    data = colours(classes, (rows, labels))

    counts = evaluate(Guided(), data, rule("own" if with_background else None), tmp_path, "pamr")

    assert scores(counts).miou == 100


def test_a_photograph_and_its_annotation_have_one_size(tmp_path: Path) -> None:
    data = colours(["red", "green"], (["rrgg"], ["00"]))

    with pytest.raises(DatasetError, match=r"flag-0: the annotation is \(1, 2\), its photograph \(1, 4\)"):
        evaluate(ColourSegmenter(), data, rule(), tmp_path)


def test_another_rule_or_refinement_is_another_evaluation(tmp_path: Path) -> None:
    def torn_labels() -> Labels:
        raise DatasetError("torn")

    data = colours(["red", "green"], STRIPES)
    torn = replace(data, images=(*data.images, replace(data.images[0], name="torn", read_truth=torn_labels)))
    with pytest.raises(DatasetError, match="torn"):
        evaluate(ColourSegmenter(), torn, rule(), tmp_path)

    cases: list[tuple[DatasetRule, Refinement]] = [(rule(), "none"), (rule(scale=2.0), "none"), (rule(), "pamr")]
    done = [benchmark_run(ColourSegmenter(), torn, rules, refine, tmp_path).n_before for rules, refine in cases]

    assert done == [1, 0, 0]


SIZE = (37, 53)


def less_probable_than(threshold: float) -> BackgroundLogit:
    return lambda logits, _: logits.logsumexp(0) + math.log(threshold)


def random_scores(n_queries: int, seed: int, size: tuple[int, int] = (9, 13)) -> Tensor:
    """Smooth cosines [T, h, w] between -0.1 and 0.4."""
    coarse = torch.rand(1, n_queries, 4, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1) * 0.5 - 0.1


def plain(scores: Tensor, owner: list[int], scale: float, threshold: float, share: float | None) -> NDArray[np.int64]:
    """As the released code of SCLIP does it: probabilities of queries, one-hot owners, arg-max, then the threshold."""
    upsampled = F.interpolate(scores[None], SIZE, mode="bilinear", align_corners=False)[0]
    probability = (scale * upsampled).softmax(0)
    n_classes = max(owner) + 1
    mine = F.one_hot(torch.tensor(owner)).T.view(n_classes, len(owner), 1, 1)
    of_class = (probability[None] * mine).amax(1)
    if share is not None:
        area = F.one_hot(of_class.argmax(0), n_classes)[..., 1:].sum((0, 1)).float()
        of_class[1:] *= (area > share * area.sum()).float()[:, None, None]
    labels = of_class.argmax(0)
    labels[of_class.amax(0) < threshold] = 0
    return labels.numpy()


@pytest.mark.parametrize("owner", [[0, 1, 2, 3, 4], [0, 0, 0, 1, 1, 2, 3, 3, 4]], ids=["one text", "many texts"])
@pytest.mark.parametrize(("scale", "threshold"), [(40, 0.3), (40, 0.6), (10, 0.25)])
def test_a_class_below_the_threshold_is_background(owner: list[int], scale: float, threshold: float) -> None:
    scores = random_scores(len(owner), seed=len(owner))

    labels = reduce_to_labels(scores, SIZE, Reduction(np.array(owner), scale, less_probable_than(threshold)))

    expected = plain(scores, owner, scale, threshold, None)
    assert (labels == expected).mean() > 0.999  # rounding on a border
    assert 0.05 < (expected != 0).mean() < 0.95


def test_small_classes_lose_their_pixels_to_the_next_best() -> None:
    owner = [0, 1, 1, 2, 3, 4, 5]
    scores = random_scores(len(owner), seed=3)

    labels = reduce_to_labels(
        scores, SIZE, Reduction(np.array(owner), 65, less_probable_than(0.1), smallest_share=0.15)
    )

    expected = plain(scores, owner, 65, 0.1, 0.15)
    kept, all_of_them = set(np.unique(expected)), set(np.unique(plain(scores, owner, 65, 0.1, None)))
    assert kept < all_of_them
    assert (labels == expected).mean() > 0.999
