"""Benchmark runs of a model with known answers: background rules, mistakes, resumption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lexiseg_model.data.annotated import AnnotatedSet, Labels
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.benchmarks.protocol import DatasetRule
from lexiseg_model.evaluation.benchmarks.run import benchmark_run, total_counts
from lexiseg_model.evaluation.counts import Counts, scores
from lexiseg_model.features import Features
from lexiseg_model.types import Refinement
from tests.model.evaluation.colours import Painting, colours, rule
from tests.model.stand_in import ColourSegmenter

STRIPES = (["rrgg"], ["0011"])


class Probable(ColourSegmenter):
    """Nobody wins where no text is probable enough, as in the CLIP family."""

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        return logits.logsumexp(0) + torch.tensor(0.5 if threshold is None else threshold).log()


class Guided(ColourSegmenter):
    """Keeps a guide, so that its answers can be refined by colours."""

    def guide(self, features: Features) -> Tensor:
        return features.tensors["pixels"][:3].float()


def evaluate(
    segmenter: ColourSegmenter,
    data: AnnotatedSet,
    rules: DatasetRule,
    progress: Path,
    refine: Refinement = "none",
) -> Counts:
    records = benchmark_run(segmenter, data, rules, refine, progress).run()
    return total_counts(records, len(data.benchmark.classes))


def test_mistakes_and_ignored_pixels_are_counted(tmp_path: Path) -> None:
    data = colours(["red", "green", "blue"], (["rrgg", "rgrg"], ["0111", "xxxx"]))

    counts = evaluate(ColourSegmenter(), data, rule(), tmp_path)

    assert (counts.truth.tolist(), counts.predicted.tolist(), counts.hits.tolist()) == ([1, 3, 0], [2, 2, 0], [1, 2, 0])


def test_the_methods_own_rule_answers_for_a_background_without_text(tmp_path: Path) -> None:
    data = colours(["background", "red", "green"], (["r.gb"], ["1020"]))
    segmenter = ColourSegmenter()

    counts = evaluate(segmenter, data, rule("own"), tmp_path)

    assert scores(counts).miou == 100
    assert segmenter.asked == ["red", "green"]


def test_a_threshold_of_probability_is_tested_at_the_best_text(tmp_path: Path) -> None:
    data = colours(["background", "red", "green"], (["r.ga"], ["1020"]))

    # Amber is 0.8 red and 0.6 green: red is e^1.6 = 5 times as probable, 0.83. Black is half red, half green.
    strict = evaluate(Probable(), data, rule(0.9), tmp_path)
    lax = evaluate(Probable(), data, rule(0.6), tmp_path)

    assert strict.hits.tolist() == [2, 1, 1]
    assert lax.predicted.tolist() == [1, 2, 1]


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
    class Torn(Painting):
        def read_labels(self) -> Labels:
            raise DatasetError("torn")

    data = colours(["red", "green"], STRIPES)
    torn = replace(data, images=(*data.images, Torn("torn", ("r",), ("0",))))
    with pytest.raises(DatasetError, match="torn"):
        evaluate(ColourSegmenter(), torn, rule(), tmp_path)

    cases: list[tuple[DatasetRule, Refinement]] = [(rule(), "none"), (rule(scale=2.0), "none"), (rule(), "pamr")]
    done = [benchmark_run(ColourSegmenter(), torn, rules, refine, tmp_path).done for rules, refine in cases]

    assert done == [1, 0, 0]
