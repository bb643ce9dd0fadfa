"""What `tiny` is taught by, and how its classes are scored then.

A cell's teaching features are the decoder's channels, the trunk's at stride 16, and 1; before them may be their detail
(`fine`). A direction's product with them is taken at each map's own resolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import TeachingError
from lexiseg_model.features import Features
from lexiseg_model.kernel import library, teach
from lexiseg_model.kernel.teach import Sampled
from lexiseg_model.methods.tiny import fine
from lexiseg_model.methods.tiny.network import TEACHING
from lexiseg_model.methods.tiny.scores import enlarged, reference
from lexiseg_model.segmenter import LearnedClasses
from lexiseg_model.vocabulary.heads import MAX_CELLS, MAX_TEXT, UNKNOWN, LabelledPicture, Lesson

MAPS = ("decoded", "middle")  # of the features: [128, H/4, W/4] and [120, H/16, W/16]
SIZE = TEACHING
VOTES = 4  # labels across a cell, which is of the class that has the majority of them
MAX_LOGIT = 100.0  # by words, in a lesson


def maps_of(features: Features) -> tuple[Tensor, Tensor]:
    """The maps of features that were kept with `teaching`. Raises TeachingError: they were not."""
    decoded, middle = (features.tensors.get(name) for name in MAPS)
    if decoded is None or middle is None:
        raise TeachingError("the picture was encoded without what teaching needs; expected InferenceOptions(teaching)")
    return decoded, middle


def lesson_of(features: Features, labelled: LabelledPicture, scores: Tensor, digest: str) -> Lesson:
    """As `Teachable.lesson`, by scores [K + 1, h, w] of the classes and, last, what these must exceed: `reference`."""
    if labelled.labels.shape != features.size:
        raise TeachingError(f"expected labels {list(features.size)}, the picture's, got {list(labelled.labels.shape)}")
    sample = teach.lesson if library.ready() else sampled
    (decoded, middle), is_fine = maps_of(features), fine.has_detail(features)
    if is_fine:
        of_detail = fine.cells(features, scores)
        decoded = torch.cat([of_detail.half(), enlarged(decoded.to(of_detail), of_detail.shape[1:]).half()])
        scores = enlarged(scores, of_detail.shape[1:])
    fine_map, coarse_map = (np.ascontiguousarray(part.cpu().numpy(), np.float16) for part in (decoded, middle))
    by_words = np.ascontiguousarray(scores.float().cpu().numpy())
    labels = np.ascontiguousarray(labelled.labels, np.int16)
    own, shares, numbers, text, pixels = sample(labels, fine_map, coarse_map, by_words, MAX_CELLS)
    cells = numbers.astype(np.float16)
    detail = cells[:, :-SIZE] if is_fine else None
    return Lesson(digest, labelled.classes, cells[:, -SIZE:], own, shares, text.astype(np.float16), detail, pixels)


def sampled(
    labels: NDArray[np.int16],
    decoded: NDArray[np.float16],
    middle: NDArray[np.float16],
    scores: NDArray[np.float32],
    most: int,
) -> Sampled:
    """Cells of a picture, at most `most`, with labels, features and logits by words, as the kernel's `lesson`."""
    grid = decoded.shape[1], decoded.shape[2]
    of_cells = cell_labels(labels, grid).ravel()
    places, shares = _sampled(of_cells, most)
    cells = with_middle(torch.from_numpy(decoded).float(), torch.from_numpy(middle).float()).numpy()
    of_sample = scores.reshape(len(scores), -1)[:, places]
    text = (of_sample[:-1] - of_sample[-1]).T.clip(-MAX_LOGIT, MAX_LOGIT)
    blocks = _blocks(labels, grid).transpose(0, 2, 1, 3).reshape(-1, VOTES**2)[places]
    pixels = (blocks[..., None] == np.arange(len(scores))).sum(1, dtype=np.uint8)
    return Sampled(of_cells[places], shares, cells.reshape(len(cells), -1)[:, places].T, text, pixels)


def cell_labels(labels: NDArray[np.integer[Any]], grid: tuple[int, int]) -> NDArray[np.int16]:
    """The label [h, w] of each cell: of most of its pixels, else UNKNOWN. A label without a cell gets its best one."""
    blocks = _blocks(labels, grid)
    of_cells = np.full(grid, UNKNOWN, np.int16)
    small = []
    for label in np.unique(blocks[blocks > UNKNOWN]):
        count = (blocks == label).sum((1, 3))
        won = count > VOTES**2 // 2
        of_cells[won] = label
        if not won.any():
            small.append((label, count.argmax()))
    for label, place in small:
        of_cells.flat[place] = label
    return of_cells


