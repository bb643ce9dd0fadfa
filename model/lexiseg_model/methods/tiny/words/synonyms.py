"""Words that training drew in place of others: a cyclist is asked for mostly as the bicyclist that it stood for.

A class's own name is drawn half of the time and its synonyms share the rest, so where a synonym lies is learned from
little. What they were drawn for is known: the vector of each leans towards that. Figures: docs/training.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.settings import SynonymRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import ClassEntry


class Synonyms:
    """The words of a rule that a network was trained on, with their vectors [N, 96] and levels [N]."""

    def __init__(self, rule: SynonymRule, familiar: Familiar | None, network: TinyNetwork) -> None:
        self._weight = rule.weight
        self._words: list[str] = []
        self._drawn_for: dict[str, list[int]] = {}  # synonym -> places of the words that it was drawn for
        places = {} if familiar is None else {word: place for place, word in enumerate(familiar.words)}
        for word in (word for word in rule.of if word in places):
            for synonym in rule.of[word]:
                self._drawn_for.setdefault(synonym, []).append(len(self._words))
            self._words.append(word)
        if familiar is not None and self._words:
            rows = torch.from_numpy(familiar.rows[[places[word] for word in self._words]])
            with torch.no_grad():
                there = rows.to(network.text_level.device)
                self._vectors, self._levels = network.project_texts(there), network.levels_of(there)

    def leant(self, bank: TextBank, classes: Sequence[ClassEntry]) -> TextBank:
        """The bank of the texts of `classes`, whose synonyms lean towards the words that they were drawn for.

        Not towards a word that is asked for itself, nor where two classes would lean towards one: a man and a woman
        that are asked for together are not to become a person both.
        """
        texts = [text.lower() for entry in classes for text in entry.texts]
        meant = self._meant(texts, bank.owner.tolist())
        if not meant:
            return bank
        shares = np.zeros((len(meant), len(self._words)), np.float32)
        for of_text, words in zip(shares, meant.values(), strict=True):
            of_text[words] = 1 / len(words)
        towards = torch.from_numpy(shares).to(self._vectors.device)  # [M, N], each text's words in equal parts
        places = torch.tensor(list(meant), device=towards.device)
        between = torch.lerp(bank.vectors[places], towards @ self._vectors, self._weight)
        vectors = F.normalize(between, dim=1)
        leaning = replace(bank, vectors=bank.vectors.index_copy(0, places, vectors))
        if bank.levels is None:
            return leaning
        levels = torch.lerp(bank.levels[places], towards @ self._levels, self._weight)
        return replace(leaning, levels=bank.levels.index_copy(0, places, levels))

    def _meant(self, texts: list[str], owner: list[int]) -> dict[int, list[int]]:
        """Place of a text -> places of the words that it leans towards."""
        asked = set(texts)
        callers: dict[int, set[int]] = {}  # place of a word -> the classes that lean towards it
        for text, index in zip(texts, owner, strict=True):
            for word in self._drawn_for.get(text, ()):
                callers.setdefault(word, set()).add(index)
        alone = {word for word, of in callers.items() if len(of) == 1 and self._words[word] not in asked}
        meant = {place: [w for w in self._drawn_for.get(text, ()) if w in alone] for place, text in enumerate(texts)}
        return {place: words for place, words in meant.items() if words}
