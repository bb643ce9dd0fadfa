"""Words of nine languages read as English: `python -m benchmarks languages`.

Needs what docs/vocabularies.md installs. `nouns.tsv` holds 200 nouns: their English, of which any counts, and one word
of each language; rules were chosen with all in view. `new_nouns.tsv` holds 40 that were written before they were tried;
one rule, which names of emoji are kept, was chosen with these in view, too. A noun is right if it is read as, or stays,
its English. Prints the share of right ones, of those read as something else, and of others of which a warning says that
they are of another language or perhaps are: for nouns alone, alone with the language named, and in lists of five.
English nouns show how often that warning is in vain. Last, all English words, in a minute of an idle core: how many
are another thing in a language where it is named, and how many of these, alone, are answered without a warning.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import print_table
from lexiseg_model import load
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.languages import WORD_LISTS, Languages, load_languages

NOUNS = tuple(Path(__file__).with_name(name) for name in ("nouns.tsv", "new_nouns.tsv"))
ENGLISH = "english"  # column of nouns, several of them apart from each other by |
COLUMNS = ["language", "words a list", "right", "wrong", "warned"]
WAYS = {"1": (1, False), "1, named": (1, True), "5": (5, False)}  # words a list, and whether its language is named


def main(_: object = ()) -> None:
    """Print the shares."""
    languages = load_languages(load("tiny").training_words())
    if not languages.codes:
        raise SystemExit("the encoder, the English words or the dictionaries are not installed: docs/vocabularies.md")
    for path in NOUNS:
        with path.open(encoding="utf-8") as file:
            nouns = list(csv.DictReader(file, delimiter="\t"))
        print_table(f"Words of {path.name} read as English", COLUMNS, _rows(languages, nouns))
    words = {word for path in WORD_LISTS.glob("*-english") for word in path.read_text("utf-8").lower().split()}
    others = [word for word in sorted(words) if _of_other_things(languages, word)]
    silent = [word for word in others if not any(languages.reading((word,)))]
    print_table(
        "English words", ["another thing elsewhere", "without a warning"], [[str(len(others)), str(len(silent))]]
    )
    print(*silent)


def _of_other_things(languages: Languages, word: str) -> list[str]:
    """The languages in which an English word is another thing."""
    readings = {code: languages.reading((word,), code).english for code in languages.looked_up(word, True)}
    return [code for code, english in readings.items() if languages.is_another_thing(english.get(word, word), word)]


def _rows(languages: Languages, nouns: list[dict[str, str]]) -> list[list[str]]:
    codes = [code for code in nouns[0] if code != ENGLISH]
    rows = []
    for way, (size, is_named) in WAYS.items():
        shares = {code: _shares(languages, nouns, code, size, code if is_named else None) for code in codes}
        shares["all"] = np.mean(list(shares.values()), axis=0)
        shares[ENGLISH] = _shares(languages, nouns, ENGLISH, size, None)
        rows += [[code, way, *(f"{share:.3f}" for share in of_code)] for code, of_code in shares.items()]
    return rows


def _shares(
    languages: Languages, nouns: list[dict[str, str]], code: str, size: int, named: str | None
) -> NDArray[np.float64]:
    """The shares [3] of nouns that are read right, that are read as something else, and of others with a warning."""
    counts = np.zeros(3)
    for start in range(0, len(nouns), size):
        part = nouns[start : start + size]
        words = Vocabulary(tuple(ClassEntry(noun[code].split("|")[0]) for noun in part))
        for noun, entry in zip(part, languages.read(words, named).classes, strict=True):
            is_right = entry.texts[0].lower() in noun[ENGLISH].split("|")
            has_warning = bool(entry.also or entry.tried) and (not is_right or code == ENGLISH)
            counts += is_right, bool(entry.read_as) and not is_right, has_warning
    return counts / len(nouns)
