"""Write the training words of a model to `familiar.safetensors`, for warnings about words unlike all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lexiseg_model.data.indexed import BACKGROUND, CLASSES
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import FILE, INT8_SCALE, unit_rows
from lexiseg_model.methods.tiny.words.text_tower import MiniLM

BELOW = 5  # percent of the synonyms that the bound would call unfamiliar


def write_words(folder: Path, names: Iterable[str], synonyms: dict[str, list[str]], tower: MiniLM) -> None:
    """Write the names of classes and their synonyms, with a bound fitted on the synonyms.

    Args:
        folder: a model directory.
        names: of the classes in training.
        synonyms: other words for a name; those of other names do not count.
        tower: of the model.
    """
    trained = list(dict.fromkeys(name for name in names if name != BACKGROUND))
    others = [word for name in trained for word in synonyms.get(name, []) if word not in trained]
    words = list(dict.fromkeys([*trained, *others]))
    rows = unit_rows(tower.encode([TEMPLATE.format(word) for word in words]))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    left_out = cosines.max(1)[len(trained) :]
    bound = float(np.percentile(left_out if len(left_out) else cosines.max(1), BELOW))
    write_familiar(folder, words, rows, bound, tower.digest)


def write_familiar(
    folder: Path,
    words: Sequence[str],
    rows: NDArray[np.floating],
    bound: float,
    text_digest: str,
    foreign: NDArray[np.float32] | None = None,
) -> None:
    """Write words, rows [N, D], bound and the direction of foreign words [D + 1] beside the weights."""
    metadata = {
        "words": json.dumps(list(words), ensure_ascii=False),
        "bound": f"{bound:.2f}",
        "text_digest": text_digest,
    }
    tensors: dict[str, NDArray[Any]] = {
        "rows": np.rint(unit_rows(rows.astype(np.float32)) * INT8_SCALE).astype(np.int8)
    }
    save_file(tensors | ({} if foreign is None else {"foreign": foreign}), folder / FILE, metadata)


def names_of(data: Path, sets: Iterable[str]) -> list[str]:
    """Names of data sets: of their class lists, and the labels of whole photographs."""
    names: list[str] = []
    for folder in (data / name for name in sets):
        if (folder / CLASSES).exists():
            names += json.loads((folder / CLASSES).read_text())
        if (folder / "labels.json").exists():
            names += [name for of_file in json.loads((folder / "labels.json").read_text()).values() for name in of_file]
    return names
