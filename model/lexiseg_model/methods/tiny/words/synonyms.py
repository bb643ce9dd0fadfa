"""Words that training drew in place of others: a cyclist is asked for mostly as the bicyclist that it stood for.

A class's own name is drawn half of the time and its synonyms share the rest, so where a synonym lies is learned from
little. What they were drawn for is known: the vector of each leans towards that. Figures: docs/training.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.caches.weight import Weighed
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.settings import SynonymRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.segmenter import TextRows

MOST = 256  # texts that are kept as they lean
Projected = tuple[Tensor, Tensor]  # vectors [T, 96] and levels [T] of texts
Leaning = tuple[str, tuple[int, ...], bytes]  # a text, the places of the words that it leans towards, and its row


class _Known(NamedTuple):
    """Where each leaning text is among vectors [N, 96] and levels [N]. Never changed, but replaced."""

    places: Weighed[dict[Leaning, int]]
    vectors: Tensor
    levels: Tensor

    @property
    def nbytes(self) -> int:
        return self.places.nbytes + self.vectors.nbytes + self.levels.nbytes


class Synonyms:
    """The words of a rule that a network was trained on, with their vectors [N, 96] and levels [N]."""

    def __init__(self, rule: SynonymRule, familiar: Familiar | None, network: TinyNetwork) -> None:
        self._weight = rule.weight
        self._words: list[str] = []
        self._known: _Known | None = None
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

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of texts that lean."""
        return 0 if self._known is None else self._known.nbytes

    def lean(self, projected: Projected, owner: NDArray[np.int64], texts: Sequence[str], rows: TextRows) -> None:
        """Vectors and levels of `texts` in small letters: synonyms' are overwritten, leaning to what they stand for.

        Not towards a word that is asked for itself, nor where two classes would lean towards one: a man and a woman
        that are asked for together are not to become a person both. `rows` of the texts tell what was made before.
        """
        meant = self._meant(texts, owner)
        if not meant:
            return
        places = [*meant]
        keys = [(texts[place], words, rows[place].tobytes()) for place, words in meant.items()]
        known = self._known
        if known is None or not all(key in known.places.value for key in keys):
            known = self._known = self._learned(keys, projected, places)
        wanted = [known.places.value[key] for key in keys]
        _overwrite(projected[0], places, known.vectors, wanted)
        _overwrite(projected[1], places, known.levels, wanted)

    @torch.inference_mode()
    def _learned(self, keys: Sequence[Leaning], projected: Projected, places: Sequence[int]) -> _Known:
        """What is known, with the texts at these places, as their keys say."""
        vectors, levels = projected
        before = self._known
        if before is None or len(before.places.value) + len(keys) > MOST:
            before = _Known(Weighed({}), vectors[:0], levels[:0])
        known = before.places.value
        fresh = {key: place for key, place in zip(keys, places, strict=True) if key not in known}
        leaning = [self._leaning(words, vectors[place], levels[place]) for (_, words, _), place in fresh.items()]
        first = len(known)
        return _Known(
            Weighed({**known, **{key: first + n for n, key in enumerate(fresh)}}),
            torch.cat([before.vectors, torch.stack([vector for vector, _ in leaning])]),
            torch.cat([before.levels, torch.stack([level for _, level in leaning])]),
        )

    def _leaning(self, towards: tuple[int, ...], vector: Tensor, level: Tensor) -> Projected:
        """Vector [96] and level [] of a text that leans towards some words, in equal parts."""
        words = list(towards)
        between = torch.lerp(vector, self._vectors[words].mean(0), self._weight)
        return F.normalize(between, dim=0), torch.lerp(level, self._levels[words].mean(), self._weight)

    def _meant(self, texts: Sequence[str], owner: NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
        """Place of a text -> places of the words that it leans towards."""
        drawn_for = self._drawn_for
        leaning = [place for place, text in enumerate(texts) if text in drawn_for]
        if not leaning:
            return {}
        asked, owner_of = set(texts), owner.tolist()
        callers: dict[int, set[int]] = {}  # place of a word -> the classes that lean towards it
        for place in leaning:
            for word in drawn_for[texts[place]]:
                callers.setdefault(word, set()).add(owner_of[place])
        alone = {word for word, of in callers.items() if len(of) == 1 and self._words[word] not in asked}
        meant = {place: tuple(w for w in drawn_for[texts[place]] if w in alone) for place in leaning}
        return {place: words for place, words in meant.items() if words}


def _overwrite(rows: Tensor, places: list[int], others: Tensor, wanted: list[int]) -> None:
    if rows.device.type == "cpu":  # numpy moves a few numbers in a fraction of torch's time
        rows.numpy()[places] = others.numpy()[wanted]
    else:
        with torch.inference_mode():
            rows[places] = others[wanted]