def _blocks(labels: NDArray[np.integer[Any]], grid: tuple[int, int]) -> NDArray[np.int16]:
    """The labels [h, VOTES, w, VOTES] of pixels across each cell."""
    rows, columns = (
        (2 * np.arange(VOTES * n) + 1) * side // (2 * VOTES * n) for n, side in zip(grid, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)].astype(np.int16).reshape(grid[0], VOTES, grid[1], VOTES)


def _sampled(of_cells: NDArray[np.int16], most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places [n] of up to `most` labelled cells, as many of each label as there are, and the share of each."""
    n_labelled = np.count_nonzero(of_cells != UNKNOWN)
    by_label = [np.flatnonzero(of_cells == label) for label in np.unique(of_cells[of_cells != UNKNOWN])]
    by_label.sort(key=len)
    places, shares = [], []
    for index, own in enumerate(by_label):  # the rarest first: what it leaves, the others may take
        quota = most // (len(by_label) - index)
        most -= min(quota, len(own))
        sample = np.sort(own[np.argsort(_lots(own))[:quota]])
        places.append(sample)
        shares.append(np.full(len(sample), len(own) / len(sample) / n_labelled, np.float32))
    return np.concatenate(places), np.concatenate(shares)


def _lots(places: NDArray[np.int64]) -> NDArray[np.uint32]:
    """A number for each place that no other has, by chance: MurmurHash3's last step. The lowest are taken."""
    lots = places.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        lots = (lots ^ lots >> np.uint32(shift)) * np.uint32(factor)
    return lots ^ lots >> np.uint32(16)


def margins(by_words: Tensor, exceeded: Tensor, text: Tensor, products: Tensor) -> Tensor:
    """By how much learned classes exceed the `reference` [...]: [L, ...] logits, of scores `by_words` and of
    `products` of the cells with the directions, [L, ...] both; `text` [L]: factors of the words."""
    factors = text.view(-1, *(1 for _ in products.shape[1:]))
    return (by_words - exceeded).clamp(-MAX_TEXT, MAX_TEXT) * factors + products


def learned_in(learned: LearnedClasses, features: Features) -> LearnedClasses | None:
    """The learned classes that a picture has as taught; the others keep the pixels that words give to them."""
    if learned.places is None:
        return learned
    means = [part.to(learned.places).mean((1, 2)) for part in maps_of(features)]
    apart = (learned.places[:, :-2] - torch.cat(means)).square().sum(1)
    radius = learned.places[:, -1]
    here = ((radius == 0) | (apart <= radius)).cpu()
    if not here.any():
        return None
    by_words = np.append(learned.by_words, learned.classes[~here.numpy()])
    classes = learned.classes[here.numpy()]
    return learned._replace(
        classes=classes, directions=learned.directions[here], text=learned.text[here], by_words=by_words
    )


def with_learned(learned: LearnedClasses, scores: Tensor, background: float, products: Tensor) -> tuple[Tensor, Tensor]:
    """The scores [K, h, w] with the learned classes', then their `margins` [L, h, w]; the others keep their bits.

    Scores stay where words give a cell to a class of the head that is not learned.
    """
    exceeded = reference(scores, learned.n_listed, background)
    rows = torch.from_numpy(learned.classes).to(scores.device)
    by_words = scores[rows]
    above = margins(by_words, exceeded, learned.text, products)
    if len(learned.by_words):
        others = scores[torch.from_numpy(learned.by_words).to(scores.device)].amax(0)
        above = torch.where(others > torch.maximum(exceeded, by_words.amax(0)), by_words - exceeded, above)
    return scores.index_copy(0, rows, above + exceeded), above


def cell_products(features: Features, directions: Tensor) -> Tensor:
    """Products of directions with an image's teaching features: [L, h, w] of [L, F], in detail [L, 2h, 2w] of
    [L, G + F]. Raises TeachingError: the features were not kept with what these need."""
    decoded, middle = (part.to(directions) for part in maps_of(features))
    products = products_of(decoded, middle, directions[:, -SIZE:])
    if directions.shape[1] == SIZE:
        return products
    if not fine.has_detail(features):
        raise TeachingError("the picture was encoded without the detail of its head; expected InferenceOptions(fine)")
    detail = fine.products(features, directions[:, :-SIZE])
    return detail + enlarged(products, detail.shape[1:])


def products_of(decoded: Tensor, middle: Tensor, directions: Tensor) -> Tensor:
    """As `cell_products`, with maps [C, h, w] and [120, h/4, w/4]."""
    width = len(decoded)
    fine = (directions[:, :width] @ decoded.flatten(1)).view(-1, *decoded.shape[1:])
    coarse = (directions[:, width:-1] @ middle.flatten(1)).view(-1, *middle.shape[1:])
    return fine + F.interpolate(coarse[None], size=fine.shape[1:], mode="bilinear")[0] + directions[:, -1:, None]


def with_middle(decoded: Tensor, middle: Tensor) -> Tensor:
    """The teaching features [F, h, w] of maps [128, h, w] and [120, h/4, w/4]."""
    coarse = F.interpolate(middle[None], size=decoded.shape[1:], mode="bilinear")[0]
    return torch.cat([decoded, coarse, torch.ones_like(decoded[:1])])
