"""texts, encode_texts, text_bank, meaning: what every model makes of words."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch

from lexiseg_model.errors import ShapeError
from lexiseg_model.segmenter import Segmenter, TextRows
from lexiseg_model.types import ClassEntry
from tests.model.conformance.asking import CLASSES, bank_of
from tests.model.conformance.conftest import Loaded
from tests.model.conformance.models import asked_of

pytestmark = asked_of(lambda model: model.words)
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
