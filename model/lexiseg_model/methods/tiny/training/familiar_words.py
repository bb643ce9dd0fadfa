"""Puts the words of training beside weights: `familiar.safetensors`, for warnings about words far from all of them.

    python -m lexiseg_model.methods.tiny.training.familiar_words FOLDER ../shared/data/voc/classes.json ...

FOLDER is a model directory; the lists are JSON, as data sets have them. The words of the background rule and the
synonyms of the recipe are added. The bound is where one in twenty synonyms would lie, had it been left out of training.

    python -m lexiseg_model.methods.tiny.training.familiar_words --foreign FOLDER VOCABULARY.json ...

adds the direction in the text tower's space that tells words of other languages, and nonsense, from English ones. The
lists are vocabularies, whose class names count as English. Needs `pip install wordfreq scikit-learn`: frequent words of
twelve languages that English hardly has stand for foreign ones, frequent words that only English has for the others.
Prints how often either is mistaken, of words that the fit has not seen.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import BACKGROUND, CLASSES
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import FILE, INT8_SCALE, read_familiar, unit_rows
from lexiseg_model.methods.tiny.words.text_tower import MiniLM, load_text_tower

STRANGERS = 5  # percent of the synonyms that would be strangers
LANGUAGES = ("de", "es", "fr", "it", "pt", "nl", "pl", "sv", "da", "fi", "cs", "tr")
OFTEN, RARELY, APART = 3.5, 5.0, 0.6  # Zipf frequencies: at least, below, and the least difference
PER_LANGUAGE, N_ENGLISH, N_NONSENSE = 1200, 8000, 1500
WEIGHT_OF_NAMES, WEIGHT_OF_FOREIGN = 3.0, 0.4
INVERSE_PENALTY = 10.0
CONSONANTS, VOWELS, LETTERS = "bcdfghjklmnprstvwxyz", "aeiou", "abcdefghijklmnopqrstuvwxyz"


def write(folder: Path, names: Iterable[str], synonyms: dict[str, list[str]], tower: MiniLM) -> float:
    """Writes the file and returns the bound.

    Args:
        folder: a model directory.
        names: of the classes that training asked for.
        synonyms: other words for some of them; those of names that were not asked for do not count.
        tower: of the model.
    """
    own = list(dict.fromkeys(name for name in names if name != BACKGROUND))
    others = [word for name in own for word in synonyms.get(name, []) if word not in own]
    words = list(dict.fromkeys([*own, *others]))
    rows = tower.encode([TEMPLATE.format(word) for word in words]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    left_out = cosines.max(1)[len(own) :]
    bound = float(np.percentile(left_out if len(left_out) else cosines.max(1), STRANGERS))
    write_familiar(folder, words, rows, round(bound, 2), tower.digest)
    return round(bound, 2)


def write_familiar(
    folder: Path,
    words: Sequence[str],
    rows: NDArray[np.floating],
    bound: float,
    text_digest: str,
    foreign: NDArray[np.float32] | None = None,
) -> None:
    """Write words, rows [N, D], bound and the direction of foreign words [D + 1] beside the weights."""
    said = {"words": json.dumps(list(words), ensure_ascii=False), "bound": f"{bound:.2f}", "text_digest": text_digest}
    tensors: dict[str, NDArray[Any]] = {
        "rows": np.rint(unit_rows(rows.astype(np.float32)) * INT8_SCALE).astype(np.int8)
    }
    save_file(tensors | ({} if foreign is None else {"foreign": foreign}), folder / FILE, said)


def names_of(data: Path, sets: Iterable[str]) -> list[str]:
    """The names that data sets have: of their class lists, or of photographs as wholes."""
    names: list[str] = []
    for folder in (data / name for name in sets):
        if (folder / CLASSES).exists():
            names += json.loads((folder / CLASSES).read_text())
        if (folder / "labels.json").exists():
            names += [name for of_file in json.loads((folder / "labels.json").read_text()).values() for name in of_file]
    return names


def main(folder: Path, lists: list[Path], texts: Path) -> None:
    """Reads the lists and writes the file."""
    names = [name for path in lists for name in json.loads(path.read_text())]
    names += catalogue.read_card(folder).background.words
    bound = write(folder, names, yaml.safe_load(texts.read_text())["synonyms"], load_text_tower())
    print(f"{len(set(names))} names; a word is familiar from a likeness of {bound}")


def foreign_words(chance: random.Random) -> list[str]:
    """Frequent words of other languages, and drawn nonsense."""
    from wordfreq import top_n_list, zipf_frequency

    words: list[str] = []
    for language in LANGUAGES:
        own = [
            word
            for word in top_n_list(language, 20_000)
            if len(word) >= 3 and word.isalpha() and _is_of(word, language, zipf_frequency(word, "en"))
        ]
        words += chance.sample(own, min(PER_LANGUAGE, len(own)))
    nonsense = {_nonsense(chance) for _ in range(N_NONSENSE)}
    return words + sorted(word for word in nonsense if zipf_frequency(word, "en") < OFTEN)


def english_words() -> list[str]:
    """Frequent English words that are not as frequent elsewhere."""
    from wordfreq import top_n_list, zipf_frequency

    def is_english(word: str) -> bool:
        own: float = zipf_frequency(word, "en")
        return all(zipf_frequency(word, language) < own - 0.4 for language in LANGUAGES[:6])

    frequent = top_n_list("en", 20_000)
    return [word for word in frequent if len(word) >= 3 and word.isalpha() and is_english(word)][:N_ENGLISH]


def direction(
    english: NDArray[np.float32], names: NDArray[np.float32], foreign: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A direction [D + 1], the last of it an offset: its product with a row and 1 is above 0 for foreign words.

    Args:
        english: unit rows [E, D].
        names: unit rows of class names.
        foreign: unit rows of foreign words.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([english, names, foreign])
    is_foreign = np.repeat([0, 0, 1], [len(english), len(names), len(foreign)])
    weights = np.repeat([1.0, WEIGHT_OF_NAMES, WEIGHT_OF_FOREIGN], [len(english), len(names), len(foreign)])
    found = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(rows, is_foreign, sample_weight=weights)
    return np.append(found.coef_[0], found.intercept_).astype(np.float32)


def fit_foreign(folder: Path, lists: Sequence[Path]) -> None:
    """Fits on half of the words, prints how the other half does, and writes the fit of all."""
    tower = load_text_tower()
    familiar = read_familiar(folder, tower.digest)
    assert familiar is not None, f"{folder} has no words of training"
    chance = random.Random(0)
    names = {entry["name"].replace("_", " ").lower() for path in lists for entry in _classes(path)}
    sets = []
    for words in (english_words(), sorted(names | set(familiar.words)), foreign_words(chance)):
        chance.shuffle(words)
        sets.append(tower.encode([TEMPLATE.format(word) for word in words]))
    held_out = direction(*(rows[::2] for rows in sets))
    for kind, rows in zip(("English words", "class names", "foreign words"), sets, strict=True):
        print(f"{kind}: {100 * (rows[1::2] @ held_out[:-1] + held_out[-1] > 0).mean():.1f} % are called foreign")
    rows = tower.encode([TEMPLATE.format(word) for word in familiar.words])
    write_familiar(folder, familiar.words, rows, familiar.bound, tower.digest, direction(*sets))


def _is_of(word: str, language: str, in_english: float) -> bool:
    """Whether a word is frequent in a language, and not in English."""
    from wordfreq import zipf_frequency

    own: float = zipf_frequency(word, language)
    return own >= OFTEN and in_english < min(RARELY, own - APART)


def _nonsense(chance: random.Random) -> str:
    if chance.random() < 0.4:
        return "".join(chance.choice(LETTERS) for _ in range(chance.randint(4, 8)))
    syllables = (
        chance.choice(CONSONANTS) + chance.choice(["", chance.choice("lr")]) + chance.choice(VOWELS)
        for _ in range(chance.randint(2, 3))
    )
    return "".join(syllables) + chance.choice(["", "n", "p", "sk", "x"])


def _classes(path: Path) -> list[dict[str, str]]:
    classes: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["classes"]
    return classes


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == "--foreign":
        fit_foreign(Path(words[1]), [Path(name) for name in words[2:]])
    else:
        main(Path(words[0]), [Path(name) for name in words[1:]], Path(__file__).parent / "texts.yaml")
