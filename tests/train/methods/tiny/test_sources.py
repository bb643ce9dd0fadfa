"""Every kind of label becomes a pack without validation photographs."""

import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_train.data.alike import HeldOut
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.sources import Box, boxed_photographs, caption_concepts, cut_boxes, packed
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook
from tests.train.methods.tiny.shapes import CLASSES, write_shapes

SIZE = (48, 64)  # height, width


def save(path: Path, seed: int) -> None:
    """Noise in large cells, another for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(cells).resize(SIZE[::-1], Image.Resampling.NEAREST).save(path, quality=95)


def write_boxes(root: Path, complete: bool = True) -> Path:
    """`root/boxed`: a cat in the middle of the first photograph, eight dogs on the second, nothing on the third."""
    entries = [
        ("000.jpg", [{"name": "cat", "xyxy": [10, 10, 40, 40]}]),
        ("001.jpg", [{"name": "dog", "xyxy": [6 * k, 0, 6 * k + 5, 20]} for k in range(8)]),
        ("002.jpg", []),
    ]
    images = []
    for seed, (file, boxes) in enumerate(entries):
        save(root / "boxed" / "images" / file, seed)
        images.append({"file": file, "width": SIZE[1], "height": SIZE[0], "boxes": boxes})
    listing = {"images": images, "complete": complete, "names": ["cat", "dog"]}
    (root / "boxed" / "boxes.json").write_text(json.dumps(listing))
    captions = {"000": {"captions": ["A cat in the meadow."]}, "001": {"captions": ["Dogs, many of them"]}}
    (root / "boxed" / "captions.json").write_text(json.dumps(captions))
    return root


def write_names(root: Path) -> Path:
    """`root/named`: a gramophone and a starfish."""
    for seed, file in enumerate(("g.jpg", "s.jpg"), 10):
        save(root / "named" / "train" / "images" / file, seed)
    (root / "named" / "labels.json").write_text(json.dumps({"g.jpg": ["gramophone"], "s.jpg": ["starfish"]}))
    return root


BOOK = TextBook.read(TEXTS)


def test_masks_become_a_pack(tmp_path: Path) -> None:
    pack = packed(write_shapes(tmp_path, count=3), tmp_path / "packs", "shapes", BOOK)

    assert (len(pack), pack.classes) == (3, CLASSES)
    assert pack.places[:, 3].tolist() == [1, 1, 1]


def test_boxes_and_captions_become_a_pack(tmp_path: Path) -> None:
    pack = packed(write_boxes(tmp_path), tmp_path / "packs", "boxed", BOOK)

    assert pack.classes == ("background", "cat", "dog")
    assert (pack.names, pack.complete) == (("cat", "dog"), True)
    assert pack.present == (("cat", "grass"), ("dog",), ())
    assert pack.places[:, 3].tolist() == [1, 0, 1]


@pytest.mark.parametrize("copied", ["boxed/images/000.jpg", "named/train/images/g.jpg"])
def test_validation_photographs_are_excluded_by_content(tmp_path: Path, copied: str) -> None:
    write_names(write_boxes(tmp_path))
    other = tmp_path / "other" / "val" / "images" / "renamed.jpg"
    other.parent.mkdir(parents=True)
    shutil.copy(tmp_path / copied, other)

    pack = packed(tmp_path, tmp_path / "packs", copied.split("/")[0], BOOK)

    assert Path(copied).name not in pack.photographs
    assert len(pack) > 0


def test_an_unusable_mask_is_skipped_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_shapes(tmp_path, count=3)
    broken = sorted((root / "shapes/train/masks").iterdir())[1]
    Image.new("L", (5, 5)).save(broken)

    pack = packed(root, tmp_path / "packs", "shapes", BOOK)

    assert broken.stem not in pack.photographs
    assert len(pack) == 2
    said = capsys.readouterr().out
    assert "shapes: 1 sample" in said
    assert f"{broken}: is 5 x 5, its photograph" in said
    assert str(broken) in (tmp_path / "packs/shapes.skipped.jsonl").read_text()


IMAGE = np.zeros((*SIZE, 3), np.uint8)


class Filling:
    """Cuts the whole box out, or what is left of it; its quality is told."""

    def __init__(self, quality: float = 0.9, shrink: int = 0, edge: float = -8.0) -> None:
        self.quality, self.shrink, self.edge = quality, shrink, edge

    def encode(self, rgb: NDArray[np.uint8], options: object) -> Features:
        return cast(Features, None)

    def prompt(self, features: object, prompts: list[Prompt]) -> list[PromptMasks]:
        answers = []
        for prompt in prompts:
            assert prompt.box is not None
            x0, y0, x1, y1 = (int(side) for side in prompt.box)
            logits = torch.full((1, *SIZE), self.edge)
            logits[:, y0 + self.shrink : y1 - self.shrink, x0 + self.shrink : x1 - self.shrink] = 8.0
            answers.append(PromptMasks(logits, torch.tensor([self.quality])))
        return answers


def cut(head: Filling, *boxes: Box, complete: bool = True) -> NDArray[np.uint8]:
    return cut_boxes(cast(Segmenter, head), IMAGE, list(boxes), complete)


CAT = Box(1, (10.0, 10.0, 40.0, 40.0))


def test_a_confident_mask_gets_its_class_and_the_rest_is_background() -> None:
    mask = cut(Filling(), CAT)

    assert (mask[10:40, 10:40] == 1).all()
    assert (mask == 1).sum() == 900
    assert mask[0, 0] == 0


@pytest.mark.parametrize("head", [Filling(quality=0.3), Filling(shrink=10)], ids=["poor", "smaller than its box"])
def test_an_unreliable_mask_is_ignored(head: Filling) -> None:
    mask = cut(head, CAT)

    assert (mask[10:40, 10:40] == IGNORE).all()
    assert mask[0, 0] == 0


def test_a_crowded_photograph_contributes_only_its_labels(tmp_path: Path) -> None:
    photographs = list(
        boxed_photographs(write_boxes(tmp_path) / "boxed", cast(Segmenter, Filling()), HeldOut(tmp_path, "boxed"), {})
    )

    assert [photograph.present for photograph in photographs] == [("cat",), ("dog",), ()]
    assert [photograph.mask is None for photograph in photographs] == [False, True, False]


CAPTION_BOOK = TextBook(
    templates=["{}"], synonyms={"sea": ["ocean"]}, overlaps=[], rare=[], nouns=["grass", "sea", "bench", "road"]
)


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("A dog on the grass.", ("grass",)),
        ("Waves of the OCEAN, and benches", ("sea", "bench")),
        ("A grasshopper abroad", ()),
        ("A broad roadside", ()),
    ],
)
def test_a_caption_names_concepts_by_whole_words_synonyms_and_plurals(
    tmp_path: Path, caption: str, concepts: tuple[str, ...]
) -> None:
    listing = tmp_path / "captions.json"
    listing.write_text(json.dumps({"000.jpg": {"captions": ["Something.", caption]}}))

    assert caption_concepts(listing, CAPTION_BOOK) == {"000": concepts}
