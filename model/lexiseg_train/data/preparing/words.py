"""A user's words for the classes of a public set: which of them are kept, and which are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotated import IGNORED, STORED_VALUES, Labels
from lexiseg_train.data.files.documents import read_text, read_yaml
from lexiseg_train.data.files.limits import MAX_CLASSES

EXAMPLE = "a word a line, or YAML or JSON: `{dog: [dog, puppy]}`, your word and the set's names"
Words = Mapping[str, tuple[str, ...]]


def read_words(path: Path) -> Words:
    """Words by the names of the set that they stand for, from text, YAML or JSON; `background` comes first.

    Raises:
        DatasetError: the file holds something else.
    """
    if path.suffix == ".txt":
        content: object = [line for line in map(str.strip, read_text(path).splitlines()) if line]
    else:
        content = read_yaml(path)
    if isinstance(content, list):
        content = {word: [word] for word in content if isinstance(word, str)}
    listed = content if isinstance(content, dict) else {}
    words = {word: tuple([named] if isinstance(named, str) else named) for word, named in listed.items() if named}
    if not words or not all(isinstance(name, str) for word, named in words.items() for name in (word, *named)):
        raise DatasetError(f"{path}: expected {EXAMPLE}")
    return dict(sorted(words.items(), key=lambda entry: entry[0] != BACKGROUND))


def choose(title: str, classes: Sequence[str], words: Words | None) -> tuple[tuple[str, ...], Labels | None]:
    """Classes of a set in a user's words, and [65536] their index by label: IGNORED what no word stands for.

    Args:
        title: of the set, for messages.
        classes: of the set; label v is class v.
        words: as `read_words`; None: the set's own classes, without a table.

    Raises:
        DatasetError: there are more classes than a mask holds, the set has no class of a name, or two words have it.
    """
    names = tuple(classes) if words is None else tuple(words)
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{title} has {len(names):,} classes, a mask holds {MAX_CLASSES}: name some with --words")
    if words is None:
        return names, None
    labels = {folded(plain(name)): label for label, name in enumerate(classes)}
    table = np.full(STORED_VALUES, IGNORED, np.uint16)
    for index, named in enumerate(words.values()):
        for name in named:
            if (label := labels.get(folded(plain(name)))) is None:
                alike = get_close_matches(name, classes, n=1)
                hint = f"; did you mean {alike[0]!r}?" if alike else ""
                raise DatasetError(f"{title} has no class {name!r}{hint}")
            if table[label] != IGNORED:
                raise DatasetError(f"{title}: {name!r} is of two words, {names[table[label]]!r} and {names[index]!r}")
            table[label] = index
    return names, table
