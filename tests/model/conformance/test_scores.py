"""class_scores, presence, nobody_score, refined_scores: what every model makes of an image and words."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank, TextRows
from lexiseg_model.types import ClassEntry
from tests.model.conformance.asking import CLASSES, bank_of, blocks
from tests.model.conformance.conftest import Loaded
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
    features = segmenter.encode(blocks())
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
        features = threads.submit(segmenter.encode, blocks()).result()
        answers = list(threads.map(lambda _: segmenter.class_scores(features, bank), range(4)))
        alone = threads.submit(lambda: segmenter.class_scores(segmenter.encode(blocks()), bank)).result()

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


NAMES = [text for entry in CLASSES for text in entry.texts]


def test_texts_come_class_by_class_name_first(segmenter: Segmenter) -> None:
    texts = segmenter.texts(CLASSES)

    n_templates, rest = divmod(len(texts), len(NAMES))
    assert (n_templates >= 1, rest) == (True, 0)
    in_order = [name for name in NAMES for _ in range(n_templates)]
    assert all(name in text for name, text in zip(in_order, texts, strict=True))


def test_there_is_one_row_for_each_text_in_the_type_that_is_kept(loaded: Loaded) -> None:
    texts = loaded.segmenter.texts(CLASSES)

    rows = loaded.segmenter.encode_texts(texts)

    assert rows.shape[:1] == (len(texts),)
    assert rows.ndim == 2
    assert rows.dtype in ((np.float16,) if loaded.precision == "fast" else (np.float16, np.float32))
    assert np.isfinite(rows).all()


def test_a_row_in_company_is_the_row_alone(segmenter: Segmenter) -> None:
    texts = segmenter.texts(CLASSES)[::7] + segmenter.texts((ClassEntry("an old wooden rowing boat"),))[:1]

    together = segmenter.encode_texts(texts).astype(np.float32)

    alone = np.concatenate([segmenter.encode_texts([text]) for text in texts]).astype(np.float32)
    np.testing.assert_allclose(together, alone, atol=2e-3, rtol=2e-3)  # some steps of fp16


def test_a_bank_says_of_each_vector_whose_it_is(segmenter: Segmenter) -> None:
    bank = bank_of(segmenter)

    n_each, rest = divmod(len(bank.vectors), len(NAMES))
    assert (n_each >= 1, rest) == (True, 0)
    assert bank.n_classes == len(CLASSES)
    assert bank.vectors.dtype == torch.float32
    assert bank.owner.tolist() == [k for k, entry in enumerate(CLASSES) for _ in range(n_each * len(entry.texts))]


def test_the_vectors_of_a_class_do_not_depend_on_the_others(segmenter: Segmenter) -> None:
    rows = segmenter.encode_texts(segmenter.texts(CLASSES))
    per_text = len(rows) // len(NAMES)

    together = segmenter.text_bank(CLASSES, rows)

    last = rows[-per_text * len(CLASSES[-1].texts) :]
    alone = segmenter.text_bank(CLASSES[-1:], last)
    torch.testing.assert_close(together.vectors[-len(alone.vectors) :], alone.vectors)


@pytest.mark.parametrize("wrong", ["a row too few", "a row too many", "a number too few", "a flat list"])
def test_rows_that_are_not_those_of_the_classes_are_refused(segmenter: Segmenter, wrong: str) -> None:
    rows = segmenter.encode_texts(segmenter.texts(CLASSES))
    broken = {
        "a row too few": rows[1:],
        "a row too many": np.concatenate([rows, rows[:1]]),
        "a number too few": rows[:, 1:],
        "a flat list": rows.reshape(-1),
    }[wrong]

    with pytest.raises(ShapeError, match=rf"expected text rows \[{len(rows)}, {rows.shape[1]}\], got"):
        segmenter.text_bank(CLASSES, cast(TextRows, broken))


def test_what_texts_mean_is_a_unit_vector_for_each(segmenter: Segmenter) -> None:
    rows = segmenter.encode_texts(segmenter.texts(CLASSES))

    meant = segmenter.meaning(CLASSES, rows)

    assert meant.dtype == np.float32
    assert len(meant) == len(NAMES)
    np.testing.assert_allclose(np.linalg.norm(meant, axis=1), 1, atol=2e-3)
