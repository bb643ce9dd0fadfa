"""Which meanings of the words of a request an image shows."""

from __future__ import annotations

from itertools import islice

from lexiseg_labels.answers import Sense
from lexiseg_model.tasks.options import Query
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of


def chosen_senses(query: Query) -> tuple[Sense, ...]:
    """Of each class with senses the one that is most present in the image, and its others."""
    explained = [(index, entry) for index, entry in enumerate(query.vocabulary.classes) if entry.senses and entry.names]
    if not explained:
        return ()
    texts = tuple(ClassEntry(text) for _, entry in explained for text in entry.texts[len(entry.names) :])
    bank = bank_of(query.segmenter, Vocabulary(texts, None), query.rows_of)
    presence = iter(query.segmenter.whole_image(query.features, bank).tolist())
    answers = []
    for index, entry in explained:
        of_senses = dict(zip(entry.senses, islice(presence, len(entry.senses)), strict=True))
        best = max(of_senses, key=of_senses.__getitem__)
        answers.append(Sense(index, best, tuple(sense for sense in entry.senses if sense != best)))
    return tuple(answers)
