"""class_scores, presence, nobody_score, refined_scores: what every model makes of an image and words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank
from lexiseg_model.types import ClassEntry
from tests.model.conformance.asking import CLASSES, bank_of, blocks, seen
from tests.model.conformance.models import asked_of

pytestmark = asked_of(lambda model: model.words)


def test_there_is_one_map_of_scores_for_each_class(segmenter: Segmenter, features: Features, bank: TextBank) -> None:
    scores = segmenter.class_scores(features, bank)

    assert scores.shape[0] == len(CLASSES)
    assert scores.ndim == 3
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert segmenter.probability_scale > 0


def test_asking_changes_nothing_that_is_kept(segmenter: Segmenter, bank: TextBank) -> None:
    features = seen(segmenter, blocks())
    before = {name: tensor.clone() for name, tensor in features.tensors.items()}
    first = segmenter.class_scores(features, bank)

    segmenter.presence(features, bank)
    segmenter.refined_scores(features, bank)
    segmenter.nobody_score(first, None, "none", features)

    assert torch.equal(segmenter.class_scores(features, bank), first)
    assert all(torch.equal(features.tensors[name], tensor) for name, tensor in before.items())


def test_concurrent_questions_have_the_scores_of_one_alone(segmenter: Segmenter, bank: TextBank) -> None:
    # Sums are rounded by the number of threads that share them: one each, as in the worker's finish stage.
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        features = threads.submit(seen, segmenter, blocks()).result()
        answers = list(threads.map(lambda _: segmenter.class_scores(features, bank), range(4)))
        alone = threads.submit(lambda: segmenter.class_scores(seen(segmenter, blocks()), bank)).result()

    assert all(torch.equal(answer, alone) for answer in answers)


def test_a_class_is_what_the_best_of_its_texts_is_in_any_order(segmenter: Segmenter, features: Features) -> None:
    def scores(name: str, *synonyms: str) -> Tensor:
        return segmenter.class_scores(features, bank_of(segmenter, (ClassEntry(name, synonyms), ClassEntry("green"))))

    both = scores("red", "blue")

    torch.testing.assert_close(scores("blue", "red"), both)
    torch.testing.assert_close(scores("red", "blue", "red"), both)
    assert not (torch.allclose(scores("red"), both) and torch.allclose(scores("blue"), both))


def test_each_class_has_a_presence(segmenter: Segmenter, features: Features, bank: TextBank) -> None:
    presence = segmenter.presence(features, bank)

    assert presence.shape == (len(CLASSES),)
    assert presence.dtype == torch.float32
    assert presence.isfinite().all()


def test_scores_refined_by_the_method_itself_are_finer_maps_of_the_same_classes(
    segmenter: Segmenter, features: Features, bank: TextBank
) -> None:
    refined = segmenter.refined_scores(features, bank)

    if refined is not None:
        coarse = segmenter.class_scores(features, bank)
        assert refined.shape[0] == len(CLASSES)
        assert refined.dtype == torch.float32
        assert refined.isfinite().all()
        assert (refined.shape[1] >= coarse.shape[1], refined.shape[2] >= coarse.shape[2]) == (True, True)


def test_a_stricter_threshold_leaves_more_to_nobody(segmenter: Segmenter, features: Features, bank: TextBank) -> None:
    logits = segmenter.class_scores(features, bank) * segmenter.probability_scale

    owned = []
    for threshold in (0.0, 0.1, 0.5, 0.9, 1.0, None):
        nobody = segmenter.nobody_score(logits, threshold, "none", features)
        assert not nobody.isnan().any()
        assert nobody.shape in ((), logits.shape[1:])
        owned.append(int((logits.amax(0) > nobody).sum()))

    assert owned[:5] == sorted(owned[:5], reverse=True)


@pytest.mark.parametrize("n_regions", [1, 5])
def test_regions_have_a_score_of_nobody_too(segmenter: Segmenter, features: Features, n_regions: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, n_regions)).astype(np.float32))

    assert segmenter.nobody_score(logits, 0.5, "none", features).shape in ((), (1, n_regions))
