"""Words of seven languages read as English: `python -m benchmarks languages`.

Needs what docs/vocabularies.md installs. `nouns.tsv` holds 100 nouns: their English, of which any counts, and one word
of each language. A noun is right if it is read as, or stays, its English. Prints the share of right and of wrong ones,
for nouns alone and in lists of five.
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

from benchmarks.timing import print_table
from lexiseg_model import load
from lexiseg_model.internal import words_of_training
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.languages import Languages, load_languages

NOUNS = Path(__file__).with_name("nouns.tsv")
SIZES = (1, 5)  # of lists


def main(_: object = ()) -> None:
    """Print the shares."""
    languages = load_languages(words_of_training(load("tiny")))
    if languages is None:
        raise SystemExit("the encoder, the English words or the dictionaries are not installed: docs/vocabularies.md")
    with NOUNS.open(encoding="utf-8") as file:
        nouns = list(csv.DictReader(file, delimiter="\t"))
    codes = [code for code in nouns[0] if code != "english"]
    rows = []
    for size in SIZES:
        shares = {code: _shares(languages, nouns, code, size) for code in codes}
        shares["all"] = mean(right for right, _ in shares.values()), mean(wrong for _, wrong in shares.values())
        rows += [[code, str(size), f"{right:.3f}", f"{wrong:.3f}"] for code, (right, wrong) in shares.items()]
    print_table("Words read as English", ["language", "words a list", "right", "wrong"], rows)


def _shares(languages: Languages, nouns: list[dict[str, str]], code: str, size: int) -> tuple[float, float]:
    """The shares of nouns that are read right, and that are read as something else."""
    right = wrong = 0
    for start in range(0, len(nouns), size):
        part = nouns[start : start + size]
        read = languages.read(Vocabulary(tuple(ClassEntry(noun[code]) for noun in part)))
        for noun, entry in zip(part, read.classes, strict=True):
            is_right = entry.texts[0].lower() in noun["english"].split("|")
            right += is_right
            wrong += bool(entry.read_as) and not is_right
    return right / len(nouns), wrong / len(nouns)
