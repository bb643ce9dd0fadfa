"""Masks that a model makes of photographs, written as a data set to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.exports import link_or_copy, write_whole
from lexiseg_model.errors import DatasetError, OptionError, SampleError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks.encodings import labels_to_png
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.files.resuming import claim
from lexiseg_train.data.indexed import CLASSES, IGNORE, read_classes, read_photograph, write_classes
from lexiseg_train.data.pairs.source import Skipped, Skips

ABOUT, SKIPPED = "pseudo-labels.json", "skipped.jsonl"
MAX_CLASSES = IGNORE  # values 0 to 254


@dataclass(frozen=True)
class Labelling:
    """Settings of the masks; pixels with a class probability below `confidence` become 255."""

    vocabulary: Vocabulary
    split: str = "train"
    confidence: float = 0.0
    max_side: int | None = None


@dataclass
class Labelled:
    """Numbers of masks written now and earlier, and photographs that could not be read."""

    n_new: int
    earlier: int
    skips: Skips


def write_pseudo_labels(
    segmenter: Segmenter,
    images: Sequence[Path],
    target: Path,
    labelling: Labelling,
    on_image: Callable[[], object] = lambda: None,
) -> Labelled:
    """Write photographs to `target/SPLIT/images` and their missing masks to `target/SPLIT/masks/NAME.png`.

    Photographs have distinct names. Mask values are indexes into `target/classes.json`, which begins with a background
    if the vocabulary has one. Masks are of the upright photograph, as all sets have them.
    """
    vocabulary = labelling.vocabulary
    classes = [BACKGROUND] * (vocabulary.background is not None) + [entry.name for entry in vocabulary.classes]
    if len(classes) > MAX_CLASSES:
        raise OptionError(f"{len(classes)} classes; a mask of 8 bits holds at most {MAX_CLASSES}")
    folder = target / labelling.split
    claim(folder / ABOUT, _about(segmenter, labelling), "masks", any((folder / "masks").glob("*")))
    if (target / CLASSES).exists() and read_classes(target / CLASSES) != tuple(classes):
        raise DatasetError(f"{target / CLASSES} lists other classes; choose another folder")
    write_classes(target, classes)
    skips = Skips(folder / SKIPPED)
    rows_of, n_new = KnownRows(segmenter), 0
    missing = [path for path in images if not (folder / "masks" / f"{path.stem}.png").exists()]
    for _ in range(len(images) - len(missing)):
        on_image()
    for path in missing:
        mask_path = folder / "masks" / f"{path.stem}.png"
        try:
            mask = _mask(segmenter, read_photograph(path), labelling, rows_of)
        except SampleError as error:
            skips.add([Skipped(error.sample, error.reason)])
        else:
            if not (copy := folder / "images" / path.name).exists():
                link_or_copy(path, copy)
            write_whole(mask_path, labels_to_png(mask))  # last, as it marks the photograph as done
            n_new += 1
        on_image()
    return Labelled(n_new, len(images) - len(missing), skips)


def _mask(
    segmenter: Segmenter, image: NDArray[np.uint8], labelling: Labelling, rows_of: KnownRows
) -> NDArray[np.uint8]:
    features = segmenter.encode(image, InferenceOptions(max_side=labelling.max_side))
    vocabulary = labelling.vocabulary
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
    won = winners(logits, features.size, keep_probability=True)
    n_classes = len(vocabulary.classes)
    # With a background, the last row is the background with value 0, and classes count from 1.
    values = np.arange(n_classes) if vocabulary.background is None else np.append(np.arange(1, n_classes + 1), 0)
    mask = values.astype(np.uint8)[won.labels]
    if won.probability is not None:
        mask[won.probability < labelling.confidence] = IGNORE
    return mask


def _about(segmenter: Segmenter, labelling: Labelling) -> dict[str, object]:
    vocabulary = labelling.vocabulary
    return {
        "model": segmenter.card.name,
        "weights": segmenter.digest,
        "classes": [list(entry.texts) for entry in vocabulary.classes],
        "background": str(vocabulary.background),
        "confidence": labelling.confidence,
        "max_side": labelling.max_side,
    }
