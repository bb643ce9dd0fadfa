"""Products of texts and cells, compiled and by numpy: alike but for the last digits, and for every order of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model import catalogue
from lexiseg_model.kernel.cell_scores import Asked, PresenceRule, cell_scores, fit, scores_by_presence
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of, words_as_one
from lexiseg_model.vocabulary.scoring import score_vocabulary
from tests.kernel import both_ways

DEPTH = 16


@pytest.fixture(autouse=True)
def processor() -> None:
    if not fit(DEPTH):
        pytest.skip("this processor leaves products to torch")


def drawn(n_texts: int, n: int) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]:
    """Cells [D, n], vectors [T, D] and what is added [T]."""
    rng = np.random.default_rng(n_texts * n)
    cells, vectors = rng.normal(size=(DEPTH, n)), rng.normal(size=(n_texts, DEPTH))
    return cells.astype(np.float16), vectors.astype(np.float32), rng.normal(size=n_texts).astype(np.float32)


# Texts that come out even with the kernel's groups of 13, 6, 4 and 3, and that do not; cells likewise, with 32 and 16.
@pytest.mark.parametrize(("n_texts", "n"), [(26, 64), (39, 70), (1, 1), (12, 33), (5, 15), (150, 31)])
def test_one_text_a_row(n_texts: int, n: int) -> None:
    cells, vectors, added = drawn(n_texts, n)

    scores = cell_scores(cells, vectors, added, np.arange(n_texts))

    np.testing.assert_allclose(scores, vectors @ cells.astype(np.float32) + added[:, None], rtol=0, atol=1e-5)


@pytest.mark.parametrize("owner", [[0, 0, 0, 1, 2, 2], [0] * 20, [0, 1, 2, *[3] * 17]])
def test_of_several_texts_the_best(owner: list[int]) -> None:
    cells, vectors, added = drawn(len(owner), 37)

    scores = cell_scores(cells, vectors, added, np.array(owner))

    of_texts = vectors @ cells.astype(np.float32) + added[:, None]
    best = np.stack([of_texts[np.array(owner) == row].max(0) for row in range(owner[-1] + 1)])
    np.testing.assert_allclose(scores, best, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [1, 37, 64])
def test_cells_one_after_the_other_score_the_same(n: int) -> None:
    cells, vectors, added = drawn(20, n)

    in_turn = cell_scores(np.asfortranarray(cells), vectors, added, np.arange(20))

    np.testing.assert_array_equal(in_turn, cell_scores(cells, vectors, added, np.arange(20)))


def test_a_depth_that_does_not_come_out_even_is_left_to_others() -> None:
    assert not fit(DEPTH + 1)


@pytest.mark.parametrize("background", [Background(), Background(words=("wall",)), Background(words=()), None])
def test_tiny_scores_alike_with_and_without(background: Background | None) -> None:
    tiny = catalogue.load("tiny", device="cpu")
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    plan = tiny.plan(rgb)
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    classes = tuple(ClassEntry(name, ("a thing",) * (name == "cat")) for name in ("dog", "cat", "tree"))
    vocabulary = Vocabulary(classes, background)

    compiled, plain = both_ways(
        lambda: score_vocabulary(tiny, features, vocabulary, tiny.encode_texts, tidy=False).numpy()
    )

    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-4)


def test_a_bank_says_how_many_of_its_classes_are_background_words() -> None:
    tiny = catalogue.load("tiny", device="cpu")
    vocabulary = Vocabulary((ClassEntry("lion"), ClassEntry("piano")), Background(words=("wall", "sky")))

    bank = bank_of(tiny, vocabulary, tiny.encode_texts)

    assert (bank.n_classes, bank.n_background) == (4, 2)
    as_one = words_as_one(bank)
    assert (as_one.n_classes, as_one.n_background, as_one.owner.tolist()) == (3, 1, [0, 1, 2, 2])


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("levels", [True, False])
@pytest.mark.parametrize("n_coarse", [1, 37, 108])
def test_presence_is_part_of_the_scores(order: Callable[..., Any], levels: bool, n_coarse: int) -> None:
    n_texts, rule = 20, PresenceRule(9.5, -3.0, 0.45, -6.0)
    pixels, vectors, _ = drawn(n_texts, 70)
    coarse, directions, level = drawn(n_texts, n_coarse)
    image = coarse[:, 0].copy()
    asked = Asked(directions, vectors, level if levels else None, np.arange(n_texts) // 2)

    scores, presence = scores_by_presence(order(pixels), order(coarse), image, asked, rule)

    likeness = directions.astype(np.float64) @ coarse
    expected = 9.5 * (directions.astype(np.float64) @ image) + np.log(np.exp(likeness).mean(1)) - 3.0
    np.testing.assert_allclose(presence, expected, rtol=1e-5, atol=1e-5)
    added = 0.45 * np.maximum(-np.log1p(np.exp(-expected)), -6.0) + (level if levels else 0)
    of_texts = vectors @ pixels.astype(np.float32) + added[:, None]
    np.testing.assert_allclose(scores, of_texts.reshape(10, 2, -1).max(1), rtol=0, atol=2e-5)
