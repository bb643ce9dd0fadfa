"""What a dry run of `tiny` measures with where data is not ready: a few photographs of each set, a few texts.

What all of them take is told by those few.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.training.recipe import TEXTS, TinyRecipe
from lexiseg_model.methods.tiny.training.sources import make_pack, n_photographs
from lexiseg_model.methods.tiny.training.texts import KeptRows, TextBook, TextEncoder
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.training.packs import Pack, Photograph, open_pack
from lexiseg_model.training.recipes.training import Rehearsal

FEW, FEW_TEXTS = 5, 16  # one photograph warms up
MIB = 2**20


class Ready(NamedTuple):
    """The packs of a rehearsal: of all photographs, or of few and `lacking` as many in all."""

    pack: Pack
    lacking: float  # photographs of the set for one of the pack; 1 where the pack is whole
    seconds: float  # to make the whole pack
    nbytes: int  # of the whole pack


class FewTexts:
    """Rows of texts that are kept already, and of others such as they might be; `seconds`: what these will take."""

    def __init__(self, folder: Path) -> None:
        tower = load_text_tower()
        self._tower: TextEncoder = tower
        self._known = KeptRows(tower, tower.digest, folder).known()
        self.lacking, self.seconds = 0, 0.0

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """[T, D] of unit length."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        some = self._tower.encode(fresh[:FEW_TEXTS] or texts[:1])
        began = time.perf_counter()
        self._tower.encode(fresh[:FEW_TEXTS])
        self.lacking = len(fresh)
        self.seconds = (time.perf_counter() - began) * len(fresh) / max(1, min(FEW_TEXTS, len(fresh)))
        made = np.random.default_rng(0).standard_normal((len(fresh), some.shape[1]), np.float32)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        rows = self._known | dict(zip(fresh, made, strict=True))
        return np.stack([rows[text] for text in texts])


def rehearse_words(recipe: TinyRecipe, folder: Path) -> Rehearsal:
    """Of `tiny`."""
    ready = _packs(recipe.data, recipe.packs, folder / "packs", recipe.sets)
    texts = FewTexts(recipe.texts or recipe.packs)
    trainer = TinyTrainer(recipe.model_copy(update={"packs": folder / "packs", "out": folder / "run"}), texts)
    # On a processor they stay in a mapped file.
    more = sum(round(each.pack.pixels.nbytes * (each.lacking - 1)) for each in ready)
    said, seconds = _told(ready, recipe.packs, texts)
    return Rehearsal(trainer, said, seconds, 0 if trainer.device.type == "cpu" else more)


def _packs(data: Path, packs: Path, folder: Path, names: Iterable[str]) -> list[Ready]:
    book = TextBook.read(TEXTS)
    folder.mkdir()
    ready = []
    for name in names:
        if (packs / name).is_dir():
            (folder / name).symlink_to((packs / name).resolve())
            ready.append(Ready(open_pack(folder / name), 1.0, 0.0, 0))
            continue
        times: list[float] = []
        pack = make_pack(data, folder, name, book, frozenset(), _few(times))
        lacking = n_photographs(data / name) / len(pack)
        seconds = lacking * len(pack) * float(np.mean(np.diff(times))) if len(times) > 1 else 0.0
        ready.append(Ready(pack, lacking, seconds, round(lacking * (pack.pixels.nbytes + pack.labels.nbytes))))
    return ready


def _few(times: list[float]) -> Callable[[Iterator[Photograph]], Iterator[Photograph]]:
    def through(photographs: Iterator[Photograph]) -> Iterator[Photograph]:
        for photograph in islice(photographs, FEW):
            times.append(time.perf_counter())
            yield photograph

    return through


def _told(ready: list[Ready], packs: Path, texts: FewTexts) -> tuple[str, float]:
    """What is made before the first step, in words, and how long that takes."""
    missing = [each for each in ready if each.nbytes]
    parts, seconds = [], 0.0
    if missing:
        size = sum(each.nbytes for each in missing) / MIB
        parts.append(f"{len(missing)} of {len(ready)} sets are decoded, once, into {packs} ({size:,.0f} MiB)")
        seconds += sum(each.seconds for each in missing)
    if texts.lacking:
        parts.append(f"{texts.lacking:,} texts are encoded")
        seconds += texts.seconds
    return (f"{', '.join(parts)}: about {seconds / 60:.1f} minutes, by a few of each" if parts else ""), seconds
