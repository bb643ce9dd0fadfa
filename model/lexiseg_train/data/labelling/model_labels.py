"""Masks that a model makes of photographs: a data set to train on, or a teacher's with a confidence for each pixel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.exports import link_or_copy, write_whole
from lexiseg_model.errors import DatasetError, OptionError, RecipeError, SampleError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks.encodings import labels_to_png, to_png
from lexiseg_model.masks.upsample import winners
from lexiseg_model.pictures.reader import read
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.alike import validation_side
from lexiseg_train.data.files.runs import claim
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    Sample,
    evenly_spread,
    photographs_in,
    read_classes,
    read_photograph,
    to_jpeg,
    write_classes,
)
from lexiseg_train.data.own.prepare import reduced
from lexiseg_train.data.pairs.source import Skipped, Skips

ABOUT, SPLITS, SHARES, SKIPPED = "taught.json", "splits.json", "shares", "skipped.jsonl"
KINDS = {"images": ".jpg", "masks": ".png", SHARES: ".png"}  # written files and their suffixes
MAX_CLASSES = IGNORE - 1  # values 1 to 254
MIN_SCORE = 0.5  # of a segment that keeps its pixels
PROGRESS_EVERY = 200  # photographs between lines of progress
LABELLING = "pseudo-labels.json"


class SoftLabels(NamedTuple):
    """A teacher's labels of a photograph [H, W]."""

    model: str  # its name
    class_map: NDArray[np.integer]  # [H, W], index of each pixel's class, -1 for the background
    scores: NDArray[np.floating]  # [K], score of each class's segment
    confidence: NDArray[np.floating]  # [H, W] in 0..1, probability of each pixel's class


# Labels a photograph, given as the content of its file, by classes; with a background, or else every pixel has a class.
Teacher = Callable[[bytes, Sequence[str], bool], SoftLabels]


class ModelTeacher:
    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter, self._rows = segmenter, KnownRows(segmenter)
        self._name = f"{segmenter.card.name} {segmenter.digest[:16]}"

    def __call__(self, photograph: bytes, classes: Sequence[str], background: bool) -> SoftLabels:
        features = self._segmenter.encode(read(photograph).rgb)
        vocabulary = Vocabulary(tuple(map(ClassEntry, classes)), Background() if background else None)
        answer = segment("semantic", self._segmenter, features, vocabulary, Options(keep_probability=True), self._rows)
        assert answer.probability is not None
        indices = np.array([-1, *(each.class_index for each in answer.segments)])
        scores = np.zeros(len(classes))
        scores[indices[1:]] = [each.score for each in answer.segments]
        return SoftLabels(self._name, indices[answer.label_map], scores, answer.probability)


