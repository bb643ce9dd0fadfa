"""How far asked words are drawn together: `raised` and `mixed` of a `TogetherRule`, fitted on training photographs.

A photograph is asked for what it shows, by its names and by other words for them, and for some of it with words that it
does not show. The loss is the cross-entropy of the labelled cells; a rare word's weigh as much as all others.

python -m lexiseg_train.methods.tiny.together ROOT SET ...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.scores import share_of, together
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TogetherRule
from lexiseg_model.methods.tiny.teaching import cell_labels
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.scoring import score
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, evenly_spread, read_dataset
from lexiseg_train.methods.tiny.publish import MIN_SHARE
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook

PHOTOGRAPHS = 60  # of a set
PRESENT, ABSENT = 3, 3  # words of a question for what is not all there
FEWEST = 0.01  # share of the labelled cells that the rarest word counts as
STEPS = 20


class Question(NamedTuple):
    """Scores [K, h, w] of words by themselves, the background's [h, w], embeddings [D, h, w], and `labels` [h, w]: the
    word of a cell, K for none of them, below 0 if unknown."""

    scores: Tensor
    background: Tensor
    pixels: Tensor
    labels: Tensor


def questions(segmenter: TinySegmenter, data: IndexedDataset, random: np.random.Generator) -> Iterator[Question]:
    book, rows_of = TextBook.read(TEXTS), KnownRows(segmenter)
    names = [*data.named.values()]
    for sample in evenly_spread(data.samples, PHOTOGRAPHS):
        image, mask = sample.read(len(data.classes))
        features = segmenter.encode(image)
        present = [name for name in names if (mask == data.classes.index(name)).mean() >= MIN_SHARE]
        absent = [name for name in names if not (mask == data.classes.index(name)).any()]
        some = [*random.permutation(present)[:PRESENT].tolist(), *random.permutation(absent)[:ABSENT].tolist()]
        other = [
            str(random.choice([*book.synonyms.get(name, ()), *book.finer.get(name, ()), name])) for name in present
        ]
        for labels, words in ((present, present), (present, other), (some, some)):
            if len(labels) > 1 and len(set(words)) == len(words):
                values = np.full(IGNORE + 1, len(labels))
                values[IGNORE] = -1
                values[[data.classes.index(name) for name in labels]] = np.arange(len(labels))
                yield _question(segmenter, features, words, values[mask], rows_of)


def _question(
    segmenter: TinySegmenter, features: Features, words: Sequence[str], labels: NDArray[np.int64], rows_of: KnownRows
) -> Question:
    vocabulary = segmenter.explained(Vocabulary(tuple(map(ClassEntry, words)), Background()))
    bank, pixels = bank_of(segmenter, vocabulary, rows_of), features.tensors["pixels"]
    of_cells = cell_labels(labels, (pixels.shape[1], pixels.shape[2]))
    background = score(segmenter, features, vocabulary, bank).logits[-1]
    scores = segmenter.class_scores(features, bank)[: len(words)]
    # Copies can take part in a gradient, unlike tensors of the inference mode.
    return Question(scores.clone(), background.clone(), pixels.clone(), torch.from_numpy(of_cells).long())


def loss(batch: Sequence[Question], rule: TogetherRule, scale: Tensor) -> Tensor:
    return torch.stack([_loss(question, rule, scale) for question in batch]).mean()


def _loss(question: Question, rule: TogetherRule, scale: Tensor) -> Tensor:
    labelled = question.labels >= 0
    share = share_of(rule, torch.tensor(len(question.scores)))
    scores = together(question.scores, question.pixels.float(), scale, rule, share)
    logits, labels = torch.cat([scores, question.background[None]])[:, labelled].T, question.labels[labelled]
    shares = torch.bincount(labels, minlength=logits.shape[1]) / len(labels)
    weights = 1 + 1 / (shares.clamp_min(FEWEST) * (shares > 0).sum())  # as the cells are, and all words alike
    return F.cross_entropy(logits, labels, weights)


def fit(batch: Sequence[Question], scale: float, rule: TogetherRule) -> TogetherRule:
    """The rule with the `raised` and `mixed` of the lowest loss."""
    constants, at = torch.tensor([rule.raised, rule.mixed], requires_grad=True), torch.tensor(scale)
    solver = torch.optim.LBFGS([constants], max_iter=STEPS, line_search_fn="strong_wolfe")

    def step() -> float:
        solver.zero_grad()
        raised, mixed = constants.unbind()
        value = loss(batch, rule.model_copy(update={"raised": raised, "mixed": mixed}), at)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    solver.step(step)  # type: ignore[no-untyped-call]
    raised, mixed = (round(min(max(constant, 0.01), 1.0), 2) for constant in constants.tolist())
    return rule.model_copy(update={"raised": raised, "mixed": mixed})


if __name__ == "__main__":
    root, names = Path(sys.argv[1]), sys.argv[2:]
    model, draw = catalogue.load("tiny", device="cpu", precision="exact"), np.random.default_rng(0)
    assert isinstance(model, TinySegmenter)
    examples = [each for name in names for each in questions(model, read_dataset(root, name, "train"), draw)]
    print(fit(examples, model.network.log_scale.exp().item(), model.settings.together))
