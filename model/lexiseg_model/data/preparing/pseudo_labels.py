"""Masks that a model makes of photographs without any, laid out as a set to train on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, CLASSES, IGNORE, Sample
from lexiseg_model.data.pairs.shards import PHOTOGRAPHS
from lexiseg_model.data.pairs.source import Skipped, Skips
from lexiseg_model.errors import DatasetError, OptionError, SampleError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.files import replace_file
from lexiseg_model.masks.png import to_png
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

ABOUT, SKIPPED = "pseudo-labels.json", "skipped.jsonl"
MAX_CLASSES = IGNORE  # values 0 to 254


@dataclass(frozen=True)
class Labelling:
    """What is asked of every photograph; a pixel whose winner has less than `confidence` becomes 255."""

    vocabulary: Vocabulary
    split: str = "train"
    confidence: float = 0.0
    max_side: int | None = None


@dataclass
class Labelled:
    """How many masks were written now and before, and what could not be read."""

    written: int
    earlier: int
    skips: Skips


def photographs_in(folder: Path) -> list[Path]:
    """The photographs of a folder, or of its `images`.

    Raises:
        DatasetError: there are none, or two of them would have one mask.
    """
    for place in (folder, folder / "images"):
        if images := sorted(path for path in place.glob("*") if path.suffix.lower() in PHOTOGRAPHS):
            stems = {path.stem: path for path in reversed(images)}
            for path in images:
                if stems[path.stem] != path:
                    raise DatasetError(f"{stems[path.stem]} and {path.name} would have one mask; rename one of them")
            return images
    raise DatasetError(f"{folder} holds no photographs; expected {', '.join(sorted(PHOTOGRAPHS))}")


def write_pseudo_labels(
    segmenter: Segmenter,
    images: Sequence[Path],
    target: Path,
    labelling: Labelling,
    on_image: Callable[[], object] = lambda: None,
) -> Labelled:
    """Writes `target/SPLIT/masks/NAME.png` of every photograph that has none yet, and the photograph beside it.

    Mask values are indexes into `target/classes.json`; with a background, nobody's pixels are 0. Masks follow the
    pixels as stored, as those of every such set.

    Args:
        segmenter: the model.
        images: photographs of distinct names.
        target: folder of the set.
        labelling: the classes, and what counts.
        on_image: called after each photograph.

    Raises:
        OptionError: more classes than a mask has values.
        DatasetError: the folder holds a set that was made otherwise.
    """
    vocabulary = labelling.vocabulary
    classes = [BACKGROUND] * (vocabulary.background is not None) + [entry.name for entry in vocabulary.classes]
    if len(classes) > MAX_CLASSES:
        raise OptionError(f"{len(classes)} classes; a mask of 8 bits holds at most {MAX_CLASSES}")
    folder = target / labelling.split
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    _claim(folder, segmenter, labelling)
    _write(target / CLASSES, json.dumps(classes, ensure_ascii=False, indent=1).encode(), "another list of classes")
    skips = Skips(folder / SKIPPED)
    rows_of, written = KnownRows(segmenter), 0
    missing = [path for path in images if not (folder / "masks" / f"{path.stem}.png").exists()]
    for _ in range(len(images) - len(missing)):
        on_image()
    for path in missing:
        mask_path = folder / "masks" / f"{path.stem}.png"
        try:
            mask = _mask(segmenter, Sample(path, mask_path).read_image(), labelling, rows_of)
        except SampleError as error:
            skips.add([Skipped(error.sample, error.reason)])
        else:
            _link(path, folder / "images" / path.name)
            replace_file(mask_path, to_png(mask))  # last: what has a mask is done
            written += 1
        on_image()
    return Labelled(written, len(images) - len(missing), skips)


def _mask(
    segmenter: Segmenter, image: NDArray[np.uint8], labelling: Labelling, rows_of: KnownRows
) -> NDArray[np.uint8]:
    """[H, W] mask values of one photograph."""
    features = segmenter.encode(image, InferenceOptions(max_side=labelling.max_side))
    vocabulary = labelling.vocabulary
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
    won = winners(logits, features.size, keep_probability=True)
    n_classes = len(vocabulary.classes)
    # With a background the last row is nobody, value 0, and classes count from 1.
    values = np.arange(n_classes) if vocabulary.background is None else np.append(np.arange(1, n_classes + 1), 0)
    mask = values.astype(np.uint8)[won.labels]
    if won.probability is not None:
        mask[won.probability < labelling.confidence] = IGNORE
    return mask


def _claim(folder: Path, segmenter: Segmenter, labelling: Labelling) -> None:
    """Says of what the masks are made, or compares."""
    vocabulary = labelling.vocabulary
    about = {
        "model": segmenter.card.name,
        "weights": segmenter.digest,
        "classes": [list(entry.texts) for entry in vocabulary.classes],
        "background": str(vocabulary.background),
        "confidence": labelling.confidence,
        "max_side": labelling.max_side,
    }
    path = folder / ABOUT
    if path.exists():
        before = json.loads(path.read_text())
        if other := [key for key, value in about.items() if before.get(key) != value]:
            raise DatasetError(f"{folder} holds masks made with another {' and '.join(other)}; choose another folder")
        return
    if any((folder / "masks").iterdir()):
        raise DatasetError(f"{folder} holds masks already, and no {ABOUT} that says of what; choose another folder")
    replace_file(path, json.dumps(about, indent=1).encode())


def _write(path: Path, content: bytes, other: str) -> None:
    if path.exists() and json.loads(path.read_bytes()) != json.loads(content):
        raise DatasetError(f"{path} is {other}; choose another folder")
    replace_file(path, content)


def _link(source: Path, target: Path) -> None:
    """The photograph beside its mask, without its bytes a second time where the file system can."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        fresh = target.with_name(f".{target.name}")
        shutil.copyfile(source, fresh)
        os.replace(fresh, target)