def planes(labels: SoftLabels, background: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mask values [H, W], and their confidence [H, W] in 1/255; with a background, unlikely segments become it."""
    scores = np.append(labels.scores, 1.0)[labels.class_map]  # the last is that of the background, -1
    labelled = (scores >= MIN_SCORE) | (not background)
    shares = np.where(labelled, np.minimum(labels.confidence, scores), 1 - scores)
    mask = np.where(labelled, labels.class_map + int(background), 0)
    return mask.astype(np.uint8), np.rint(255 * shares).astype(np.uint8)


def prefer_truth(
    mask: NDArray[np.uint8], shares: NDArray[np.uint8], truth: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mask and confidence [H, W], replaced by a person's mask `truth`, of any size, where that is not 255."""
    if truth is None:
        return mask, shares
    fitted = cv2.resize(truth, mask.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    labelled = fitted != IGNORE
    return np.where(labelled, fitted, mask), np.where(labelled, 255, shares).astype(np.uint8)


class Photographs(NamedTuple):
    images: list[Path]
    classes: tuple[str, ...]  # without the background
    background: bool  # pixels may belong to no class
    masks: Path | None  # folder with a person's masks of some photographs; None if its class list is another
    kept_apart: Path | None  # validation split with a person's masks; None likewise, or if there is none

    @property
    def names(self) -> tuple[str, ...]:
        return (BACKGROUND, *self.classes) if self.background else self.classes

    def truth(self, image: Path) -> Sample | None:
        mask = None if self.masks is None else self.masks / f"{image.stem}.png"
        return Sample(image, mask) if mask is not None and mask.is_file() else None


def read_photographs(folder: Path, classes: Sequence[str], limit: int | None) -> Photographs:
    """List the photographs of a folder, its `images` or `train`; of more than `limit` an even selection."""
    images = photographs_in(folder / "train" if (folder / "train").is_dir() else folder)
    listed = read_classes(folder / CLASSES) if (folder / CLASSES).is_file() else ()
    if not (names := tuple(classes) or tuple(name for name in listed if name != BACKGROUND)):
        raise DatasetError(f"no classes for the teacher; name them with classes='[cat, dog]' or in {folder / CLASSES}")
    if len(names) > MAX_CLASSES or len(set(names)) < len(names) or BACKGROUND in names:
        raise DatasetError(f"classes: expected at most {MAX_CLASSES} distinct names, background not among them")
    background = listed != names
    same = listed in (names, (BACKGROUND, *names))
    apart = same and all((folder / "val" / part).is_dir() for part in ("images", "masks"))
    masks = images[0].parents[1] / "masks" if same else None
    sample = evenly_spread(images, limit or len(images))
    return Photographs(sample, names, background, masks, folder / "val" if apart else None)


def write_labels(
    photographs: Photographs,
    target: Path,
    teacher: Callable[[], AbstractContextManager[Teacher]],
    about: dict[str, object],
    apart: float,
) -> str:
    """Write `target/{train,val}/{images,masks,shares}` of every photograph that lacks them.

    Photographs are written upright and at a reduced size, in which the teacher sees them. Without a validation split of
    the user, a share of the photographs with the teacher's masks, `apart` in 0..1, becomes `val`, and with one all
    that look like it. `teacher` is called only if a photograph lacks its mask; `about` has further settings of the
    masks, compared with an earlier call's. Returns the name of the model that labelled the photographs.
    """
    target.mkdir(parents=True, exist_ok=True)
    about = about | {"classes": [*photographs.names], "apart": apart}
    record = json.loads((target / ABOUT).read_bytes()) if (target / ABOUT).is_file() else about
    if other := [key for key, value in about.items() if record.get(key) != value]:
        raise RecipeError(f"{target} holds masks made with another {' and '.join(other)}; choose another out=")
    write_classes(target, photographs.names)
    if photographs.kept_apart is not None and not (target / "val").exists():
        (target / "val").symlink_to(photographs.kept_apart.resolve())
    skips = Skips(target / SKIPPED)
    missing = [
        (path, folder)
        for path, folder in _placed(photographs, target, apart)
        if path.name not in skips.reasons and not (folder / SHARES / f"{path.stem}.png").exists()
    ]
    with teacher() if missing else nullcontext() as label:
        for number, (path, folder) in enumerate(missing, start=1):
            assert label is not None
            try:
                truth = photographs.truth(path)
                photograph = to_jpeg(reduced(read_photograph(path)))
                known = None if truth is None else truth.read_fitting_mask(len(photographs.names))
                labels = label(photograph, photographs.classes, photographs.background)
            except SampleError as error:
                skips.add([Skipped(path.name, error.reason)])
                continue
            if record.setdefault("model", labels.model) != labels.model:
                raise RecipeError(f"{target} has masks by {record['model']}, not {labels.model}; choose another out=")
            mask, shares = prefer_truth(*planes(labels, photographs.background), known)
            if not (target / ABOUT).is_file():
                write_whole(target / ABOUT, json.dumps(record).encode())
            for kind, each in zip(KINDS, (photograph, labels_to_png(mask), to_png(shares)), strict=True):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                write_whole(folder / kind / f"{path.stem}{KINDS[kind]}", each)  # shares are the last: then it is done
            if number % PROGRESS_EVERY == 0:
                print(f"{number} of {len(missing)} photographs are labelled", flush=True)
    if skips:
        print(skips.summary(), flush=True)
    if "model" not in record:
        raise DatasetError(f"no photograph can be used; {skips.summary()}")
    return str(record["model"])


def _placed(photographs: Photographs, target: Path, apart: float) -> Iterator[tuple[Path, Path]]:
    """Yield each photograph and the folder of its split; the splits are drawn once, and kept in SPLITS."""
    if photographs.kept_apart is not None:
        yield from ((path, target / "train") for path in photographs.images)
        return
    if not (target / SPLITS).is_file():
        names = ["val" if side else "train" for side in validation_side(photographs.images, apart)]
        write_whole(target / SPLITS, json.dumps(names).encode())
    for path, split in zip(photographs.images, json.loads((target / SPLITS).read_bytes()), strict=True):
        yield path, target / split


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
    """Write photographs, of distinct names, to `target/SPLIT/images`, and missing masks to `target/SPLIT/masks`."""
    vocabulary = labelling.vocabulary
    classes = [BACKGROUND] * (vocabulary.background is not None) + [entry.name for entry in vocabulary.classes]
    if len(classes) > IGNORE:
        raise OptionError(f"{len(classes)} classes; a mask of 8 bits holds at most {IGNORE}")
    folder = target / labelling.split
    claim(folder / LABELLING, _about(segmenter, labelling), "masks", any((folder / "masks").glob("*")))
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
