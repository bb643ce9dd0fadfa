"""Parts of things that are asked: which they are, how they divide their wholes, and whether they are there."""

from __future__ import annotations

from collections.abc import Container, Sequence

import torch
from torch import Tensor

from lexiseg_model.methods.tiny.settings import Parts
from lexiseg_model.segmenter import AskedParts
from lexiseg_model.types import ClassEntry

NO_SCORE = -1e4  # of a word that does not compete
SUREST_OF_PART = 100  # one cell of so many says whether a part is there
PART_EVIDENCE = -1.7  # logit added to what the surest cells of a part exceed; fitted on training photographs


def asked_parts(
    classes: Sequence[ClassEntry], kinds: Sequence[Parts], taught: Container[str], directions: Tensor
) -> AskedParts | None:
    """The parts among classes that are not taught, and their rows of `directions` [M, F] in the wholes asked with
    them."""
    by_words = [() if entry.is_taught else [name.lower() for name in entry.names] for entry in classes]
    names = [
        {form for name in some if name not in taught for form in (name, name.removesuffix("s"))} for some in by_words
    ]
    parts = [index for index, forms in enumerate(names) if any(forms & kind.directions.keys() for kind in kinds)]
    if not parts:
        return None
    is_part, pairs = torch.zeros(len(classes), dtype=torch.bool), dict[tuple[int, int], int]()
    is_part[parts] = True
    for kind in kinds:
        wholes = [index for index, forms in enumerate(names) if forms & kind.wholes]
        for part in parts:
            for name in names[part] & kind.directions.keys():
                pairs.update({(part, whole): kind.directions[name] for whole in wholes if whole != part})
    places = torch.tensor([*pairs], dtype=torch.int64, device=directions.device).view(-1, 2)
    rows = torch.tensor([*pairs.values()], dtype=torch.int64, device=directions.device)
    return AskedParts(
        is_part.to(directions.device), places[:, 0], places[:, 1], directions[rows.clamp_min(0)], rows < 0
    )


def divide_wholes(scores: Tensor, parts: AskedParts, products: Tensor, share: Tensor) -> Tensor:
    """Scores [K, ...] in which `share` [] of a part's is at least its whole's plus the `products` [P, ...] of the
    pair."""
    flat, beyond = scores.flatten(1), products.flatten(1)
    rows, no = parts.part[:, None].expand_as(beyond), torch.zeros_like(flat[:, 0])
    involved = (no.scatter(0, parts.part, 1.0).scatter(0, parts.whole, 1.0) > 0)[:, None]
    divided = flat
    for _ in range(2):  # a part may have parts: a head its eyes
        divided = flat.scatter_reduce(0, rows, divided.index_select(0, parts.whole) + beyond, "amax")
    own, best = (some.masked_fill(~involved, NO_SCORE).amax(0) for some in (flat, divided))
    return flat.lerp(torch.where(involved, divided - (best - own), flat), share).view(scores.shape)


def presence_of_parts(presence: Tensor, scores: Tensor, part: Tensor, wholes: Tensor, exceeded: Tensor) -> Tensor:
    """Presence [A] of parts by their surest cells, where the head for whole images, which knows few, gives `presence`.

    There `scores` [A, n] exceed the background's, `exceeded` [n], and `wholes` [P, n] of each `part` [P], a row of A.
    """
    rivals = exceeded.expand_as(scores).scatter_reduce(0, part[:, None].expand_as(wholes), wholes, "amax")
    surest = (scores - rivals).topk((scores.shape[1] + SUREST_OF_PART - 1) // SUREST_OF_PART, dim=1).values
    evidence = surest.logsumexp(1) - torch.ones_like(surest[0]).sum().log() + PART_EVIDENCE
    is_inside = torch.zeros_like(presence).scatter(0, part, 1.0) > 0
    return torch.where(is_inside, evidence, torch.maximum(presence, evidence))
