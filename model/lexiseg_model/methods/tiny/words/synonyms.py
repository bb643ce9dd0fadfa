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
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.settings import SynonymRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.segmenter import TextBank, TextRows

MOST = 256  # texts that are kept as they lean
Leaning = tuple[str, tuple[int, ...], bytes]  # a text, the places of the words that it leans towards, and its row


class Synonyms:
    """The words of a rule that a network was trained on, with their vectors [N, 96] and levels [N]."""

    def __init__(self, rule: SynonymRule, familiar: Familiar | None, network: TinyNetwork) -> None:
        self._weight = rule.weight
        self._words: list[str] = []
        self._known: dict[Leaning, tuple[Tensor, Tensor]] = {}
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

    def leant(self, bank: TextBank, texts: Sequence[str], rows: TextRows) -> TextBank:
        """The bank of `texts` in small letters, whose synonyms lean towards the words that they were drawn for.

        Not towards a word that is asked for itself, nor where two classes would lean towards one: a man and a woman
        that are asked for together are not to become a person both. `rows` of the texts tell what was made before.
        """
        meant = self._meant(texts, bank.owner)
        if not meant:
            return bank
        leaning = [
            self._leaning((texts[place], words, rows[place].tobytes()), bank, place) for place, words in meant.items()
        ]
        places = torch.tensor(list(meant), device=bank.vectors.device)
        vectors = bank.vectors.index_copy(0, places, torch.stack([vector for vector, _ in leaning]))
        if bank.levels is None:
            return replace(bank, vectors=vectors)
        levels = bank.levels.index_copy(0, places, torch.stack([level for _, level in leaning]))
        return replace(bank, vectors=vectors, levels=levels)

    def _leaning(self, key: Leaning, bank: TextBank, place: int) -> tuple[Tensor, Tensor]:
        """Vector [96] and level [] of a text of the bank that leans towards some words, in equal parts."""
        known = self._known.get(key)
        if known is not None:
            return known
        words = list(key[1])
        between = torch.lerp(bank.vectors[place], self._vectors[words].mean(0), self._weight)
        level = bank.vectors.new_zeros(())
        if bank.levels is not None:
            level = torch.lerp(bank.levels[place], self._levels[words].mean(), self._weight)
        made = F.normalize(between, dim=0), level
        self._known = {**(self._known if len(self._known) < MOST else {}), key: made}
        return made

    def _meant(self, texts: Sequence[str], owner: NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
        """Place of a text -> places of the words that it leans towards."""
        drawn_for = self._drawn_for
        leaning = [place for place, text in enumerate(texts) if text in drawn_for]
        if not leaning:
            return {}
        asked = set(texts)
        callers: dict[int, set[int]] = {}  # place of a word -> the classes that lean towards it
        for place in leaning:
            for word in drawn_for[texts[place]]:
                callers.setdefault(word, set()).add(int(owner[place]))
        alone = {word for word, of in callers.items() if len(of) == 1 and self._words[word] not in asked}
        meant = {place: tuple(w for w in drawn_for[texts[place]] if w in alone) for place in leaning}
        return {place: words for place, words in meant.items() if words}
